"""Messages: what a caller may send, and the form in which the store keeps it.

Rules
  - A message is kept as it was sent. What is not understood here (`payload`, `metadata`, content parts) stays byte for
    byte; NUL is text like any other, half a surrogate pair is no text and refused.
  - Everything is bounded, and a refusal names the field and the bound.
  - A message is encoded once. The store and every reader splice these bytes and never decode them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from memory_core.documents import PRINTABLE, read_object
from memory_core.errors import InvalidRequest
from memory_core.ulid import UlidGenerator

MAX_MESSAGES: Final = 1_000  # in one request
MAX_METADATA_BYTES: Final = 16_384
MAX_METADATA_DEPTH: Final = 8
MAX_PAYLOAD_DEPTH: Final = 64  # of content parts as well

Role = Literal["system", "developer", "user", "assistant", "tool"]
MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,128}$(?!\n)", description="Unique in the conversation.")]
CallId = Annotated[str, Meta(min_length=1, max_length=256, pattern=PRINTABLE)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=PRINTABLE, description="Who speaks, in its role.")]
Parts = Annotated[list[Raw], Meta(max_length=256, description="Typed parts, such as {type: text, text: ...}.")]

_LETTERS: Final[dict[str, str]] = {"system": "s", "developer": "d", "user": "u", "assistant": "a", "tool": "t"}
_CRITICAL_ROLES: Final = frozenset({"system", "developer"})
_NULL: Final = b"null"


class FunctionCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The function an assistant wants called; `arguments` is text, usually JSON."""

    name: Annotated[str, Meta(min_length=1, max_length=256, pattern=PRINTABLE)]
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call of an assistant message. A tool message answers it with its id."""

    id: CallId
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message as a caller sends it. Fields are kept in this order; those not sent are left out."""

    id: MessageId | None = None
    role: Role
    content: str | Parts | UnsetType | None = UNSET
    name: Name | None = None
    tool_calls: Annotated[list[ToolCall], Meta(min_length=1, max_length=128)] | None = None
    tool_call_id: CallId | None = None
    payload: Raw | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET
    pinned: bool = False

    def texts(self) -> Sequence[str]:
        """Return every text that a model reads: content parts, name, tool calls."""
        texts = [self.content] if isinstance(self.content, str) else _part_texts(self.content)
        if self.name is not None:
            texts.append(self.name)
        for call in self.tool_calls or ():
            texts += (call.function.name, call.function.arguments)
        return texts


class EncodedMessage(msgspec.Struct, frozen=True, gc=False):
    """A message in the form in which the store takes it.

    header   "TOKENS BYTES ROLE+FLAGS ID"; the role is its first letter; flags: c critical (system, developer, pinned:
             never evicted), k has tool calls, r is the result of one
    body     the message's JSON without its beginning `{"seq":N`, which the store knows
    calls    ids of its tool calls, percent-encoded, separated by blanks
    answers  the percent-encoded id of the call it is the result of
    """

    id: str
    header: bytes
    body: bytes
    calls: str
    answers: str


def check_messages(messages: Sequence[Message], place: str = "messages") -> None:
    """Check what the types do not say.

    Raises InvalidRequest, which names the field and what is allowed there.
    """
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidRequest(f"{place}: 1 to {MAX_MESSAGES} messages in a request")
    for position, message in enumerate(messages):
        if (
            type(message.content) is not str
            or not message.content
            or message.role == "tool"
            or message.tool_calls is not None
            or message.tool_call_id is not None
        ):
            _check_shape(message, f"{place}[{position}]")
        if message.payload is not UNSET or message.metadata is not UNSET:
            _check_kept(message, f"{place}[{position}]")


