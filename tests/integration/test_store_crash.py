"""Kill -9 of the store in the middle of concurrent appends: what was acknowledged is there once, under AOF always."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from memory_core.errors import StoreUnavailable
from memory_core.keys import InstanceKeys
from memory_core.store import Store, StoreSettings, library
from memory_core.store.functions import AppendResult, Idempotency
from support.conversations import MEMORY, Conversation, limits, message
from support.store import Engine, Persistence, StoreServer, engines

WRITERS = 8
CRASHES = 3


@dataclass
class Writer:
    """Appends one message after the other, each until it is acknowledged, as a client with retries does."""

    name: int
    conversation: Conversation
    acknowledged: dict[str, AppendResult] = field(default_factory=dict)
    retries: int = 0
    stopped: bool = False

    async def run(self) -> None:
        """Append until stopped."""
        number = 0
        while not self.stopped:
            number += 1
            await self._append(f"{self.name}:{number}")

    async def _append(self, name: str) -> None:
        request = Idempotency(f"request-{name}", "f")
        while True:
            try:
                self.acknowledged[name] = await self.conversation.append(message(name), idempotency=request)
            except StoreUnavailable:
                self.retries += 1
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
async def test_every_acknowledged_append_survives_kill_of_the_store_once(
    engine: Engine, make_store: Callable[..., StoreServer]
) -> None:
    """With `appendfsync always` and idempotency keys: nothing is lost, doubled or renumbered over three crashes."""
    server = make_store(engine, persistence=Persistence.ALWAYS)
    settings = StoreSettings(url=server.url)
    await library.ensure(settings)
    async with Store(settings) as store:
        await store.wait_connected(5)
        conversation = Conversation(store, InstanceKeys(MEMORY, "ada"), limits())
        writers = [Writer(name, conversation) for name in range(WRITERS)]

        async with asyncio.TaskGroup() as tasks:
            for writer in writers:
                tasks.create_task(writer.run())
            for _ in range(CRASHES):
                await asyncio.sleep(0.3)
                server.kill()
                server.start()
                await store.wait_connected(10)
            await asyncio.sleep(0.2)
            for writer in writers:
                writer.stopped = True

        stored = {each["id"]: each["seq"] for each in await conversation.messages()}
        found = await conversation.stats()

    acknowledged = {name: result.first_seq for writer in writers for name, result in writer.acknowledged.items()}
    assert stored == acknowledged
    assert sorted(stored.values()) == list(range(1, len(stored) + 1))
    assert found.totals.messages == len(stored)
    assert sum(writer.retries for writer in writers) >= CRASHES  # the crashes did meet appends
    assert store.connects == CRASHES + 1


async def test_the_function_library_survives_kill_of_the_store(make_store: Callable[..., StoreServer]) -> None:
    """It is part of what the store persists: appends go on before the operator has looked."""
    server = make_store(persistence=Persistence.ALWAYS)
    await library.ensure(StoreSettings(url=server.url))

    server.kill()
    server.start()

    assert not (await library.ensure(StoreSettings(url=server.url))).loaded
