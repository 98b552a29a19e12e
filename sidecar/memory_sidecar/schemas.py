"""The shapes of requests and answers. They decode, validate and encode, and the OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from memory_core.config import MemoryType, Overflow, TokenizerFallback
from memory_core.messages import Message, MessageId, Role
from memory_core.store.functions import Totals as Totals  # noqa: PLC0414 - one shape, used here and there

Key = Annotated[str, Meta(description="Value of the variable `key`; short for variables: {key: ...}.")]
Variables = Annotated[dict[str, str], Meta(max_length=32, description="Values of the key template's variables.")]
Seq = Annotated[int, Meta(ge=0, le=2**53, description="A place in the conversation; the first message has 1.")]
RenderedKey = Annotated[str, Meta(description="The conversation, as the key template names it.")]
Version = Annotated[int, Meta(description="Grows with every change; 0: there is no such conversation.")]
MessageIds = Annotated[tuple[str, ...], Meta(description="Ids of messages.")]
Mode = Annotated[Literal["ReadOnly", "ReadWrite"], Meta(description="What the pod's binding allows.")]
About = Annotated[str, Meta(description="What the memory is for.")]
Revision = Annotated[int, Meta(description="Revision of the configuration in effect; grows with each change.")]
Timestamp = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of requests: what is not understood is refused, not ignored."""


class Scope(Request):
    """Names the conversation; other variables of the key template are sent as `var.NAME`."""

    key: Key | None = None


class AppendRequest(Request, kw_only=True):
    """Messages to append, all or none."""

    key: Key | None = None
    variables: Variables | None = None
    messages: Annotated[list[Message], Meta(min_length=1, max_length=1000)]
    idempotency_key: (
        Annotated[
            str,
            Meta(min_length=1, max_length=256, description="Repeating a request with it within 24 h changes nothing."),
        ]
        | None
    ) = None
    expected_version: (
        Annotated[
            int,
            Meta(ge=0, le=2**53, description="Refuse if the conversation is at another version; 0: it must not exist."),
        ]
        | None
    ) = None


class ReadQuery(Scope):
    """Which page of a conversation to read."""

    after: Seq | None = None
    before: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    order: Literal["asc", "desc"] = "asc"
    roles: Annotated[str, Meta(description="Only these, separated by commas: user,assistant")] | None = None


class ClearRequest(Request):
    """Empty a conversation."""

    key: Key | None = None
    variables: Variables | None = None
    confirm: Annotated[bool, Meta(description="Must be true: nothing brings the messages back.")] = False


class AppendedMessage(msgspec.Struct):
    """One stored message, in the order of the request."""

    id: MessageId
    seq: int
    tokens: int


class DroppedMessage(msgspec.Struct):
    """A message of the request that a policy of the memory kept from being stored."""

    index: Annotated[int, Meta(description="Its place in the request, from 0.")]
    reason: Annotated[str, Meta(description="Why it was not stored.")]


class AppendAnswer(msgspec.Struct):
    """What an append did."""

    key: RenderedKey
    messages: list[AppendedMessage]
    version: Version
    totals: Totals
    evicted: Annotated[tuple[str, ...], Meta(description="Ids of messages that made room.")]
    flush_due: Annotated[bool, Meta(description="The threshold of the memory's limit is reached.")]
    dropped: tuple[DroppedMessage, ...] = ()
    durability: Annotated[Literal["stored"], Meta(description="stored: the store has acknowledged it.")] = "stored"


class StoredMessage(msgspec.Struct, omit_defaults=True):
    """A message as it was appended, with what the system added."""

    seq: int
    id: MessageId
    role: Role
    tokens: int
    counted: Annotated[str, Meta(description="How the tokens were found: exact or estimate.")]
    bytes: int
    kind: Literal["message"]
    created_at: Timestamp
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    payload: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    pinned: bool = False


# Stored messages are complete JSON: they are spliced into the answer, not decoded.
StoredMessages = Annotated[
    Raw, Meta(extra_json_schema={"type": "array", "items": {"$ref": "#/components/schemas/StoredMessage"}})
]


