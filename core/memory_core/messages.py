"""Messages: what a caller may send, and the form in which the store keeps it.

Rules
  - A message is kept as it was sent. What is not understood here (`payload`, `metadata`, content parts) stays byte for
    byte; NUL is text like any other, half a surrogate pair is no text and refused.
  - Everything is bounded, and a refusal names the field and the bound.
  - A message is encoded once. The store and every reader splice these bytes and never decode them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal
from urllib.parse import quote

import msgspec

from memory_core.documents import read_object
from memory_core.errors import InvalidRequest
from memory_core.ulid import UlidGenerator

Role = Literal["system", "developer", "user", "assistant", "tool"]

ROLE_LETTERS: Final[dict[str, str]] = {"system": "s", "developer": "d", "user": "u", "assistant": "a", "tool": "t"}

MAX_MESSAGES: Final = 1_000  # in one request
MAX_PARTS: Final = 256
MAX_TOOL_CALLS: Final = 128
MAX_NAME_CHARACTERS: Final = 64
MAX_TOOL_CALL_ID_CHARACTERS: Final = 256
MAX_FUNCTION_NAME_CHARACTERS: Final = 256
MAX_METADATA_BYTES: Final = 16_384
MAX_METADATA_DEPTH: Final = 8
MAX_PAYLOAD_DEPTH: Final = 64

_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CRITICAL_ROLES: Final = frozenset({"system", "developer"})


class FunctionCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The function an assistant wants called; `arguments` is text, usually JSON."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call of an assistant message. A tool message answers it with its id."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A message as a caller sends it. The order of the fields is the order in which they are kept."""

    id: str | msgspec.UnsetType = msgspec.UNSET
    role: Role = msgspec.field(default=msgspec.UNSET)  # type: ignore[assignment]  # required: `validate` says so
    content: str | list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    pinned: bool = False
