"""The transport for threads: one attempt of a call over a blocking socket."""

from __future__ import annotations

import socket
import struct
import time
from queue import Empty, SimpleQueue

from agent_memory.errors import AnswerTimeout, ClientClosed, ConnectionLost
from agent_memory.settings import Settings
from agent_memory.sockets import READ_BYTES, IdleConnections, connect, lost
from agent_memory.wire import Response, ResponseParser

_TIMEVAL = struct.Struct("ll")  # struct timeval: seconds, microseconds


class BlockingTransport:
    """Sends requests from any number of threads, each over a connection of its own while it lasts."""

    def __init__(self, path: str, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._idle = IdleConnections()
        self._slots: SimpleQueue[None] = SimpleQueue()  # a semaphore in C: threading's costs a tenth of the whole call
        for _ in range(settings.max_connections):
            self._slots.put(None)
        self._closed = False

    def attempt(self, request: bytes, *, deadline: float, reuse: bool) -> Response:
        """Send a request and return the answer. Not over a connection that was idle unless ``reuse``."""
        if self._closed:
            raise ClientClosed("the client is closed")
        try:
            slot = self._slots.get(timeout=_left(deadline))
        except Empty as error:
            raise AnswerTimeout(f"no connection became free: {self._settings.max_connections} are in use") from error
        try:
            return self._attempt(request, deadline, reuse=reuse)
        finally:
            self._slots.put(slot)

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their call ends."""
        self._closed = True
        self._idle.close()

    def _attempt(self, request: bytes, deadline: float, *, reuse: bool) -> Response:
        connection = (self._idle.take() if reuse else None) or _connect(self._path)
        try:
            response = self._exchange(connection, request, deadline)
        except ConnectionLost:
            connection.close()
            self._idle.close()
            raise
        except BaseException:
            connection.close()
            raise
        if response.reusable and not self._closed:
            self._idle.put(connection)
        else:
            connection.close()
        return response

    def _exchange(self, connection: socket.socket, request: bytes, deadline: float) -> Response:
        parser = ResponseParser(max_body_bytes=self._settings.max_response_bytes)
        try:
            _send(connection, request, deadline)
            _limit(connection, socket.SO_RCVTIMEO, deadline)
            while data := connection.recv(READ_BYTES):
                if response := parser.feed(data):
                    return response
                _limit(connection, socket.SO_RCVTIMEO, deadline)
        except BlockingIOError as error:
            raise AnswerTimeout("the sidecar did not answer in time") from error
        except OSError as error:
            raise lost(error) from error
        return parser.end()


def _connect(path: str) -> socket.socket:
    connection = connect(path)
    connection.setblocking(True)
    return connection


def _send(connection: socket.socket, request: bytes, deadline: float) -> None:
    """Send all of the request, or as much as the sidecar takes: the reason why not may be there to read."""
    rest: bytes | memoryview = request
    try:
        while True:  # not sendall, which would wait anew for each piece
            _limit(connection, socket.SO_SNDTIMEO, deadline)
            sent = connection.send(rest)
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]
    except (BrokenPipeError, ConnectionResetError):
        return


def _limit(connection: socket.socket, option: int, deadline: float) -> None:
    """Let the kernel end the next wait at the deadline (EAGAIN). Python's own timeout would poll first: 5 us more."""
    seconds = _left(deadline)
    connection.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6)))


def _left(deadline: float) -> float:
    """Return the seconds until the deadline, and at least a moment: for the kernel, zero is for ever."""
    return max(deadline - time.monotonic(), 0.001)
