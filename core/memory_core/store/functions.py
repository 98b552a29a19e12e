"""Typed stubs: one per function of the library, each one round trip and atomic in the store.

Every stub raises StoreUnavailable when there is no answer; whether a write was applied is then unknown. What else it
raises is said with it. Answers are values; lists of messages are complete JSON objects as bytes, ready to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from memory_core.config import StoredConfig, decode_config
from memory_core.errors import ConfigurationUnavailable
from memory_core.keys import InstanceKeys, MemoryKeys
from memory_core.messages import EncodedMessage
from memory_core.store.connection import Store
from memory_core.store.limits import AppendLimits

ROLES: Final = {"system": "s", "developer": "d", "user": "u", "assistant": "a", "tool": "t"}


class Totals(msgspec.Struct, frozen=True, gc=False):
    """Sums over the stored messages of a conversation."""

    messages: int
    tokens: int
    bytes: int


class Idempotency(msgspec.Struct, frozen=True, gc=False):
    """A caller's key for a request, and a fingerprint that tells whether a repetition is the same request."""

    key: str
    fingerprint: str


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """A message as it was stored: of a repeated request, the first time."""

    id: str
    tokens: int


class AppendResult(msgspec.Struct, frozen=True, gc=False):
    """What an append did. Messages have consecutive sequence numbers from `first_seq` on."""

    version: int
    totals: Totals
    first_seq: int
    created: bool
    flush_due: bool
    evicted: tuple[str, ...]
    stored: tuple[StoredMessage, ...]
    repeated: bool  # this is the answer to an earlier request with the same idempotency key


class Page(msgspec.Struct, frozen=True, gc=False):
    """Part of a conversation. `next` is where to go on, None at the end; version 0: there is no such conversation."""

    version: int
    totals: Totals
    next: int | None
    entries: list[bytes]


class Removed(msgspec.Struct, frozen=True, gc=False):
    """Messages removed one by one, with the state after it."""

    version: int
    totals: Totals
    ids: tuple[str, ...]


class Cleared(msgspec.Struct, frozen=True, gc=False):
    """A conversation emptied."""

    version: int
    removed: int


class Deleted(msgspec.Struct, frozen=True, gc=False):
    """A conversation deleted."""

    existed: bool
    messages: int


class InstanceStats(msgspec.Struct, frozen=True, gc=False):
    """Counters of a conversation. Times in Unix milliseconds of the store's clock; expires 0: never."""

    version: int
    last_seq: int
    totals: Totals
    revision: int
    created_at_ms: int
    updated_at_ms: int
    expires_at_ms: int
    roles: dict[str, int]


class PutConfig(msgspec.Struct, frozen=True, gc=False):
    """The revision a configuration has, and whether it was changed by this call."""

    revision: int
    changed: bool


def _totals(fields: Sequence[bytes]) -> Totals:
    return Totals(int(fields[0]), int(fields[1]), int(fields[2]))


async def append(
    store: Store,
    keys: InstanceKeys,
    *,
    limits: AppendLimits,
    messages: Sequence[EncodedMessage],
    create: bool,
    expected_version: int | None = None,
    idempotency: Idempotency | None = None,
) -> AppendResult:
    """Append all messages or none, evicting the oldest units if the limits demand and allow it.

    A repetition with the same idempotency key within 24 h answers what was answered first. `expected_version` 0 means
    that the conversation must not exist. Without `create`, a conversation that does not exist raises InstanceNotFound:
    register it, then create.

    Raises StaleConfiguration, VersionConflict, InstanceNotFound, DuplicateMessageId, MessageTooLarge, LimitExceeded,
    IdempotencyMismatch.
    """
    encoded: list[bytes | str] = []
    for message in messages:
        encoded += (message.id, message.header, message.body, message.calls, message.answers)
    before = (
        b"FCALL", b"am1_append", b"6",
        keys.meta, keys.index, keys.messages, keys.units, keys.idem0, keys.idem1,
        *limits.arguments,
        b"1" if create else b"0",
    )  # fmt: skip
    after = (*((b"", b"") if idempotency is None else (idempotency.key, idempotency.fingerprint)), *encoded)
    reply: bytes = await store.call(*before, b"" if expected_version is None else str(expected_version), *after)
    evicted: list[str] = []
    while reply.startswith(b"~"):  # so much to evict that the store does it in parts; only the first has the version
        evicted += reply[1:].decode().split()
        reply = await store.call(*before, b"", *after)
    result = _appended(reply, messages)
    return msgspec.structs.replace(result, evicted=(*evicted, *result.evicted)) if evicted else result


