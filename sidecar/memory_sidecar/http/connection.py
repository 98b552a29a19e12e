"""One connection: requests run, answers leave in order, and neither side can make the other hold too much.

Order: a request starts when all requests before it on the connection have been answered, except that reads may run
beside reads. Backpressure: while requests wait for their turn, or the client leaves answers unread, nothing is read.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from memory_core.errors import AgentMemoryError
from memory_core.logs import Log
from memory_sidecar.errors import RequestTimeout
from memory_sidecar.http.messages import Request, Response, render
from memory_sidecar.http.parser import RequestParser
from memory_sidecar.problems import problem

if TYPE_CHECKING:
    from memory_sidecar.http.server import HttpServer

_log: Final = Log(__name__)


class Exchange:
    """One request and, once it is known, its response.

    The coroutine is stepped by hand instead of in a task: it runs at once until it waits for the store, and goes on
    in the future's callback. That spares a task and two turns of the event loop per request.
    """

    __slots__ = ("_connection", "_coroutine", "keep_alive", "method", "reserved", "response")

    def __init__(self, connection: Connection, request: Request, coroutine: Coroutine[Any, Any, Response]) -> None:
        self._connection = connection
        self._coroutine = coroutine
        self.method = request.method
        self.keep_alive = request.keep_alive
        self.reserved = request.reserved
        self.response: Response | None = None

    def step(self, _ready: object = None) -> None:
        """Run until the next future, or to the end."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self.response = end.value
            self._connection.pump()
            return
        if awaited is None:  # asyncio.sleep(0): a turn of the event loop
            asyncio.get_running_loop().call_soon(self.step)
            return
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - the documented handshake of awaitable futures
        awaited.add_done_callback(self.step)


