"""The record, in the store, of the memories whose configuration this installation has written.

A memory that retains its conversations is not guarded by a finalizer: its object may go while no operator runs. What is
on record and not in the cluster any more is therefore still to be withdrawn. Rule: a configuration is on record from
before it is written until after it was withdrawn.
"""

from __future__ import annotations

from memory_core.keys import InstallationKeys, MemoryRef
from memory_core.store import Store


class Record:
    """Remembers what it has read and written, so that looking at a memory again costs nothing."""

    def __init__(self, *, store: Store, keys: InstallationKeys) -> None:
        self._store = store
        self._key = keys.memories
        self._known: set[MemoryRef] = set()

    async def read(self) -> frozenset[MemoryRef]:
        """Return the memories on record; what the store has lost is recorded anew by the next `add`."""
        words: list[bytes] = await self._store.call(b"SMEMBERS", self._key)
        self._known = {MemoryRef.decode(word) for word in words}
        return frozenset(self._known)

    async def add(self, ref: MemoryRef) -> None:
        """Put a memory on record, unless it is."""
        if ref not in self._known:
            await self._store.call(b"SADD", self._key, ref.encode())
            self._known.add(ref)

    async def remove(self, ref: MemoryRef) -> None:
        """Take a memory off the record."""
        await self._store.call(b"SREM", self._key, ref.encode())
        self._known.discard(ref)