def _appended(reply: bytes, messages: Sequence[EncodedMessage]) -> AppendResult:
    answer, _, listed = reply.removeprefix(b"=").partition(b";")
    fields = answer.split()
    return AppendResult(
        version=int(fields[0]),
        totals=_totals(fields[1:4]),
        first_seq=int(fields[4]),
        created=fields[5] == b"1",
        flush_due=fields[6] == b"1",
        evicted=tuple([field.decode() for field in fields[7:]]),
        stored=_read_stored(listed.decode().split()) if listed else _stored(messages),
        repeated=reply.startswith(b"="),
    )


def _stored(messages: Sequence[EncodedMessage]) -> tuple[StoredMessage, ...]:
    return tuple([StoredMessage(message.id, int(message.header.partition(b" ")[0])) for message in messages])


def _read_stored(words: Sequence[str]) -> tuple[StoredMessage, ...]:
    return tuple([StoredMessage(id_, int(tokens)) for id_, tokens in zip(words[::2], words[1::2], strict=True)])


async def read(
    store: Store,
    keys: InstanceKeys,
    *,
    revision: int,
    after: int | None = None,
    before: int | None = None,
    limit: int = 50,
    descending: bool = False,
    roles: Sequence[str] = (),
) -> Page:
    """Read up to `limit` messages with a sequence number between `after` and `before` (both exclusive).

    A conversation that does not exist reads as empty. Raises StaleConfiguration.
    """
    reply: list[bytes] = await store.call(
        b"FCALL_RO", b"am1_read", b"3", keys.meta, keys.index, keys.messages,
        revision,
        b"" if after is None else after,
        b"" if before is None else before,
        limit,
        b"desc" if descending else b"asc",
        "".join(ROLES[role] for role in roles),
    )  # fmt: skip
    state, following, *bodies = reply
    fields = state.split()
    return Page(
        version=int(fields[0]),
        totals=_totals(fields[1:4]),
        next=int(following) if following else None,
        entries=[b'{"seq":' + body for body in bodies],
    )


async def delete_message(store: Store, keys: InstanceKeys, message_id: str, *, limits: AppendLimits) -> Removed:
    """Remove a message; a tool call and its results go together.

    Raises StaleConfiguration, InstanceNotFound, MessageNotFound.
    """
    reply: bytes = await store.call(
        b"FCALL", b"am1_delete_message", b"4", keys.meta, keys.index, keys.messages, keys.units,
        limits.revision, limits.ttl_ms, message_id,
    )  # fmt: skip
    fields = reply.split()
    return Removed(
        version=int(fields[0]), totals=_totals(fields[1:4]), ids=tuple(field.decode() for field in fields[4:])
    )


async def clear(store: Store, keys: InstanceKeys, *, limits: AppendLimits) -> Cleared:
    """Remove all messages. Sequence numbers, version and remembered idempotency keys go on.

    Raises StaleConfiguration, InstanceNotFound.
    """
    reply: bytes = await store.call(
        b"FCALL", b"am1_clear", b"4", keys.meta, keys.index, keys.messages, keys.units,
        limits.revision, limits.ttl_ms,
    )  # fmt: skip
    version, removed = reply.split()
    return Cleared(version=int(version), removed=int(removed))


