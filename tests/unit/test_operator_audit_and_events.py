"""The audit of the watch and the sender of events, against a cluster that answers from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from memory_operator.audit import Audit, Listing
from memory_operator.cache import Cache
from memory_operator.errors import ApiUnavailable
from memory_operator.memories import Memory, Uid
from memory_operator.metrics import Metrics
from memory_operator.recorder import Note, Recorder, TokenBucket

from memory_core.keys import MemoryRef

MEMORY = Memory(
    ref=MemoryRef("team", "support"),
    uid=Uid("u"),
    resource_version="5",
    generation=1,
    spec={},
    status={},
    finalizers=(),
    deleting=False,
    paused=False,
    force_release=False,
)


class Peer:
    """A cluster that lists what it is told to, and keeps the events it is sent."""

    def __init__(self, listing: Listing | None = None, *, failures: int = 0) -> None:
        self.listing = listing or {}
        self.failures = failures
        self.events: list[Mapping[str, object]] = []

    async def list_versions(self, namespaces: Sequence[str]) -> Listing:
        """Answer with the listing, after some failures."""
        if self.failures:
            self.failures -= 1
            raise ApiUnavailable("later")
        return self.listing

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Keep the event, after some failures."""
        if self.failures:
            self.failures -= 1
            raise ApiUnavailable("later")
        self.events.append(event)


async def audit(peer: Peer, cache: Cache, until: Callable[[Audit], bool]) -> Audit:
    """Run an audit until a condition holds."""
    runs = Audit(cluster=peer, namespaces=(), cache=cache, vanished=cache.remove, grace_seconds=0.2)
    task = asyncio.create_task(runs.run(0.05))
    async with asyncio.timeout(5):
        while not until(runs):  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return runs


async def test_a_cache_that_has_what_is_listed_is_in_step() -> None:
    """And then the replica is ready."""
    cache = Cache()
    cache.put(MEMORY)

    runs = await audit(Peer({MEMORY.ref: (MEMORY.uid, "5")}), cache, lambda a: a.synced.is_set())

    assert runs.problem == ""


async def test_what_the_watch_does_not_bring_in_time_is_a_problem() -> None:
    """The health check fails, and says which memory it is about."""
    cache = Cache()
    cache.put(MEMORY)

    runs = await audit(Peer({MEMORY.ref: (MEMORY.uid, "6")}), cache, lambda a: bool(a.problem))

    assert "team/support" in runs.problem
    assert not runs.synced.is_set()


async def test_the_problem_goes_when_the_watch_recovers() -> None:
    """Without a restart."""
    cache = Cache()
    peer = Peer({MEMORY.ref: (MEMORY.uid, "5")})
    runs = Audit(cluster=peer, namespaces=(), cache=cache, vanished=cache.remove, grace_seconds=0.1)
    task = asyncio.create_task(runs.run(0.05))
    async with asyncio.timeout(5):
        while not runs.problem:  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.01)
        cache.put(MEMORY)
        await runs.synced.wait()

    assert runs.problem == ""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_vanished_without_a_word_is_told() -> None:
    """A relist does not tell what was deleted meanwhile."""
    cache = Cache()
    cache.put(MEMORY)

    await audit(Peer(), cache, lambda _: MEMORY.ref not in cache)


async def test_an_api_server_that_does_not_answer_is_no_problem_of_the_watch() -> None:
    """It is asked again."""
    peer = Peer(failures=1)

    runs = await audit(peer, Cache(), lambda _: not peer.failures)

    assert runs.problem == ""


def note(number: int) -> Note:
    """Return an event."""
    return Note(replace(MEMORY, ref=MemoryRef("team", f"m{number}")), "Normal", "InEffect", "Reconcile", "x" * 2000)


def recorder(peer: Peer, metrics: Metrics, *, limit: int = 10) -> Recorder:
    """Return a recorder that sends two at once and then 20 a second."""
    bucket = TokenBucket(rate=20, burst=2)
    return Recorder(cluster=peer, identity="me", metrics=metrics, limit=limit, bucket=bucket)


async def test_events_are_sent_in_order_and_within_the_bounds_of_the_api() -> None:
    """The text of a note has at most 1024 characters."""
    peer = Peer()
    sends = recorder(peer, Metrics())
    task = asyncio.create_task(sends.run())
    for number in range(4):
        sends.note(note(number))
    async with asyncio.timeout(5):
        while len(peer.events) < 4:  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert [event["regarding"]["name"] for event in peer.events] == ["m0", "m1", "m2", "m3"]  # type: ignore[index]
    assert {len(str(event["note"])) for event in peer.events} == {1024}


async def test_too_many_events_are_dropped_and_counted() -> None:
    """Memory stays bounded; so does the time at the end."""
    peer, metrics = Peer(), Metrics()
    sends = recorder(peer, metrics, limit=3)
    for number in range(5):
        sends.note(note(number))
    await sends.finish(1)

    assert len(peer.events) == 3
    assert b"agentmemory_operator_events_dropped_total 2.0" in metrics.exposition()


async def test_an_event_that_is_not_taken_is_dropped_and_counted() -> None:
    """It is a courtesy; the next one is sent all the same."""
    peer, metrics = Peer(failures=1), Metrics()
    sends = recorder(peer, metrics)
    sends.note(note(0))
    sends.note(note(1))
    await sends.finish(1)

    assert len(peer.events) == 1
    assert b"agentmemory_operator_events_dropped_total 1.0" in metrics.exposition()
