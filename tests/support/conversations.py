"""Conversations on a real store, driven through the typed stubs: what the tests of the function library share.

The fixtures come once for each installed engine.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from memory_core.config import MemoryConfig, StoredConfig, TokenizerConfig
from memory_core.keys import InstanceKeys, MemoryKeys, MemoryRef
from memory_core.messages import EncodedMessage, FunctionCall, Message, MessageEncoder, ToolCall
from memory_core.store import Store, StoreSettings, functions, library
from memory_core.store.functions import AppendResult, Cleared, Deleted, Idempotency, InstanceStats, Page, Removed
from memory_core.store.limits import AppendLimits
from support.store import StoreServer

MEMORY = MemoryRef("shop", "tickets")
_ENCODER = MessageEncoder()


def configuration(ref: MemoryRef = MEMORY, **changed: Any) -> MemoryConfig:
    """Return a configuration without limits, with some members changed."""
    without_limits = MemoryConfig(
        namespace=ref.namespace,
        name=ref.name,
        description="",
        type="Buffer",
        max_tokens=None,
        max_messages=None,
        max_message_bytes=262_144,
        overflow="Evict",
        flush_threshold=0.8,
        key_template="{{ key }}",
        key_default=None,
        tokenizer=TokenizerConfig(provider="openai", encoding="o200k_base", fallback="Estimate"),
        ttl_ms=0,
    )
    return msgspec.structs.replace(without_limits, **changed)


def limits(*, revision: int = 1, **changed: Any) -> AppendLimits:
    """Return the limits of such a configuration."""
    return AppendLimits.of(StoredConfig(revision, configuration(**changed)))


def message(
    name: str | None = None,
    *,
    role: str = "user",
    tokens: int = 1,
    content: str = "text",
    calls: Sequence[str] = (),
    answers: str | None = None,
    pinned: bool = False,
) -> EncodedMessage:
    """Return an encoded message; `answers` makes it the result of a tool call, `calls` an assistant's."""
    role = "assistant" if calls else "tool" if answers else role
    made = [ToolCall(id=call, function=FunctionCall("look_up", "{}")) for call in calls]
    sent = Message(id=name, role=role, content=content, tool_calls=made or None, tool_call_id=answers, pinned=pinned)  # type: ignore[arg-type]  # a role as text
    return _ENCODER.encode(sent, tokens, "exact")


def many(count: int, *, prefix: str = "m", **members: Any) -> list[EncodedMessage]:
    """Return messages called m1, m2, ..."""
    return [message(f"{prefix}{number}", **members) for number in range(1, count + 1)]


@dataclass(frozen=True)
class Conversation:
    """One instance and the limits it is written under."""

    store: Store
    keys: InstanceKeys
    limits: AppendLimits

    def under(self, *, revision: int | None = None, **changed: Any) -> "Conversation":
        """Return the same instance under other limits, by default with the next revision."""
        return replace(self, limits=limits(revision=revision or self.limits.revision + 1, **changed))

    async def append(
        self,
        *messages: EncodedMessage,
        create: bool = True,
        expected_version: int | None = None,
        idempotency: Idempotency | None = None,
    ) -> AppendResult:
        """Append all or none; a missing conversation is created."""
        return await functions.append(
            self.store,
            self.keys,
            limits=self.limits,
            messages=messages,
            create=create,
            expected_version=expected_version,
            idempotency=idempotency,
        )

    async def read(self, **options: Any) -> Page:
        """Read one page."""
        return await functions.read(self.store, self.keys, revision=self.limits.revision, **options)

    async def messages(self) -> list[dict[str, Any]]:
        """Read everything, page after page."""
        found: list[dict[str, Any]] = []
        after: int | None = None
        while True:
            page = await self.read(limit=100, after=after)
            found += [msgspec.json.decode(entry) for entry in page.entries]
            if page.next is None:
                return found
            after = page.next

    async def ids(self) -> list[str]:
        """Return the ids of all messages, oldest first."""
        return [each["id"] for each in await self.messages()]

    async def delete_message(self, name: str) -> Removed:
        """Remove a message and its unit."""
        return await functions.delete_message(self.store, self.keys, name, limits=self.limits)

    async def clear(self) -> Cleared:
        """Remove all messages."""
        return await functions.clear(self.store, self.keys, limits=self.limits)

    async def delete(self) -> Deleted:
        """Remove the instance."""
        return await functions.delete_instance(self.store, self.keys)

    async def stats(self) -> InstanceStats:
        """Return the counters; the conversation exists."""
        found = await functions.stats(self.store, self.keys)
        assert found is not None
        return found

    async def lifetimes(self) -> dict[str, int]:
        """Return the milliseconds that each key has left, by the end of its name; -1 is for ever."""
        left = {}
        for key in self.keys.all:
            milliseconds = await self.store.call(b"PTTL", key)
            if milliseconds != -2:  # it exists
                left[key.decode().rpartition(":")[2]] = milliseconds
        return left


@pytest.fixture
async def store(store_server: StoreServer) -> AsyncGenerator[Store]:
    """Return a connection to an empty store that holds the function library."""
    settings = StoreSettings(url=store_server.url)
    await library.ensure(settings)
    async with Store(settings) as connection:
        await connection.wait_connected(5)
        yield connection


@pytest.fixture
def memory() -> MemoryKeys:
    """Return the keys of a memory."""
    return MemoryKeys(MEMORY)


@pytest.fixture
def conversation(store: Store) -> Conversation:
    """Return a conversation that does not exist yet, without limits."""
    return Conversation(store, InstanceKeys(MEMORY, "ada"), limits())


@pytest.fixture
def limited(store: Store) -> Callable[..., Conversation]:
    """Return a function that returns a conversation under limits; it does not exist yet."""

    def make(key: str = "ada", **changed: Any) -> Conversation:
        return Conversation(store, InstanceKeys(MEMORY, key), limits(**changed))

    return make
