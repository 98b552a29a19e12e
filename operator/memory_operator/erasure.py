"""Erases all conversations of a deleted memory, in slices of bounded time, resumable after a crash at any point.

First the register of instances, then a scan over the whole store for keys that no register knows. Nothing is remembered
but the position of that scan; losing it starts the scan again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from memory_core.keys import InstanceKeys, MemoryKeys, MemoryRef
from memory_core.store import Store
from memory_core.store.functions import list_instances, unregister_instance
from memory_operator.memories import Memory
from memory_operator.metrics import Metrics
from memory_operator.verdicts import Erasure

SLICE_SECONDS: Final = 0.5  # a worker is never longer with one memory
_BATCH: Final = 200  # instances erased in one pipeline
_SCAN_COUNT: Final = 1000


@dataclass(slots=True)
class _Sweep:
    """Position of the scan for stray keys, and what it found."""

    cursor: bytes = b"0"
    keys: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice achieved. `stray_keys`: found by the scan, without being registered."""

    progress: Erasure
    stray_keys: int
    finished: bool


class Eraser:
    """Erases memories, a slice at a time."""

    def __init__(self, *, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._sweeps: dict[MemoryRef, _Sweep] = {}

    async def erase_slice(self, memory: Memory) -> Slice:
        """Erase for SLICE_SECONDS at most; call again until the slice is the last.

        The first slice only counts, for the status to say: the receipt is right whatever is killed after that.
        """
        deadline = time.monotonic() + SLICE_SECONDS
        keys = MemoryKeys(memory.ref)
        total = _total_before(memory)
        if not total and (found := await self._count(keys)):
            return Slice(Erasure(instances_remaining=found, instances_erased=0), stray_keys=0, finished=False)
        while rows := await list_instances(self._store, keys, limit=_BATCH):
            await self._erase(keys, rows)
            if time.monotonic() >= deadline:
                break
        remaining = await self._count(keys)
        sweep = self._sweeps.setdefault(memory.ref, _Sweep())
        if remaining == 0:
            await self._sweep(keys, sweep, deadline)
        progress = Erasure(instances_remaining=remaining, instances_erased=max(0, total - remaining))
        return Slice(progress, sweep.keys, sweep.finished and remaining == 0)

    def forget(self, ref: MemoryRef) -> None:
        """Forget the position of a scan that is not needed any more."""
        self._sweeps.pop(ref, None)

    async def _count(self, keys: MemoryKeys) -> int:
        count: int = await self._store.call(b"ZCARD", keys.instances)
        return count

    async def _erase(self, keys: MemoryKeys, rows: Sequence[tuple[str, int]]) -> None:
        """Erase, then unregister: what a crash leaves is registered still.

        The keys are unlinked without looking into them, so that nothing in them can keep them from being erased.
        """
        await asyncio.gather(*(self._store.call(b"UNLINK", *InstanceKeys(keys.ref, key).all) for key, _ in rows))
        await asyncio.gather(
            *(unregister_instance(self._store, keys, key, registered=registered) for key, registered in rows)
        )
        self._metrics.erased_instances.inc(len(rows))

    async def _sweep(self, keys: MemoryKeys, sweep: _Sweep, deadline: float) -> None:
        while not sweep.finished and time.monotonic() < deadline:
            reply: Any = await self._store.call(
                b"SCAN", sweep.cursor, b"MATCH", keys.instance_pattern, b"COUNT", _SCAN_COUNT
            )
            sweep.cursor, found = reply
            await asyncio.gather(*(self._store.call(b"UNLINK", name) for name in found))
            sweep.keys += len(found)
            sweep.finished = sweep.cursor == b"0"


def _total_before(memory: Memory) -> int:
    """Return how many instances there were when the deletion began, 0 when it begins now."""
    progress: Any = memory.status.get("deletion") or {}
    return int(progress.get("instancesRemaining", 0)) + int(progress.get("instancesErased", 0))
