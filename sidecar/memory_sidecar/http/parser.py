"""Bytes in, requests out: the sans-I/O half of an HTTP/1.1 server, on top of llhttp.

Rule: at no time does a connection make the parser hold more than the limits allow, whatever is sent. A request that
breaks a rule ends the stream: the refusal is the last thing `feed` ever returns, after all complete requests before it.
llhttp is left in its strict mode, which refuses what request smuggling is made of: Content-Length beside
Transfer-Encoding, either of them twice, bare line feeds, folded headers, spaces before a colon.
"""

from __future__ import annotations

from typing import Final

import httptools

from memory_core.errors import AgentMemoryError, InvalidRequest
from memory_sidecar.errors import BodyTooLarge, HeadersTooLarge, Overloaded
from memory_sidecar.http.limits import ByteBudget, HttpLimits
from memory_sidecar.http.messages import Request

_KEPT_HEADERS: Final = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"expect"}
)


def _path_of(target: bytes) -> bytes:
    """Return the path of a target in absolute form (`GET http://host/path`), as proxies send it; `*` stays."""
    try:
        return httptools.parse_url(target).path or target
    except httptools.HttpParserInvalidURLError:
        return target  # `*`, or the authority of a CONNECT: no route has such a path


class _Refused(Exception):
    """Carries a refusal out of a callback of the C parser."""

    def __init__(self, error: AgentMemoryError) -> None:
        super().__init__(error.detail)
        self.error = error


class RequestParser:
    """Reads the requests of one connection."""

    __slots__ = (
        "_body",
        "_body_size",
        "_budget",
        "_chunked",
        "_finished",
        "_head_size",
        "_headers",
        "_in_body",
        "_keep_alive",
        "_limits",
        "_parser",
        "_refusal",
        "_requests",
        "_reserved",
        "_target",
        "_wire",
        "expects_continue",
    )

    def __init__(self, limits: HttpLimits, budget: ByteBudget) -> None:
        self._limits = limits
        self._budget = budget
        self._parser = httptools.HttpRequestParser(self)
        self._requests: list[Request | AgentMemoryError] = []
        self._refusal: AgentMemoryError | None = None
        self._finished = False  # nothing more is read from this connection
        self._wire = 0  # bytes received since the last complete request, those of its own chunk left out
        self.expects_continue = False  # the client waits for "100 Continue" before it sends the body
        self._reserved = 0
        self._body: list[bytes] = []
        self._begin()

    @property
    def partial(self) -> bool:
        """Return whether a request has begun and is not complete."""
        return self._wire > 0 and not self._finished

    @property
    def finished(self) -> bool:
        """Return whether the stream has ended: by a refusal, an upgrade or `Connection: close`."""
        return self._finished

    def feed(self, data: bytes) -> list[Request | AgentMemoryError]:
        """Return the requests that `data` completes, perhaps followed by the refusal that ends the stream."""
        if self._finished:
            return []
        requests: list[Request | AgentMemoryError] = []
        self._requests = requests
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_by_upgrade()
        except httptools.HttpParserCallbackError as error:
            self._refuse_with_cause(error)
        except httptools.HttpParserError as error:
            if not self._finished:  # else: bytes after `Connection: close`, which nobody may expect to be read
                self._refuse(InvalidRequest(f"this is not a valid HTTP/1.1 request: {error}"))
        if not self._finished:
            self._measure(data)
        return requests

    def abandon(self) -> None:
        """Give back what the incomplete request holds and read nothing more."""
        self._finished = True
        self._budget.give(self._reserved)
        self._reserved = 0
        self._body = []

    def _measure(self, data: bytes) -> None:
        """Bound what the C parser keeps to itself: unfinished headers, chunk sizes, trailers."""
        if self._requests:
            self._wire = 0 if self._head_size == 0 and not self._target else 1
            return
        self._wire += len(data)
        if not self._in_body:
            if self._wire > self._limits.max_head_bytes:
                self._refuse(self._head_too_large())
        elif self._wire > self._limits.max_head_bytes + 2 * self._limits.max_body_bytes:
            self._refuse(self._body_too_large())

    def _refuse(self, error: AgentMemoryError) -> None:
        self.abandon()
        self._requests.append(error)

    def _refuse_with_cause(self, error: httptools.HttpParserCallbackError) -> None:
        """End the stream by the refusal that a callback raised; anything else is a fault and propagates."""
        cause = error.__context__
        if not isinstance(cause, _Refused):
            raise error
        self._refuse(cause.error)

    def _end_by_upgrade(self) -> None:
        """Answer a request that offers another protocol as plain HTTP/1.1, and close: what follows is not HTTP."""
        self._finished = True
        for request in self._requests[-1:]:
            if isinstance(request, Request):
                request.keep_alive = False

    def _head_too_large(self) -> HeadersTooLarge:
        limit = self._limits.max_head_bytes
        return HeadersTooLarge(f"request line and headers may have {limit} bytes together", limit_bytes=limit)

    def _body_too_large(self) -> BodyTooLarge:
        limit = self._limits.max_body_bytes
        return BodyTooLarge(f"a body may have {limit} bytes; send the messages in several requests", limit_bytes=limit)

    def _reserve(self, size: int) -> None:
        if not self._budget.take(size):
            raise _Refused(Overloaded("the sidecar has too many bytes in hand; try again shortly"))
        self._reserved += size

    def _begin(self) -> None:
        """Forget the request before."""
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_size = 0
        self._body = []
        self._body_size = 0
        self._reserved = 0
        self._in_body = False
        self._chunked = False
        self._keep_alive = True

    # Callbacks of llhttp, in the order of a request.

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._target += url
        self._head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the few headers that matter; a trailer is none of them."""
        self._head_size += len(name) + len(value) + 4
        lowered = name.lower()
        if lowered in _KEPT_HEADERS and not self._in_body:
            self._headers[lowered] = value

    def on_headers_complete(self) -> None:
        """Refuse early what is already known to be too much."""
        if self._head_size > self._limits.max_head_bytes:
            raise _Refused(self._head_too_large())
        self._keep_alive = self._parser.should_keep_alive()
        if not self._keep_alive and self._parser.get_http_version() not in {"1.0", "1.1"}:
            raise _Refused(InvalidRequest("speak HTTP/1.1"))
        length = int(self._headers.get(b"content-length", b"0"))
        if length > self._limits.max_body_bytes:
            raise _Refused(self._body_too_large())
        self._reserve(length)
        self._chunked = b"transfer-encoding" in self._headers
        self._in_body = True
        self.expects_continue = self._headers.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_size += len(body)
        if self._chunked:
            if self._body_size > self._limits.max_body_bytes:
                raise _Refused(self._body_too_large())
            self._reserve(len(body))
        self._body.append(body)
        self.expects_continue = False

    def on_message_complete(self) -> None:
        """Hand out the request."""
        path, _, query = self._target.partition(b"?")
        if not path.startswith(b"/"):
            path = _path_of(path)
        body = self._body
        headers = self._headers
        self._requests.append(
            Request(
                self._parser.get_method(),
                path,
                query,
                headers.get(b"content-type", b""),
                headers.get(b"content-encoding", b""),
                body[0] if len(body) == 1 else b"".join(body),
                self._keep_alive,
                self._reserved,
            )
        )
        self._finished = not self._keep_alive
        self.expects_continue = False
        self._begin()
