"""The transport for an event loop: one attempt of a call over a non-blocking socket."""

from __future__ import annotations

import asyncio
import socket

from agent_memory.errors import AnswerTimeout, ClientClosed, ConnectionLost
from agent_memory.settings import Settings
from agent_memory.sockets import READ_BYTES, IdleConnections, connect, lost
from agent_memory.wire import Response, ResponseParser


class AsyncTransport:
    """Sends requests from any number of tasks of one event loop, each over a connection of its own while it lasts.

    A call that is cancelled closes its connection: the answer that may still come must not meet another request.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._idle = IdleConnections()
        self._slots = asyncio.Semaphore(settings.max_connections)
        self._closed = False

    async def attempt(self, request: bytes, *, seconds: float, reuse: bool) -> Response:
        """Send a request and return the answer. Not over a connection that was idle unless ``reuse``."""
        if self._closed:
            raise ClientClosed("the client is closed")
        try:
            async with asyncio.timeout(seconds), self._slots:
                return await self._attempt(request, reuse=reuse)
        except TimeoutError as error:
            raise AnswerTimeout("the sidecar did not answer in time") from error

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their call ends."""
        self._closed = True
        self._idle.close()

    async def _attempt(self, request: bytes, *, reuse: bool) -> Response:
        connection = (self._idle.take() if reuse else None) or connect(self._path)
        try:
            response = await self._exchange(connection, request)
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

    async def _exchange(self, connection: socket.socket, request: bytes) -> Response:
        loop = asyncio.get_running_loop()
        parser = ResponseParser(max_body_bytes=self._settings.max_response_bytes)
        try:
            await _send(loop, connection, request)
            while data := await loop.sock_recv(connection, READ_BYTES):
                if response := parser.feed(data):
                    return response
        except OSError as error:
            raise lost(error) from error
        return parser.end()


async def _send(loop: asyncio.AbstractEventLoop, connection: socket.socket, request: bytes) -> None:
    """Send all of the request, or as much as the sidecar takes: the reason why not may be there to read."""
    try:
        await loop.sock_sendall(connection, request)
    except (BrokenPipeError, ConnectionResetError):
        return
