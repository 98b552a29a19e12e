"""What each route does with a memory. Every operation is one atomic function of the store, and little around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from memory_core.documents import request_fingerprint
from memory_core.errors import (
    AgentMemoryError,
    ConfigurationUnavailable,
    InstanceNotFound,
    InvalidRequest,
    LimitExceeded,
    MessageTooLarge,
    StaleConfiguration,
)
from memory_core.keys import InstanceKeys
from memory_core.messages import EncodedMessage, Message, MessageEncoder, check_messages
from memory_core.store import Store, functions
from memory_core.store.functions import AppendResult, Idempotency
from memory_sidecar import schemas
from memory_sidecar.configuration import ConfigurationKeeper
from memory_sidecar.http.messages import JSON, Response
from memory_sidecar.memories import BoundMemory, Memories, Policy
from memory_sidecar.metrics import Meters
from memory_sidecar.routing import Call

_T = TypeVar("_T")

_TURN_SECONDS: Final = 0.002  # how long one request may keep the event loop with counting
_PROBE: Final = "\x7f"  # a key that check_key refuses: no conversation has it


class Operations:
    """Carries out requests about memories."""

    def __init__(self, store: Store, memories: Memories, keeper: ConfigurationKeeper, meters: Meters) -> None:
        self._store = store
        self._memories = memories
        self._keeper = keeper
        self._meters = meters
        self._encoder = MessageEncoder()

    async def list_memories(self, _call: Call) -> schemas.MemoryList:
        """List what the pod binds."""
        return schemas.MemoryList(
            [
                schemas.MemorySummary(
                    name=memory.ref.name,
                    namespace=memory.ref.namespace,
                    mode=memory.binding.mode,
                    description="" if memory.current is None else memory.current.config.description,
                    ready=memory.current is not None,
                )
                for memory in self._memories
            ]
        )

    async def describe(self, call: Call) -> schemas.MemoryDescription:
        """Describe the policy in effect."""
        memory, policy = call.memory, call.memory.policy
        config = policy.config
        return schemas.MemoryDescription(
            name=memory.ref.name,
            namespace=memory.ref.namespace,
            mode=memory.binding.mode,
            description=config.description,
            type=config.type,
            limits=_limits(policy),
            tokenizer=schemas.Tokenizer(
                config.tokenizer.provider, config.tokenizer.encoding, config.tokenizer.fallback
            ),
            key=schemas.KeyRule(config.key_template, config.key_default),
            ttl_seconds=config.ttl_ms / 1000 if config.ttl_ms else None,
            revision=policy.revision,
        )

    async def append(self, call: Call) -> schemas.AppendAnswer:
        """Append messages, all or none."""
        request: schemas.AppendRequest = call.body
        check_messages(request.messages)
        return await self._current(call, self._append)

    async def _append(self, call: Call, policy: Policy) -> schemas.AppendAnswer:
        request: schemas.AppendRequest = call.body
        keys = policy.conversation(request.key, request.variables)
        result = await self._write(call, policy, keys, await self._encode(policy, request.messages))
        if not result.repeated:
            appended = self._meters.appended[call.memory.label]
            appended.messages += len(result.stored)
            appended.tokens += sum([message.tokens for message in result.stored])
            appended.evicted += len(result.evicted)
        return schemas.AppendAnswer(
            keys.key,
            [
                schemas.AppendedMessage(message.id, seq, message.tokens)
                for seq, message in enumerate(result.stored, result.first_seq)
            ],
            result.version,
            result.totals,
            result.evicted,
            result.flush_due,
        )

    async def read(self, call: Call) -> schemas.Page:
        """Read a page."""
        query: schemas.ReadQuery = call.query
        if query.after is not None and query.before is not None and query.after >= query.before:
            raise InvalidRequest("after must be smaller than before; leave one of them out")
        return await self._current(call, self._read)

    async def _read(self, call: Call, policy: Policy) -> schemas.Page:
        query: schemas.ReadQuery = call.query
        keys = policy.conversation(query.key, call.variables)
        page = await self._timed(
            "read",
            functions.read(
                self._store,
                keys,
                revision=policy.revision,
                after=query.after,
                before=query.before,
                limit=query.limit,
                descending=query.order == "desc",
                roles=_roles(query.roles),
            ),
        )
        entries = msgspec.Raw(b"[" + b",".join(page.entries) + b"]")
        return schemas.Page(keys.key, entries, page.next, page.version, page.totals)

    async def delete_message(self, call: Call) -> schemas.RemovedAnswer:
        """Remove a message; a tool call and its results go together."""
        return await self._current(call, self._delete_message)

    async def _delete_message(self, call: Call, policy: Policy) -> schemas.RemovedAnswer:
        keys = policy.conversation(call.query.key, call.variables)
        removal = functions.delete_message(self._store, keys, call.parameters["id"], limits=policy.limits)
        removed = await self._timed("delete_message", removal)
        return schemas.RemovedAnswer(keys.key, removed.ids, removed.version, removed.totals)

    async def delete_instance(self, call: Call) -> schemas.DeletedAnswer:
        """Delete a conversation, and forget that there was one.

        The registration is read first: when the conversation is begun anew meanwhile, it stays registered.
        """
        memory = call.memory
        keys = memory.policy.conversation(call.query.key, call.variables)
        registered = await self._timed("registered_at", functions.registered_at(self._store, memory.keys, keys.key))
        deleted = await self._timed("delete_instance", functions.delete_instance(self._store, keys))
        if registered is not None:
            forget = functions.unregister_instance(self._store, memory.keys, keys.key, registered=registered)
            await self._timed("unregister_instance", forget)
        if not deleted.existed:
            raise InstanceNotFound("there is no such conversation; nothing was deleted")
        return schemas.DeletedAnswer(keys.key, deleted=True, messages=deleted.messages)

    async def clear(self, call: Call) -> schemas.ClearedAnswer:
        """Empty a conversation."""
        if not call.body.confirm:
            raise InvalidRequest('clearing cannot be undone: send "confirm": true')
        return await self._current(call, self._clear)

    async def _clear(self, call: Call, policy: Policy) -> schemas.ClearedAnswer:
        keys = policy.conversation(call.body.key, call.body.variables)
        cleared = await self._timed("clear", functions.clear(self._store, keys, limits=policy.limits))
        return schemas.ClearedAnswer(keys.key, cleared.removed, cleared.version)

    async def stats(self, call: Call) -> schemas.StatsAnswer:
        """Count."""
        policy = call.memory.policy
        keys = policy.conversation(call.query.key, call.variables)
        stats = await self._timed("stats", functions.stats(self._store, keys))
        totals = schemas.Totals(0, 0, 0) if stats is None else stats.totals
        return schemas.StatsAnswer(
            key=keys.key,
            exists=stats is not None,
            version=0 if stats is None else stats.version,
            totals=totals,
            limits=_limits(policy),
            utilization=schemas.Utilization(
                _share(totals.tokens, policy.config.max_tokens), _share(totals.messages, policy.config.max_messages)
            ),
            roles={} if stats is None else {role: count for role, count in stats.roles.items() if count},
            created_at=None if stats is None else _timestamp(stats.created_at_ms),
            updated_at=None if stats is None else _timestamp(stats.updated_at_ms),
            expires_at=None if stats is None or not stats.expires_at_ms else _timestamp(stats.expires_at_ms),
            last_seq=0 if stats is None else stats.last_seq,
        )

    async def explain_key(self, call: Call) -> schemas.KeyAnswer:
        """Show what the key template renders to."""
        policy = call.memory.policy
        keys = policy.conversation(call.query.key, call.variables)
        return schemas.KeyAnswer(policy.config.key_template, policy.known_variables(), keys.key)

    async def health(self, call: Call) -> schemas.HealthAnswer | Response:
        """Probe everything that an operation on this memory needs."""
        memory, started = call.memory, time.monotonic()
        try:
            await self._store.call(b"PING")
            store = schemas.StoreCheck(ok=True, latency_ms=round((time.monotonic() - started) * 1000, 3))
        except AgentMemoryError as error:
            store = schemas.StoreCheck(ok=False, latency_ms=None, detail=error.detail)
        try:
            await functions.stats(self._store, InstanceKeys(memory.ref, _PROBE))
            library = schemas.LibraryCheck(ok=True)
        except AgentMemoryError as error:
            library = schemas.LibraryCheck(ok=False, detail=error.detail)
        policy = memory.current
        configuration = (
            schemas.ConfigurationCheck(ok=False, revision=None, detail=memory.missing)
            if policy is None
            else schemas.ConfigurationCheck(ok=True, revision=policy.revision)
        )
        healthy = store.ok and library.ok and configuration.ok
        answer = schemas.HealthAnswer(healthy, schemas.Checks(store, configuration, library))
        return answer if healthy else Response(503, msgspec.json.encode(answer), JSON, ((b"Retry-After", b"1"),))

    async def _encode(self, policy: Policy, messages: Sequence[Message]) -> list[EncodedMessage]:
        """Count and encode; a message over the memory's limit is refused.

        Many short texts take as long as one long text, which is counted in a thread; between them others get a turn.
        """
        counter, limit = policy.counter, policy.config.max_message_bytes
        encoded: list[EncodedMessage] = []
        turn_ends = time.monotonic() + _TURN_SECONDS
        for position, message in enumerate(messages):
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + _TURN_SECONDS
            count = await counter.message_tokens(message)
            entry = self._encoder.encode(message, count.tokens, count.how)
            if len(entry.body) > limit and (size := int(entry.header.split(b" ", 2)[1])) > limit:
                raise MessageTooLarge(
                    f"messages[{position}] has {size} bytes as JSON; this memory allows {limit}", limit_bytes=limit
                )
            encoded.append(entry)
        return encoded

    async def _write(
        self, call: Call, policy: Policy, keys: InstanceKeys, messages: Sequence[EncodedMessage]
    ) -> AppendResult:
        """Append; begin the conversation if there is none.

        It is registered before its first write, so that none exists unrecorded, and again after it, in case it was
        deleted in between: the deletion may have taken the first registration for its own.
        """
        try:
            return await self._append_to(call, policy, keys, messages, create=False)
        except InstanceNotFound:
            await self._register(call.memory, keys)
        result = await self._append_to(call, policy, keys, messages, create=True)
        if result.created:
            await self._confirm(call.memory, keys)
        return result

    async def _confirm(self, memory: BoundMemory, keys: InstanceKeys) -> None:
        """Register a conversation that was just created; take it back when its memory was deleted meanwhile.

        The erasure of the memory may have passed by already, and would not find it.
        """
        try:
            await self._register(memory, keys)
        except ConfigurationUnavailable:
            await self._timed("delete_instance", functions.delete_instance(self._store, keys))
            raise

    async def _append_to(
        self, call: Call, policy: Policy, keys: InstanceKeys, messages: Sequence[EncodedMessage], *, create: bool
    ) -> AppendResult:
        request: schemas.AppendRequest = call.body
        name = request.idempotency_key
        started = time.monotonic()
        try:
            return await functions.append(
                self._store,
                keys,
                limits=policy.limits,
                messages=messages,
                create=create,
                expected_version=request.expected_version,
                idempotency=None if name is None else Idempotency(name, request_fingerprint(call.raw)),
            )
        except (LimitExceeded, MessageTooLarge) as error:
            error.facts["limits"] = {"tokens": policy.config.max_tokens, "messages": policy.config.max_messages}
            raise
        finally:
            self._meters.store_seconds["append"].observe(time.monotonic() - started)

    async def _register(self, memory: BoundMemory, keys: InstanceKeys) -> None:
        await self._timed("register_instance", functions.register_instance(self._store, memory.keys, keys.key))

    async def _current(self, call: Call, attempt: Callable[[Call, Policy], Awaitable[_T]]) -> _T:
        """Try with the policy in effect; when the store has seen a newer one, read it and try once more."""
        memory = call.memory
        try:
            return await attempt(call, memory.policy)
        except StaleConfiguration:
            await self._keeper.refresh(memory)
        try:
            return await attempt(call, memory.policy)
        except StaleConfiguration as error:
            raise ConfigurationUnavailable(
                f"the configuration of memory {memory.label} is changing; try again in a moment"
            ) from error

    async def _timed(self, name: str, call: Awaitable[_T]) -> _T:
        """Wait for a call of the store and measure it."""
        started = time.monotonic()
        try:
            return await call
        finally:
            self._meters.store_seconds[name].observe(time.monotonic() - started)


def _limits(policy: Policy) -> schemas.Limits:
    config = policy.config
    return schemas.Limits(
        max_tokens=config.max_tokens,
        max_messages=config.max_messages,
        max_message_bytes=config.max_message_bytes,
        overflow=config.overflow,
        flush_threshold=config.flush_threshold,
    )


def _share(used: int, limit: int | None) -> float | None:
    return None if limit is None else round(used / limit, 4)


def _timestamp(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _roles(text: str | None) -> tuple[str, ...]:
    """Return the roles of a query.

    Raises InvalidRequest for one that does not exist.
    """
    if text is None:
        return ()
    roles = tuple(dict.fromkeys(text.split(",")))
    unknown = [role for role in roles if role not in functions.ROLES]
    if unknown:
        raise InvalidRequest(f"roles: there is no role {unknown[0][:80]!r}; write some of {','.join(functions.ROLES)}")
    return roles
