"""A peer on a Unix socket that misbehaves on purpose: for faults of the transport that no healthy server shows.

It reads one HTTP request after the other and plays one turn for each; the last turn is repeated.
"""

import asyncio
import json
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Self

Turn = Callable[[bytes, StreamWriter], Awaitable[None]]


def says(data: object, status: int = 200, *headers: str) -> Turn:
    """Answer with JSON."""
    return answers(lambda _: data, status, *headers)


def answers(data_of: Callable[[bytes], object], status: int = 200, *headers: str) -> Turn:
    """Answer with JSON that depends on the request."""

    async def turn(request: bytes, writer: StreamWriter) -> None:
        body = json.dumps(data_of(request)).encode()
        head = "\r\n".join([f"HTTP/1.1 {status} Canned", f"Content-Length: {len(body)}", *headers, "", ""])
        writer.write(head.encode() + body)

    return turn


def sends(data: bytes, *, then_closes: bool = False) -> Turn:
    """Answer with these bytes."""

    async def turn(_: bytes, writer: StreamWriter) -> None:
        writer.write(data)
        if then_closes:
            writer.close()

    return turn


def after(seconds: float, turn: Turn) -> Turn:
    """Play a turn late."""

    async def late(request: bytes, writer: StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await turn(request, writer)

    return late


drops = sends(b"", then_closes=True)  # the request was read, and no answer comes
hangs = sends(b"")


class CannedServer:
    """Listens while its context lasts; ``requests`` are those it read, ``connections`` how many were opened."""

    def __init__(self, path: Path, *turns: Turn, refuses_bodies_over: int = 2**30) -> None:
        self.path = path
        self.requests: list[bytes] = []
        self.connections = 0
        self._turns = list(turns)
        self._refuses_bodies_over = refuses_bodies_over
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(timeout=5)
        return self

    def __exit__(self, *_: object) -> None:
        loop, stop = self._ready.result()
        loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            conversations: list[asyncio.Task[None]] = []

            def accept(reader: StreamReader, writer: StreamWriter) -> None:
                self.connections += 1
                conversations.append(group.create_task(self._converse(reader, writer)))

            server = await asyncio.start_unix_server(accept, self.path)
            self._ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()
            server.close()
            for conversation in conversations:
                conversation.cancel()

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while not writer.is_closing():
                await self._read_and_play(reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # the client left
            pass
        finally:
            writer.close()

    async def _read_and_play(self, reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length: ")
        size = int(length.split(b"\r\n")[0] or 0) if length else 0
        if size > self._refuses_bodies_over:  # without reading it, as servers do
            await says({"reason": "BodyTooLarge", "detail": "too long"}, 413, "Connection: close")(head, writer)
            writer.close()
            return
        request = head + await reader.readexactly(size)
        self.requests.append(request)
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        await turn(request, writer)


def forwards(target: Path, *, and_drops: bool = False) -> Turn:
    """Pass the request on to a real server, and its answer back; or lose the answer on the way."""

    async def turn(request: bytes, writer: StreamWriter) -> None:
        reader, upstream = await asyncio.open_unix_connection(target)
        try:
            upstream.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        finally:
            upstream.close()
            await upstream.wait_closed()
        if and_drops:
            writer.close()
        else:
            writer.write(head + body)

    return turn