def _check_shape(message: Message, place: str) -> None:
    """Check which fields go with which role."""
    if message.tool_calls is not None and message.role != "assistant":
        raise InvalidRequest(f"{place}.tool_calls: only a message of role assistant has tool calls")
    if (message.tool_call_id is not None) != (message.role == "tool"):
        raise InvalidRequest(f"{place}.tool_call_id: needed in a message of role tool, and only there")
    ids = [call.id for call in message.tool_calls or ()]
    if len(ids) != len(set(ids)):
        raise InvalidRequest(f"{place}.tool_calls: an id is used twice")
    if message.content == "" and message.role == "tool":
        return  # a tool that has nothing to say has answered nevertheless
    if message.content in ("", None, UNSET, []) and not message.tool_calls:
        raise InvalidRequest(f"{place}.content: may be empty only beside tool_calls, and as the result of a tool")
    if isinstance(message.content, list):
        _check_parts(message.content, f"{place}.content")


def _check_parts(parts: list[Raw], place: str) -> None:
    for position, raw in enumerate(parts):
        part = read_object(raw, f"{place}[{position}]", max_depth=MAX_PAYLOAD_DEPTH)
        kind = part.get("type")
        if not isinstance(kind, str) or not 1 <= len(kind) <= 64:
            raise InvalidRequest(f"{place}[{position}].type: a string of 1 to 64 characters, such as text")
        if kind == "text" and not isinstance(part.get("text"), str):
            raise InvalidRequest(f"{place}[{position}].text: a part of type text has a string here")


def _check_kept(message: Message, place: str) -> None:
    """Check what is kept byte for byte; null means not given."""
    if isinstance(message.payload, Raw):
        if bytes(message.payload) == _NULL:
            message.payload = UNSET
        else:
            read_object(message.payload, f"{place}.payload", max_depth=MAX_PAYLOAD_DEPTH)
    if isinstance(message.metadata, Raw):
        if bytes(message.metadata) == _NULL:
            message.metadata = UNSET
        elif len(message.metadata) > MAX_METADATA_BYTES:
            raise InvalidRequest(f"{place}.metadata: at most {MAX_METADATA_BYTES} bytes")
        else:
            read_object(message.metadata, f"{place}.metadata", max_depth=MAX_METADATA_DEPTH)


def _part_texts(parts: list[Raw] | UnsetType | None) -> list[str]:
    """Return the texts of checked parts: `text` of any type, and a refusal."""
    texts = []
    for raw in parts or ():
        part = msgspec.json.decode(raw)
        texts += [part[member] for member in ("text", "refusal") if isinstance(part.get(member), str)]
    return texts


class MessageEncoder:
    """Gives messages their ids and times, and encodes them. Not for use from several threads."""

    def __init__(self, clock: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._ulids = UlidGenerator(clock, entropy)
        self._json = msgspec.json.Encoder()
        self._second = -1
        self._date = ""

    def encode(self, message: Message, tokens: int, counted: str) -> EncodedMessage:
        """Encode a checked message; one without an id gets a ULID.

        `bytes` is the length of what the caller sent, as it is kept, with the id and without the system's members.
        """
        if message.id is None:
            message.id = self._ulids.next()
        sent = self._json.encode(message)
        size = len(sent)
        system = (
            f',"tokens":{tokens},"counted":"{counted}","bytes":{size},"kind":"message","created_at":"{self._now()}"}}'
        )
        return EncodedMessage(
            message.id,
            f"{tokens} {size} {_LETTERS[message.role]}{_flags(message)} {message.id}".encode(),
            b"".join((b",", memoryview(sent)[1:-1], system.encode())),
            "" if message.tool_calls is None else " ".join(quote(call.id, safe="") for call in message.tool_calls),
            "" if message.tool_call_id is None else quote(message.tool_call_id, safe=""),
        )

    def _now(self) -> str:
        """Return the time as RFC 3339 demands it, in UTC with milliseconds; the date is formatted once a second."""
        seconds, nanoseconds = divmod(self._clock(), 1_000_000_000)
        if seconds != self._second:
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            self._second = seconds
        return f"{self._date}.{nanoseconds // 1_000_000:03d}Z"


def _flags(message: Message) -> str:
    flags = "c" if message.pinned or message.role in _CRITICAL_ROLES else ""
    if message.tool_calls is not None:
        return flags + "k"
    return flags + "r" if message.tool_call_id is not None else flags
