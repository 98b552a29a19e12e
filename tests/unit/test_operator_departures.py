"""Which memories count as gone: in the record of what was written, served, and neither in the cache nor listed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from memory_operator.audit import Listing
from memory_operator.cache import Cache
from memory_operator.departures import Departures
from memory_operator.errors import ApiUnavailable
from memory_operator.memories import Memory, Uid

from memory_core.errors import StoreUnavailable
from memory_core.keys import MemoryRef


def memory(name: str) -> Memory:
    """Return a memory."""
    body = {"metadata": {"namespace": "team", "name": name, "uid": "u", "resourceVersion": "5"}}
    return Memory.from_body(body)


class Peer:
    """A cluster and a store that answer from memory."""

    def __init__(self, *recorded: MemoryRef) -> None:
        self.recorded = frozenset(recorded)
        self.listing: Listing = {}
        self.api_failures = 0
        self.store_failures = 0
        self.reads = 0

    async def read(self) -> frozenset[MemoryRef]:
        """Answer with the record, after some failures."""
        self.reads += 1
        if self.store_failures:
            self.store_failures -= 1
            raise StoreUnavailable("later")
        return self.recorded

    async def list_versions(self, namespaces: Sequence[str]) -> Listing:
        """Answer with the listing, after some failures."""
        if self.api_failures:
            self.api_failures -= 1
            raise ApiUnavailable("later")
        return self.listing


class Bench:
    """Departures with all that is around them."""

    def __init__(self, peer: Peer, *, namespaces: Sequence[str] = ()) -> None:
        self.peer = peer
        self.cache = Cache()
        self.queued: list[MemoryRef] = []
        self.synced = asyncio.Event()
        self.departures = Departures(
            cluster=peer, record=peer, cache=self.cache, namespaces=namespaces, queue=self.queued.extend
        )

    async def run(self, *, looks: int, interval_seconds: float = 60) -> None:
        """Run until the record was read some times, and what follows has happened."""
        task = asyncio.create_task(self.departures.run(interval_seconds, self.synced))
        async with asyncio.timeout(5):
            while self.peer.reads < looks:  # noqa: ASYNC110  # the peer only counts
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


HERE, GONE, ELSEWHERE = memory("here"), memory("gone").ref, MemoryRef("another", "support")


async def test_what_is_on_record_and_not_in_the_cluster_is_gone() -> None:
    """Whoever was there when it went."""
    bench = Bench(Peer(HERE.ref, GONE))
    bench.cache.put(HERE)
    bench.synced.set()
    await bench.run(looks=1)

    assert bench.queued == [GONE]


async def test_a_memory_that_only_the_cache_does_not_know_is_not_gone() -> None:
    """A watch may lag or fail; the list of the cluster counts."""
    bench = Bench(Peer(GONE))
    bench.peer.listing = {GONE: (Uid("u"), "7")}
    bench.synced.set()
    await bench.run(looks=1)

    assert bench.queued == []


async def test_nothing_counts_as_gone_before_the_cache_was_filled() -> None:
    """An operator that has just started knows nothing yet."""
    bench = Bench(Peer(GONE))
    task = asyncio.create_task(bench.departures.run(0.01, bench.synced))
    await asyncio.sleep(0.05)
    task.cancel()

    assert (bench.peer.reads, bench.queued) == (0, [])


async def test_namespaces_that_are_not_served_are_left_alone() -> None:
    """Their memories are in nobody's cache here."""
    bench = Bench(Peer(GONE, ELSEWHERE), namespaces=("team",))
    bench.synced.set()
    await bench.run(looks=1)

    assert bench.queued == [GONE]


@pytest.mark.parametrize("failing", ["store", "api"])
async def test_a_look_that_fails_proves_nothing_and_is_repeated(failing: str) -> None:
    """At the next interval at the latest."""
    bench = Bench(Peer(GONE))
    bench.peer.store_failures, bench.peer.api_failures = (1, 0) if failing == "store" else (0, 1)
    bench.synced.set()
    await bench.run(looks=2, interval_seconds=0.1)

    assert bench.queued == [GONE]


async def test_one_can_ask_for_a_look() -> None:
    """The store is back, for instance."""
    bench = Bench(Peer(GONE))
    bench.peer.store_failures = 1
    bench.synced.set()
    asyncio.get_running_loop().call_later(0.02, bench.departures.look)
    await bench.run(looks=2)

    assert bench.queued == [GONE]


def test_what_is_known_of_a_memory_is_kept_until_it_is_taken() -> None:
    """The event about it needs it, however long the store is away."""
    bench = Bench(Peer())
    bench.departures.add(HERE)

    assert bench.queued == [HERE.ref] == list(bench.departures)
    assert bench.departures.take(HERE.ref) is HERE
    assert bench.departures.take(HERE.ref) is None