class Page(msgspec.Struct):
    """Part of a conversation."""

    key: RenderedKey
    messages: StoredMessages
    next: Annotated[int | None, Meta(description="Pass it as `after` (asc) or `before` (desc); null at the end.")]
    version: Version
    totals: Totals


class RemovedAnswer(msgspec.Struct):
    """Messages removed; a tool call and its results go together."""

    key: RenderedKey
    removed: MessageIds
    version: Version
    totals: Totals


class DeletedAnswer(msgspec.Struct):
    """A conversation deleted, with every trace of it."""

    key: RenderedKey
    deleted: bool
    messages: Annotated[int, Meta(description="How many messages it had.")]


class ClearedAnswer(msgspec.Struct):
    """A conversation emptied; its version and sequence numbers go on."""

    key: RenderedKey
    removed: Annotated[int, Meta(description="How many messages were removed.")]
    version: Version


class Limits(msgspec.Struct):
    """Limits in effect for each conversation; null: none."""

    max_tokens: int | None
    max_messages: int | None
    max_message_bytes: int
    overflow: Overflow
    flush_threshold: float


class Utilization(msgspec.Struct):
    """Share of each limit in use; null: there is no such limit."""

    tokens: float | None
    messages: float | None


class StatsAnswer(msgspec.Struct):
    """Counters of a conversation."""

    key: RenderedKey
    exists: Annotated[bool, Meta(description="A conversation exists from its first message.")]
    version: Version
    totals: Totals
    limits: Limits
    utilization: Utilization
    roles: Annotated[dict[str, int], Meta(description="Messages by role, of roles that have any.")]
    created_at: Timestamp | None
    updated_at: Timestamp | None
    expires_at: Annotated[Timestamp | None, Meta(description="null: never, or not there.")]
    last_seq: Annotated[int, Meta(description="The last sequence number that was given.")]


class MemorySummary(msgspec.Struct):
    """A memory that the pod binds."""

    name: str
    namespace: str
    mode: Mode
    description: About
    ready: Annotated[bool, Meta(description="Its configuration has been read.")]


class MemoryList(msgspec.Struct):
    """All memories that the pod binds."""

    memories: list[MemorySummary]


class Tokenizer(msgspec.Struct):
    """How text is counted."""

    provider: Annotated[str, Meta(description="Whose tokenizer counts.")]
    encoding: Annotated[str | None, Meta(description="null: none is known for the model, see fallback.")]
    fallback: TokenizerFallback


class KeyRule(msgspec.Struct):
    """How conversations are named."""

    template: str
    default: str | None


class MemoryDescription(msgspec.Struct):
    """A memory and the policy in effect."""

    name: str
    namespace: str
    mode: Mode
    description: About
    type: MemoryType
    limits: Limits
    tokenizer: Tokenizer
    key: KeyRule
    ttl_seconds: Annotated[float | None, Meta(description="From the last write; null: never expires.")]
    revision: Revision


class KeyAnswer(msgspec.Struct):
    """What the key template renders to."""

    template: str
    variables: Annotated[dict[str, str], Meta(description="What is known of the pod.")]
    key: RenderedKey


class StoreCheck(msgspec.Struct):
    """Whether the store answers."""

    ok: bool
    latency_ms: float | None
    detail: str | None = None


class ConfigurationCheck(msgspec.Struct):
    """Whether the memory has a configuration."""

    ok: bool
    revision: int | None
    detail: str | None = None


class LibraryCheck(msgspec.Struct):
    """Whether the store has the function library."""

    ok: bool
    detail: str | None = None


class Checks(msgspec.Struct):
    """Everything that an operation needs."""

    store: StoreCheck
    configuration: ConfigurationCheck
    library: LibraryCheck


class HealthAnswer(msgspec.Struct):
    """Real probes of a memory, made for this answer."""

    healthy: bool
    checks: Checks


class Alive(msgspec.Struct):
    """The process serves."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct):
    """The store is connected and every binding is configured."""

    ready: Literal[True] = True
