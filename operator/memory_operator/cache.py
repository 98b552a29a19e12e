"""The memories of the cluster as last seen: by the watch, or in the answer to a write of our own.

A write's answer goes in at once, so that its echo in the watch is no news and causes no second reconciliation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from memory_core.keys import MemoryRef
from memory_operator.memories import Memory
from memory_operator.statuses import ready_reason


class Cache:
    """Latest known state per memory. Invariant: states of one object only move forward."""

    def __init__(self) -> None:
        self._memories: dict[MemoryRef, Memory] = {}

    def __len__(self) -> int:
        return len(self._memories)

    def __iter__(self) -> Iterator[MemoryRef]:
        return iter(tuple(self._memories))

    def __contains__(self, ref: MemoryRef) -> bool:
        return ref in self._memories

    def get(self, ref: MemoryRef) -> Memory | None:
        """Return the memory, or None when there is none of that name."""
        return self._memories.get(ref)

    def put(self, memory: Memory) -> bool:
        """Keep `memory`, and tell whether it is news."""
        known = self._memories.get(memory.ref)
        if known is not None and not memory.supersedes(known):
            return False
        self._memories[memory.ref] = memory
        return True

    def remove(self, memory: Memory) -> None:
        """Forget a memory that is gone, unless another of the same name has taken its place."""
        known = self._memories.get(memory.ref)
        if known is not None and known.uid == memory.uid:
            del self._memories[memory.ref]

    def reasons(self) -> Counter[str]:
        """Return how many memories have which reason in their Ready condition."""
        return Counter(ready_reason(memory.status) or "Unknown" for memory in self._memories.values())
