"""What calls return: frozen values, read from the sidecar's JSON.

A member that this version does not know is ignored, one that is missing is a ProtocolError. A Message keeps its whole
JSON object, so that what a framework stored comes back as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message. ``data`` is all of it; the properties name what every message has."""

    data: Json

    @property
    def id(self) -> str:
        """Return the message's id, unique in its conversation."""
        return str(self.data["id"])

    @property
    def seq(self) -> int:
        """Return the message's place in its conversation: it grows and is never used again."""
        return int(self.data["seq"])

    @property
    def role(self) -> str:
        """Return who speaks: system, developer, user, assistant or tool."""
        return str(self.data["role"])

    @property
    def content(self) -> Any:
        """Return the content as it was appended: a text, a list of typed parts, or None beside tool calls."""
        return self.data.get("content")

    @property
    def text(self) -> str:
        """Return the content's text; of typed parts, the text parts one after the other."""
        content = self.data.get("content")
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content or () if part.get("type") == "text")

    @property
    def tokens(self) -> int:
        """Return how many tokens the message counts."""
        return int(self.data["tokens"])


@dataclass(frozen=True, slots=True)
class Totals:
    """What a conversation holds."""

    messages: int
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AppendedMessage:
    """One appended message: the id and place it got, and its count."""

    id: str
    seq: int
    tokens: int


@dataclass(frozen=True, slots=True)
class DroppedMessage:
    """A message of the request that was not stored: its place in the request, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to an append. ``evicted`` are the ids that made room."""

    key: str
    messages: tuple[AppendedMessage, ...]
    version: int
    totals: Totals
    evicted: tuple[str, ...]
    dropped: tuple[DroppedMessage, ...]
    flush_due: bool
    durability: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages of a conversation. ``next`` is where the next page begins, None at the end."""

    key: str
    messages: tuple[Message, ...]
    next: int | None
    version: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Removed:
    """The answer to the removal of a message: a tool call and its results go together."""

    key: str
    removed: tuple[str, ...]
    version: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Deleted:
    """The answer to the removal of a whole conversation, with how many messages it had."""

    key: str
    deleted: bool
    messages: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """The answer to a clear, with how many messages were removed."""

    key: str
    removed: int
    version: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a conversation holds, against its limits. Times are RFC 3339, None while there is nothing to time."""

    key: str
    exists: bool
    version: int
    totals: Totals
    limits: Json
    utilization: Json
    roles: Mapping[str, int]
    created_at: str | None
    updated_at: str | None
    expires_at: str | None
    last_seq: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a memory can be used now, check by check."""

    healthy: bool
    checks: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Binding:
    """A memory that this pod may use, and how. ``ready`` says whether its configuration is known."""

    name: str
    namespace: str
    mode: str
    description: str
    ready: bool


@dataclass(frozen=True, slots=True)
class Description:
    """A memory's effective policy."""

    name: str
    namespace: str
    mode: str
    description: str
    type: str
    limits: Json
    tokenizer: Json
    key: Json
    ttl_seconds: float | None
    revision: int


@dataclass(frozen=True, slots=True)
class ExplainedKey:
    """What a memory's key template renders to, and from what."""

    template: str
    variables: Json
    key: str


def read_totals(data: Json) -> Totals:
    """Return the totals of an answer."""
    return Totals(data["messages"], data["tokens"], data["bytes"])


def read_appended(data: Json) -> Appended:
    """Return the answer to an append."""
    return Appended(
        key=data["key"],
        messages=tuple([AppendedMessage(one["id"], one["seq"], one["tokens"]) for one in data["messages"]]),
        version=data["version"],
        totals=read_totals(data["totals"]),
        evicted=tuple(data["evicted"]),
        dropped=tuple([DroppedMessage(one["index"], one["reason"]) for one in data["dropped"]]),
        flush_due=data["flush_due"],
        durability=data["durability"],
    )


def read_page(data: Json) -> Page:
    """Return one page of messages."""
    return Page(
        key=data["key"],
        messages=tuple(map(Message, data["messages"])),
        next=data["next"],
        version=data["version"],
        totals=read_totals(data["totals"]),
    )


def read_removed(data: Json) -> Removed:
    """Return the answer to the removal of a message."""
    return Removed(data["key"], tuple(data["removed"]), data["version"], read_totals(data["totals"]))


def read_deleted(data: Json) -> Deleted:
    """Return the answer to the removal of a conversation."""
    return Deleted(data["key"], data["deleted"], data["messages"])


def read_cleared(data: Json) -> Cleared:
    """Return the answer to a clear."""
    return Cleared(data["key"], data["removed"], data["version"])


def read_stats(data: Json) -> Stats:
    """Return a conversation's stats."""
    plain = {name: data[name] for name in Stats.__slots__ if name != "totals"}
    return Stats(totals=read_totals(data["totals"]), **plain)


def read_health(data: Json) -> Health:
    """Return a memory's health."""
    return Health(data["healthy"], data["checks"])


def read_bindings(data: Json) -> tuple[Binding, ...]:
    """Return the memories that the pod may use."""
    return tuple(Binding(**{name: one[name] for name in Binding.__slots__}) for one in data["memories"])


def read_description(data: Json) -> Description:
    """Return a memory's effective policy."""
    return Description(**{name: data[name] for name in Description.__slots__})


def read_explained_key(data: Json) -> ExplainedKey:
    """Return what a key template renders to."""
    return ExplainedKey(data["template"], data["variables"], data["key"])
