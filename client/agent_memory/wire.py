"""HTTP/1.1 as bytes: build a request, take an answer apart. No sockets, no clock.

The rule: an answer is complete and exact, or it is an error. A torn one is ConnectionLost, a malformed one is
ProtocolError, and nothing is buffered beyond the bounds given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from agent_memory.errors import ConnectionLost, ProtocolError, ResponseTooLarge
from agent_memory.version import __version__

MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 1024

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,18}")
_COMMON_HEADERS = f"Host: agentmemory\r\nUser-Agent: agentmemory-client/{__version__}\r\n"


class Response(NamedTuple):
    """One answer: header names are lower case; ``reusable`` says whether the connection may carry another request.

    A tuple, and not a frozen dataclass, since one is made for each call: 0.3 us against 1.5.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    reusable: bool


def request_bytes(method: str, target: str, body: bytes | None = None) -> bytes:
    """Return a whole request. The target is percent-encoded already."""
    head = f"{method} {target} HTTP/1.1\r\n{_COMMON_HEADERS}"
    if body is None:
        return f"{head}\r\n".encode("ascii")
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body


class _Body(Protocol):
    """Collects a body; ``rest`` is what came after it."""

    rest: bytes

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return the body when it is complete."""

    def end(self) -> bytes:
        """Return the body when the end of the connection completes it; raise ConnectionLost when it does not."""


class ResponseParser:
    """Takes the bytes of one answer, in any pieces, and returns the answer when it is complete."""

    def __init__(self, *, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._head = b""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._keep_alive = False
        self._body: _Body | None = None

    def feed(self, data: bytes) -> Response | None:
        """Take bytes as they came from the socket; return the answer when they complete it."""
        while self._body is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(self._head) > MAX_HEAD_BYTES):
                raise ResponseTooLarge(f"the head of the answer is larger than {MAX_HEAD_BYTES} bytes")
            if end < 0:
                return None
            data, head, self._head = self._head[end + 4 :], self._head[:end], b""
            self._read_head(head.decode("latin-1"))
        body = self._body.feed(data)
        return None if body is None else self._complete(body)

    def end(self) -> Response:
        """Say that the connection ended; return the answer when that completes it, else raise ConnectionLost."""
        if self._body is None:
            raise ConnectionLost("the sidecar closed the connection without an answer")
        return self._complete(self._body.end())

    def _complete(self, body: bytes) -> Response:
        clean = self._body is not None and not self._body.rest
        return Response(self._status, self._headers, body, self._keep_alive and clean)

    def _read_head(self, head: str) -> None:
        lines = head.split("\r\n")
        status_line = _STATUS_LINE.fullmatch(lines[0])
        if status_line is None:
            raise ProtocolError(f"the answer starts with {lines[0][:80]!r}, which is not HTTP/1.1")
        self._status = int(status_line[2])
        if self._status < 200:  # interim: the answer itself follows
            return
        self._headers = _headers(lines)
        options = self._headers.get("connection", "").lower()
        self._keep_alive = "close" not in options and (status_line[1] == "1" or "keep-alive" in options)
        self._body = self._framing()

    def _framing(self) -> _Body:
        """Choose how the body ends, as RFC 9112 section 6.3 orders it."""
        length, coding = self._headers.get("content-length"), self._headers.get("transfer-encoding")
        if self._status in {204, 304}:
            return _Sized(0)
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise ProtocolError(f"the answer is framed as {coding[:80]!r}, with a length of {length}")
            return _Chunked(self._max_body_bytes)
        if length is None:
            self._keep_alive = False
            return _UntilClose(self._max_body_bytes)
        if not _DECIMAL.fullmatch(length):
            raise ProtocolError(f"the answer has a content length of {length[:80]!r}")
        if int(length) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)
        return _Sized(int(length))


class _Sized:
    """A body of known length."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._pieces: list[bytes] = []
        self._have = 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        if not self._pieces and len(data) == self._length:  # all of it at once, the usual case
            return data
        self._pieces.append(data)
        self._have += len(data)
        if self._have < self._length:
            return None
        whole = b"".join(self._pieces)
        self.rest = whole[self._length :]
        return whole[: self._length]

    def end(self) -> bytes:
        raise ConnectionLost(f"the connection broke after {self._have} of {self._length} bytes of the answer")


class _Chunked:
    """A body in chunks; extensions and trailers are skipped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._body = bytearray()
        self._chunk = 0
        self._trailers = 0
        self._done = False
        self._next: Callable[[], bool] = self._take_size
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        self._buffer += data
        while not self._done:
            if not self._next():
                return None
        self.rest = bytes(self._buffer)
        return bytes(self._body)

    def end(self) -> bytes:
        raise ConnectionLost(f"the connection broke after {len(self._body)} bytes of a chunked answer")

    def _take_size(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        size = _CHUNK_SIZE.fullmatch(line.partition(b";")[0].rstrip())
        if size is None:
            raise ProtocolError(f"the answer has a chunk of size {line[:80]!r}")
        self._chunk = int(size[0], 16)
        if len(self._body) + self._chunk > self._max_bytes:
            raise _too_large(self._max_bytes)
        self._next = self._take_chunk if self._chunk else self._take_trailer
        return True

    def _take_chunk(self) -> bool:
        if len(self._buffer) < self._chunk + 2:
            return False
        if self._buffer[self._chunk : self._chunk + 2] != b"\r\n":
            raise ProtocolError("the answer has a chunk that is longer than it says")
        self._body += memoryview(self._buffer)[: self._chunk]
        del self._buffer[: self._chunk + 2]
        self._next = self._take_size
        return True

    def _take_trailer(self) -> bool:
        line = self._take_line()
        if line is None:
            return False
        self._trailers += len(line)
        if self._trailers > MAX_HEAD_BYTES:
            raise ResponseTooLarge(f"the trailers of the answer are larger than {MAX_HEAD_BYTES} bytes")
        self._done = not line
        return True

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise ProtocolError(f"the answer has a line between chunks of more than {MAX_LINE_BYTES} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


class _UntilClose:
    """A body without a length: the end of the connection is its end."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._body = bytearray()
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        self._body += data
        if len(self._body) > self._max_bytes:
            raise _too_large(self._max_bytes)
        return None

    def end(self) -> bytes:
        return bytes(self._body)


def _headers(lines: list[str]) -> dict[str, str]:
    """Return the fields after the status line; the same field twice is an error where it would change the framing."""
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"the answer has a header line {line[:80]!r}")
        if name in headers and name in {"content-length", "transfer-encoding"}:
            raise ProtocolError(f"the answer has two headers {name}")
        headers[name] = value.strip()
    return headers


def _too_large(max_bytes: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"the answer is larger than {max_bytes} bytes; ask for fewer messages a page")
