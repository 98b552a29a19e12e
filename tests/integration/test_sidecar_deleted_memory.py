"""A conversation that begins while its memory is deleted: it is refused, and nothing of it stays in the store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from memory_core.config import encode_config
from memory_core.errors import ConfigurationUnavailable
from memory_core.keys import MemoryKeys
from memory_core.messages import Message
from memory_core.store import Store, StoreSettings, functions, library
from memory_sidecar import schemas
from memory_sidecar.configuration import ConfigurationKeeper
from memory_sidecar.memories import Memories
from memory_sidecar.metrics import Meters
from memory_sidecar.operations import Operations
from memory_sidecar.routing import Call
from support.conversations import MEMORY, configuration
from support.store import StoreServer


class DeletingStore(Store):
    """A connection behind whose first write of a conversation the operator deletes the memory, whatever comes next."""

    def call(self, *args: Any) -> asyncio.Future[Any]:
        """Send a command, and the deletion right behind the one that creates a conversation."""
        answer = super().call(*args)
        if args[1:2] == (b"am1_append",) and args[16] == b"1":
            keys = MemoryKeys(MEMORY)
            super().call(b"FCALL", b"am1_delete_config", b"1", keys.config, 1, keys.channel, b"1")
        return answer


async def test_a_conversation_begun_in_a_deleted_memory_is_taken_back(valkey: StoreServer, tmp_path: Path) -> None:
    """The erasure may have passed already, so the sidecar removes what it has just written, and refuses."""
    (tmp_path / "labels").write_text("")
    (tmp_path / "annotations").write_text(f'agentmemory.io/memory="{MEMORY.name}"\n')
    settings = StoreSettings(url=valkey.url)
    await library.ensure(settings)
    async with DeletingStore(settings) as store:
        await store.wait_connected(5)
        await functions.put_config(store, MemoryKeys(MEMORY), epoch=1, blob=encode_config(configuration()))
        memories = Memories({"POD_NAMESPACE": MEMORY.namespace}, tmp_path)
        memories.reload()
        keeper = ConfigurationKeeper(store, memories, poll_seconds=30)
        await keeper.refresh(memories.find(MEMORY.name))
        request = schemas.AppendRequest(key="ada", messages=[Message(role="user", content="hello")])
        operations = Operations(store, memories, keeper, Meters())

        with pytest.raises(ConfigurationUnavailable):
            await operations.append(Call(memories.find(MEMORY.name), {}, None, {}, request, b""))

        assert await store.call(b"KEYS", b"am:1:*ada*") == []
