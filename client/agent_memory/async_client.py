"""The client for asyncio. The same calls as in client.py, awaited."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self

from agent_memory.answers import (
    Appended,
    Binding,
    Cleared,
    Deleted,
    Description,
    ExplainedKey,
    Health,
    Message,
    Page,
    Removed,
    Stats,
)
from agent_memory.asynchronous import AsyncTransport
from agent_memory.calls import Answer, Call, MemoryCalls, NewMessage, Order, Variables, list_memories, with_facts
from agent_memory.errors import AgentMemoryError
from agent_memory.retry import Retries
from agent_memory.settings import Settings, socket_path


class AsyncMemoryClient:
    """Talks to the sidecar of this pod. The tasks of one event loop may share it; the first call connects.

    ``socket`` is the sidecar's Unix socket: by default the path in AGENT_MEMORY_SOCKET, else
    /run/agentmemory/memory.sock.
    """

    def __init__(self, socket: str | os.PathLike[str] | None = None, *, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._transport = AsyncTransport(socket_path(socket), self._settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls after that raise ClientClosed."""
        self._transport.close()

    async def memories(self) -> tuple[Binding, ...]:
        """Return the memories that this pod may use."""
        return await self.run(list_memories())

    def memory(self, name: str, *, key: str | None = None, variables: Variables | None = None) -> AsyncMemory:
        """Return a handle to one memory; with a key it is a handle to one conversation. Costs no call."""
        return AsyncMemory(self, MemoryCalls(name, key, variables))

    async def run(self, call: Call[Answer]) -> Answer:
        """Send a call, again where that is safe, until it is answered or its time is over."""
        deadline = time.monotonic() + self._settings.timeout_seconds
        retries = Retries(call.repeatable, deadline)
        while True:
            seconds = min(deadline - time.monotonic(), self._settings.attempt_seconds)
            try:
                return call.answer(await self._transport.attempt(call.request, seconds=seconds, reuse=call.repeatable))
            except AgentMemoryError as error:
                pause_seconds = retries.pause_seconds(with_facts(error, call))
            await asyncio.sleep(pause_seconds)


class AsyncMemory:
    """One memory. Every method that concerns a conversation takes ``key`` and ``variables`` over the handle's own."""

    __slots__ = ("_calls", "_client")

    def __init__(self, client: AsyncMemoryClient, calls: MemoryCalls) -> None:
        self._client = client
        self._calls = calls

    @property
    def name(self) -> str:
        """Return the memory's name."""
        return self._calls.name

    async def append(
        self,
        messages: NewMessage | Iterable[NewMessage],
        *,
        key: str | None = None,
        variables: Variables | None = None,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Appended:
        """Append one message or several, all or none, exactly once.

        A message is a dict with ``role`` and ``content``, and whatever else the API knows. The call
        carries an idempotency key, so that it is safe to repeat; should it fail all the same, a later call with
        ``idempotency_key=error.facts["idempotency_key"]`` continues it.
        """
        return await self._client.run(
            self._calls.append(
                messages,
                key=key,
                variables=variables,
                idempotency_key=idempotency_key,
                expected_version=expected_version,
            )
        )

    async def read(
        self,
        *,
        key: str | None = None,
        variables: Variables | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        order: Order = "asc",
        roles: Sequence[str] = (),
    ) -> Page:
        """Return one page of messages, by place: after or before a seq, oldest or newest first."""
        return await self._client.run(
            self._calls.read(
                key=key, variables=variables, after=after, before=before, limit=limit, order=order, roles=roles
            )
        )

    async def iterate(
        self,
        *,
        key: str | None = None,
        variables: Variables | None = None,
        page_size: int | None = None,
        order: Order = "asc",
        roles: Sequence[str] = (),
    ) -> AsyncIterator[Message]:
        """Yield all messages, page by page, oldest or newest first."""
        start: int | None = None
        while True:
            edge = {"after" if order == "asc" else "before": start}
            page = await self.read(key=key, variables=variables, limit=page_size, order=order, roles=roles, **edge)
            for message in page.messages:
                yield message
            if page.next is None:
                return
            start = page.next

    async def delete_message(
        self, message_id: str, *, key: str | None = None, variables: Variables | None = None
    ) -> Removed:
        """Remove one message; a tool call and its results go together."""
        return await self._client.run(self._calls.delete_message(message_id, key=key, variables=variables))

    async def delete_instance(self, *, key: str | None = None, variables: Variables | None = None) -> Deleted:
        """Remove the whole conversation."""
        return await self._client.run(self._calls.delete_instance(key=key, variables=variables))

    async def clear(self, *, key: str | None = None, variables: Variables | None = None) -> Cleared:
        """Remove all messages of the conversation, which stays, and so does its numbering."""
        return await self._client.run(self._calls.clear(key=key, variables=variables))

    async def stats(self, *, key: str | None = None, variables: Variables | None = None) -> Stats:
        """Return what the conversation holds, against its limits."""
        return await self._client.run(self._calls.stats(key=key, variables=variables))

    async def explain_key(self, *, key: str | None = None, variables: Variables | None = None) -> ExplainedKey:
        """Return what the memory's key template renders to; raise what says why it does not."""
        return await self._client.run(self._calls.explain_key(key=key, variables=variables))

    async def describe(self) -> Description:
        """Return the memory's effective policy."""
        return await self._client.run(self._calls.describe())

    async def health(self) -> Health:
        """Return whether the memory can be used now."""
        return await self._client.run(self._calls.health())
