"""Proves that the watch works: compares, now and then, what it has brought with a list of the cluster.

A watch can die silently, and a relist does not report what vanished meanwhile. The list asks for metadata alone. What
it knows and the cache still does not know after a grace period was missed by the watch: the health check fails, so that
the process is restarted. What only the cache knows is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from memory_core.keys import MemoryRef
from memory_core.logs import Log
from memory_operator.cache import Cache
from memory_operator.errors import ApiError
from memory_operator.memories import Memory, Uid

_log: Final = Log(__name__)

GRACE_SECONDS: Final = 20.0  # for what is on its way through the watch
_LOOK_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 2.0

Listing = dict[MemoryRef, tuple[Uid, str]]


class Lists(Protocol):
    """Lists memories; the cluster does."""

    async def list_versions(self, namespaces: Sequence[str]) -> Listing:
        """Return uid and resource version of every memory; raises ApiError."""
        ...


class Audit:
    """Compares the cache with the cluster. `vanished(memory)` is called for what the cluster does not know any more."""

    def __init__(
        self,
        *,
        cluster: Lists,
        namespaces: Sequence[str],
        cache: Cache,
        vanished: Callable[[Memory], None],
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._namespaces = namespaces
        self._cache = cache
        self._vanished = vanished
        self._grace_seconds = grace_seconds
        self.synced = asyncio.Event()  # the cache has held all that was listed first
        self.problem = ""  # why the watch is not to be trusted

    async def run(self, interval_seconds: float) -> None:
        """Audit for ever."""
        while True:
            try:
                await self._audit()
            except ApiError as error:
                _log.warning("audit not possible", detail=error.detail)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(interval_seconds * (0.8 + 0.4 * random.random()))  # noqa: S311  # spreads load

    async def _audit(self) -> None:
        known = {ref: self._cache.get(ref) for ref in self._cache}
        listing = await self._cluster.list_versions(self._namespaces)
        missed = await self._wait_for(listing)
        self.problem = f"the watch has missed changes of {len(missed)} memories, such as {missed[0]}" if missed else ""
        if not missed:
            self.synced.set()
        for ref, memory in known.items():
            if memory is not None and ref not in listing and self._cache.get(ref) is memory:
                _log.warning("memory vanished unnoticed", memory=ref)
                self._vanished(memory)

    async def _wait_for(self, listing: Listing) -> list[MemoryRef]:
        """Return what the watch has not brought within the grace period."""
        missed = list(listing)
        for _ in range(int(self._grace_seconds / _LOOK_SECONDS)):
            missed = [ref for ref in missed if not reached(self._cache.get(ref), *listing[ref])]
            if not missed:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return missed


def reached(memory: Memory | None, uid: Uid, version: str) -> bool:
    """Whether the state known of an object is at least as new as the one listed."""
    if memory is None:
        return False
    if memory.uid != uid or not (version.isdigit() and memory.resource_version.isdigit()):
        return True
    return int(memory.resource_version) >= int(version)