class Connection(asyncio.Protocol):
    """Serves one client."""

    __slots__ = (
        "_answered_last",
        "_closing",
        "_held",
        "_parser",
        "_pumping",
        "_reading",
        "_running",
        "_running_safe",
        "_server",
        "_transport",
        "_waiting",
        "_writable",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = RequestParser(server.limits, server.budget)
        self._transport: asyncio.Transport
        self._waiting: deque[Request | AgentMemoryError] = deque()  # complete, not started
        self._running: deque[Exchange] = deque()  # started, not answered
        self._running_safe = True
        self._pumping = False
        self._reading = True
        self._writable = True
        self._held = 0  # bytes of answers that the client has not read
        self._closing = False  # no request is started or read any more
        self._answered_last = False  # nothing more will be written

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the server, or be refused by it."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it
        refusal = self._server.join(self)
        if refusal is not None:
            self._closing = self._answered_last = True
            transport.write(render(problem(refusal), close=True, head_only=False))
            transport.close()
            return
        if _log.verbose:
            _log.debug("connection opened", **_peer(transport))

    def data_received(self, data: bytes) -> None:
        """Take requests, and start what may start."""
        if self._closing:
            return  # what follows a refusal is thrown away
        requests = self._parser.feed(data)
        if requests:
            if self._writable:
                self._server.unwatch(self)
            self._waiting.extend(requests)
            self.pump()
        if self._parser.partial:
            self._server.watch(self, self._server.limits.request_timeout_seconds, renew=False)
            self._continue()

    def eof_received(self) -> bool:
        """Answer what was asked before the client finished sending; an incomplete request is dropped."""
        if self._closing:
            return False
        self._close_when_answered()
        return not self._answered_last

    def pause_writing(self) -> None:
        """Count what the client does not read, and start nothing more until it does."""
        self._writable = False
        self._hold()
        self._server.watch(self, self._server.limits.write_timeout_seconds, renew=True)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._writable = True
        self._release()
        if not self._answered_last:
            self._server.unwatch(self)
            self.pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Give everything back. What runs goes on: a write that the store has may not be undone."""
        self._closing = self._answered_last = True
        self._parser.abandon()
        for request in self._waiting:
            if isinstance(request, Request):
                self._server.budget.give(request.reserved)
        self._waiting.clear()
        self._release()
        self._server.leave(self)

    # Called by exchanges and by the server.

    @property
    def busy(self) -> bool:
        """Return whether requests are waiting or running."""
        return bool(self._running or self._waiting)

    def pump(self) -> None:
        """Write the answers whose turn it is and start the requests whose turn it is, until neither is left."""
        if self._pumping:
            return  # called by an exchange that ended at once; the loop below takes care of it
        self._pumping = True
        self._write_answers()
        while self._may_start():
            self._start(self._waiting.popleft())
            self._write_answers()
        self._pumping = False
        self._set_reading()

    def drain(self) -> None:
        """Close as soon as everything asked for has been answered."""
        if not self._closing:
            self._close_when_answered()

    def on_deadline(self) -> None:
        """Do what is due when the watched thing did not happen in time."""
        if self._closing or not self._writable:
            self._transport.abort()  # it lingered long enough, or leaves its answers unread
            return
        seconds = self._server.limits.request_timeout_seconds
        if not self._reading:  # the delay is ours: requests before it still run
            self._server.watch(self, seconds, renew=True)
            return
        self._parser.abandon()
        self._waiting.append(RequestTimeout(f"the request did not arrive within {seconds:g} seconds"))
        self.pump()

    # The turns.

    def _may_start(self) -> bool:
        if not self._waiting or not self._writable or self._answered_last:
            return False
        if not self._running:
            return True
        first = self._waiting[0]
        safe = isinstance(first, Request) and first.safe
        return safe and self._running_safe and len(self._running) < self._server.limits.max_in_flight

    def _start(self, request: Request | AgentMemoryError) -> None:
        if isinstance(request, AgentMemoryError):
            self._refuse(request)
            return
        self._running_safe = request.safe
        exchange = Exchange(self, request, self._server.application.answer(request))
        self._running.append(exchange)
        exchange.step()

    def _write_answers(self) -> None:
        running = self._running
        while running and running[0].response is not None:
            exchange = running.popleft()
            self._server.budget.give(exchange.reserved)
            if self._answered_last or exchange.response is None:
                continue
            last = not exchange.keep_alive or (self._closing and not running and not self._waiting)
            self._transport.write(render(exchange.response, close=last, head_only=exchange.method == b"HEAD"))
            if last:
                self._finish(self._server.limits.write_timeout_seconds)
                self._transport.close()

    def _refuse(self, error: AgentMemoryError) -> None:
        """Answer what could not be read as a request, and close."""
        self._server.count_refusal(error)
        self._transport.write(render(problem(error), close=True, head_only=False))
        self._finish(self._server.limits.linger_seconds)
        self._resume_reading()  # and throw away: closing before the client has sent everything destroys the answer
        self._transport.write_eof()

    def _finish(self, seconds: float) -> None:
        """Send no more; the connection is cut if the client has not read everything in `seconds`."""
        self._closing = self._answered_last = True
        self._parser.abandon()
        self._server.watch(self, seconds, renew=True)

    def _close_when_answered(self) -> None:
        self._closing = True
        self._parser.abandon()
        if not self.busy:
            self._finish(self._server.limits.write_timeout_seconds)
            self._transport.close()

    def _continue(self) -> None:
        """Ask for the body of a client that waits for a word, once nothing stands before it."""
        if self._parser.expects_continue and not self.busy:
            self._parser.expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _set_reading(self) -> None:
        if (self._waiting or not self._writable) and not self._closing:
            if self._reading:
                self._reading = False
                self._transport.pause_reading()
        else:
            self._resume_reading()
            if self._parser.expects_continue:
                self._continue()

    def _resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
            if self._parser.partial:
                self._server.watch(self, self._server.limits.request_timeout_seconds, renew=True)

    def _hold(self) -> None:
        self._held = self._transport.get_write_buffer_size()
        self._server.budget.force(self._held)

    def _release(self) -> None:
        self._server.budget.give(self._held)
        self._held = 0


def _peer(transport: asyncio.Transport) -> dict[str, object]:
    """Return process and user at the other end, as the kernel vouches for them (Linux, Unix sockets)."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return {}
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return {"peer_pid": pid, "peer_uid": uid, "peer_gid": gid}
