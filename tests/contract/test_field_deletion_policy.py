"""`deletionPolicy`: what happens to the conversations when the MemoryResource is deleted."""

import asyncio

import pytest

from memory_core.keys import InstanceKeys, MemoryKeys, MemoryRef
from memory_core.store import Store, StoreSettings, functions
from support.conversations import Conversation, limits, message
from support.operators import Memories, Operators
from support.store import StoreServer


def converse(store: StoreServer, ref: MemoryRef) -> set[bytes]:
    """Begin a conversation as a sidecar does; return its keys."""
    keys = InstanceKeys(ref, "ada")

    async def write() -> None:
        async with Store(StoreSettings(url=store.url)) as connection:
            await connection.wait_connected(5)
            await functions.register_instance(connection, MemoryKeys(ref), "ada")
            await Conversation(connection, keys, limits()).append(message("m1"))

    asyncio.run(write())
    return left(store, ref)


def left(store: StoreServer, ref: MemoryRef) -> set[bytes]:
    """Return the keys of the memory's conversations."""
    with store.client() as client:
        return set(client.scan_iter(MemoryKeys(ref).instance_pattern, count=1000))


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_conversations_stay_or_go(operators: Operators, memories: Memories, valkey: StoreServer, policy: str) -> None:
    """Retain keeps every key of a conversation, Delete erases them all before the object goes."""
    operators.leading()
    memories.apply(deletionPolicy=policy)
    memories.wait_ready()
    before = converse(valkey, memories.ref())

    memories.delete()
    memories.wait_gone()

    assert len(before) == 3
    assert left(valkey, memories.ref()) == (before if policy == "Retain" else set())