async def delete_instance(store: Store, keys: InstanceKeys) -> Deleted:
    """Remove every key of a conversation."""
    reply: bytes = await store.call(b"FCALL", b"am1_delete_instance", b"6", *keys.all)
    existed, messages = reply.split()
    return Deleted(existed=existed == b"1", messages=int(messages))


async def stats(store: Store, keys: InstanceKeys) -> InstanceStats | None:
    """Return the counters of a conversation; None when it does not exist."""
    reply: bytes = await store.call(b"FCALL_RO", b"am1_stats", b"1", keys.meta)
    if not reply:
        return None
    version, seq, messages, tokens, size, revision, created, updated, expires, *roles = map(int, reply.split())
    return InstanceStats(
        version=version,
        last_seq=seq,
        totals=Totals(messages, tokens, size),
        revision=revision,
        created_at_ms=created,
        updated_at_ms=updated,
        expires_at_ms=expires,
        roles=dict(zip(ROLES, roles, strict=True)),
    )


async def put_config(store: Store, keys: MemoryKeys, *, epoch: int, blob: bytes) -> PutConfig:
    """Store an encoded configuration and tell the sidecars, unless it is there already.

    Raises FencedEpoch when an operator of a higher epoch has written.
    """
    reply: bytes = await store.call(b"FCALL", b"am1_put_config", b"1", keys.config, epoch, blob, keys.channel)
    revision, changed = reply.split()
    return PutConfig(revision=int(revision), changed=changed == b"1")


async def delete_config(store: Store, keys: MemoryKeys, *, epoch: int, purge: bool = False) -> bool:
    """Withdraw a configuration and tell the sidecars; returns whether there was one.

    `purge` forgets its revision as well, which is right when no conversation is left. Raises FencedEpoch.
    """
    reply: int = await store.call(
        b"FCALL", b"am1_delete_config", b"1", keys.config, epoch, keys.channel, b"1" if purge else b"0"
    )
    return reply == 1


async def read_config(store: Store, keys: MemoryKeys) -> StoredConfig:
    """Read the current configuration.

    Raises ConfigurationUnavailable when there is none, StoreError when it cannot be read.
    """
    revision, body = await store.call(b"HMGET", keys.config, b"revision", b"body")
    if body is None:
        raise ConfigurationUnavailable(
            f"memory {keys.ref} has no configuration in the store; "
            "the operator writes it when the MemoryResource exists and is valid"
        )
    return StoredConfig(revision=int(revision), config=decode_config(body))


async def register_instance(store: Store, keys: MemoryKeys, key: str) -> int:
    """Record a conversation; returns the time of registration in microseconds.

    Do it before its first write, so that none exists unrecorded, and again after, in case it was deleted in between.
    Raises ConfigurationUnavailable when the memory is gone.
    """
    reply: bytes = await store.call(b"FCALL", b"am1_register_instance", b"2", keys.config, keys.instances, key)
    return int(reply)


async def registered_at(store: Store, keys: MemoryKeys, key: str) -> int | None:
    """Return when a conversation was registered; None when it is not."""
    score = await store.call(b"ZSCORE", keys.instances, key)
    return None if score is None else int(score)


async def unregister_instance(store: Store, keys: MemoryKeys, key: str, *, registered: int) -> bool:
    """Forget a deleted conversation, unless it was registered anew since `registered`; returns whether it did."""
    reply: int = await store.call(b"FCALL", b"am1_unregister_instance", b"1", keys.instances, key, registered)
    return reply == 1


async def list_instances(store: Store, keys: MemoryKeys, *, limit: int, after: int = 0) -> list[tuple[str, int]]:
    """List up to `limit` conversations registered later than `after`, oldest first, with the time of registration."""
    rows = await store.call(
        b"ZRANGE", keys.instances, f"({after}", b"+inf", b"BYSCORE", b"LIMIT", 0, limit, b"WITHSCORES"
    )
    return [(key.decode(), int(score)) for key, score in rows]
