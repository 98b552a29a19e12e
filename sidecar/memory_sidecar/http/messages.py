"""Requests and responses as values, and how a response becomes bytes.

They are msgspec structs, not dataclasses: one of each is made per request, at a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec

JSON: Final = b"application/json"

_NO_CONTENT: Final = 204
_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Request(msgspec.Struct, gc=False):
    """One complete request. `reserved` bytes are given back to the budget when it has been answered."""

    method: bytes
    path: bytes
    query: bytes
    content_type: bytes
    content_encoding: bytes
    body: bytes
    keep_alive: bool
    reserved: int

    @property
    def safe(self) -> bool:
        """Return whether the method changes nothing, so that it may run beside others of its kind."""
        return self.method in _SAFE_METHODS


class Response(msgspec.Struct, frozen=True, gc=False):
    """One response. A 204 has no body and no Content-Type."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Application(Protocol):
    """Answers requests.

    The coroutine must not raise, and may await futures only: it is stepped without a task, so `asyncio.timeout`,
    task groups and `current_task` do not work in it.
    """

    def answer(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Return the coroutine that computes the response."""


_prefixes: dict[tuple[int, bytes], bytes] = {}


def _prefix(status: int, content_type: bytes) -> bytes:
    """Return the part of the head that only depends on status and type; there are few of them."""
    known = _prefixes.get((status, content_type))
    if known is None:
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        kind = b"" if status == _NO_CONTENT else b"Content-Type: " + content_type + b"\r\nContent-Length: "
        known = _prefixes[status, content_type] = line + kind
    return known


def render(response: Response, *, close: bool, head_only: bool) -> bytes:
    """Return the bytes of a response; `head_only` keeps the length but leaves out the body, as HEAD demands."""
    extra = b"".join([name + b": " + value + b"\r\n" for name, value in response.headers]) if response.headers else b""
    if close:
        extra += b"Connection: close\r\n"
    prefix = _prefix(response.status, response.content_type)
    if response.status == _NO_CONTENT:
        return b"%b%b\r\n" % (prefix, extra)
    body = b"" if head_only else response.body
    return b"%b%d\r\n%b\r\n%b" % (prefix, len(response.body), extra, body)
