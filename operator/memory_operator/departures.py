"""Finds the memories that are gone while their configuration is still in the store, and keeps what is known of them.

Most departures come from the watch. Those that nobody saw, because no operator led or the store was away, show in the
record of what was written. Absence from the cache alone proves nothing: a list of the cluster confirms it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from memory_core.errors import AgentMemoryError, StoreUnavailable
from memory_core.keys import MemoryRef
from memory_core.logs import Log
from memory_operator.audit import Lists
from memory_operator.cache import Cache
from memory_operator.memories import Memory

_log: Final = Log(__name__)

_RETRY_SECONDS: Final = 10.0


class Reads(Protocol):
    """Tells which memories were written; the record in the store does."""

    async def read(self) -> frozenset[MemoryRef]:
        """Return the memories on record; raises StoreUnavailable or StoreError."""
        ...


class Departures:
    """Memories that are gone. `queue(refs)` has them looked at now; iterating yields those that are still known."""

    def __init__(
        self,
        *,
        cluster: Lists,
        record: Reads,
        cache: Cache,
        namespaces: Sequence[str],
        queue: Callable[[Iterable[MemoryRef]], None],
    ) -> None:
        self._cluster = cluster
        self._record = record
        self._cache = cache
        self._namespaces = namespaces
        self._queue = queue
        self._known: dict[MemoryRef, Memory] = {}
        self._due = asyncio.Event()

    def __iter__(self) -> Iterator[MemoryRef]:
        return iter(tuple(self._known))

    def add(self, memory: Memory) -> None:
        """Keep what was last known of a memory that is gone, and have it looked at."""
        self._known[memory.ref] = memory
        self._queue([memory.ref])

    def take(self, ref: MemoryRef) -> Memory | None:
        """Return what was last known of a memory, None when nothing was, and forget it."""
        return self._known.pop(ref, None)

    def look(self) -> None:
        """Compare the record with the cluster now."""
        self._due.set()

    async def run(self, interval_seconds: float, synced: asyncio.Event) -> None:
        """Compare the record with the cluster for ever; not before the cache has held all that was listed first."""
        await synced.wait()
        while True:
            self._due.clear()
            wait = interval_seconds if await self._compare() else min(_RETRY_SECONDS, interval_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait * (0.9 + 0.2 * random.random())):  # noqa: S311  # spreads load
                    await self._due.wait()

    async def _compare(self) -> bool:
        """Have what is gone looked at; tell whether that is done, or left to the next look when the store is back."""
        try:
            missing = [ref for ref in await self._record.read() if self._serves(ref) and ref not in self._cache]
            listed = await self._cluster.list_versions(self._namespaces) if missing else {}
        except StoreUnavailable:
            return True
        except AgentMemoryError as error:
            _log.warning("memories that are gone not looked for", reason=error.reason, detail=error.detail)
            return False
        self._queue([ref for ref in missing if ref not in listed])
        return True

    def _serves(self, ref: MemoryRef) -> bool:
        return not self._namespaces or ref.namespace in self._namespaces
