"""Connections of the HTTP layer over a real socket, with an application that only this test knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop as faster

from memory_sidecar.http.limits import HttpLimits
from memory_sidecar.http.messages import Request, Response
from memory_sidecar.http.server import HttpServer

LIMITS = HttpLimits(request_timeout_seconds=0.6, write_timeout_seconds=1.0, linger_seconds=0.6)


class Echo:
    """Answers with the path; `/wait/N` waits until N is released, `/big` answers with 8 MiB."""

    def __init__(self) -> None:
        self.gates: dict[bytes, asyncio.Event] = {}
        self.started: list[bytes] = []

    def gate(self, path: bytes) -> asyncio.Event:
        """Return what opens a waiting path."""
        return self.gates.setdefault(path, asyncio.Event())

    def answer(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Answer one request."""
        return self._answer(request)

    async def _answer(self, request: Request) -> Response:
        self.started.append(request.path)
        if request.path.startswith(b"/wait"):
            await self.gate(request.path).wait()
        if request.path == b"/turn":
            await asyncio.sleep(0)
        body = b"x" * (8 << 20) if request.path == b"/big" else request.path + request.body
        return Response(200, body, b"text/plain")


class Peer:
    """A client that writes and reads raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return status and body of the next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((line for line in head.split("\r\n") if line.startswith("content-length: ")), "x: 0")
        return int(head.split()[1]), await self.reader.readexactly(int(length.partition(": ")[2]))

    async def closed(self) -> bytes:
        """Return what comes until the server closes."""
        async with asyncio.timeout(5):
            return await self.reader.read()


Connect = Callable[[], Awaitable[Peer]]


@asynccontextmanager
async def serving(folder: Path, limits: HttpLimits = LIMITS) -> AsyncIterator[tuple[Echo, HttpServer, Connect]]:
    """Serve Echo on a socket."""
    echo = Echo()
    server = HttpServer(echo, limits, on_refusal=lambda error: None)
    path = folder / "s"
    listener = await asyncio.get_running_loop().create_unix_server(server, str(path))
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Peer:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writers.append(writer)
        return Peer(reader, writer)

    try:
        yield echo, server, connect
    finally:
        for writer in writers:
            writer.close()
        listener.close()
        await server.drain(1)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the test as a whole has a deadline."""
    while not condition():  # noqa: ASYNC110 - nobody sets an event for it
        await asyncio.sleep(0.01)


def run(main: Coroutine[Any, Any, None], *, uvloop: bool = False) -> None:
    """Run a test in a fresh event loop, in that of uvloop if asked for."""
    main = asyncio.wait_for(main, 20)
    if uvloop:
        with asyncio.Runner(loop_factory=faster.new_event_loop) as runner:
            runner.run(main)
    else:
        asyncio.run(main)


GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_pipelined_requests_are_answered_in_order(tmp_path: Path, uvloop: bool):
    """Reads may run at once; answers keep the order of the requests."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, _, connect):
            peer = await connect()
            peer.send(GET % b"/wait/1" + GET % b"/turn" + GET % b"/c")
            await eventually(lambda: len(echo.started) == 3)
            echo.gate(b"/wait/1").set()
            assert [(await peer.answer())[1] for _ in range(3)] == [b"/wait/1", b"/turn", b"/c"]

    run(main(), uvloop=uvloop)


def test_a_write_starts_only_when_all_before_it_is_answered(tmp_path: Path):
    """A client may pipeline writes and rely on their order."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, _, connect):
            peer = await connect()
            peer.send(POST % b"/wait/1" + POST % b"/b" + GET % b"/c")
            await asyncio.sleep(0.1)
            assert echo.started == [b"/wait/1"]
            echo.gate(b"/wait/1").set()
            assert [(await peer.answer())[1] for _ in range(3)] == [b"/wait/1ok", b"/bok", b"/c"]

    run(main())


def test_thousands_of_pipelined_requests_are_answered(tmp_path: Path):
    """More than one connection may run wait unread; none is lost."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(b"".join(GET % str(n).join("/?").encode() for n in range(5000)))
            peer.send(b"".join(POST % b"/turn" for _ in range(500)))
            assert {(await peer.answer())[0] for _ in range(5500)} == {200}

    run(main())


def test_requests_of_one_connection_that_run_at_once_are_bounded(tmp_path: Path):
    """The rest waits."""

    async def main() -> None:
        async with serving(tmp_path, replace(LIMITS, max_in_flight=4)) as (echo, _, connect):
            peer = await connect()
            peer.send(b"".join(GET % b"/wait/%d" % n for n in range(10)))
            await asyncio.sleep(0.1)
            assert len(echo.started) == 4
            for n in range(10):
                echo.gate(b"/wait/%d" % n).set()
            assert [(await peer.answer())[1] for _ in range(10)] == [b"/wait/%d" % n for n in range(10)]

    run(main())


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_slow_request_is_refused_and_its_connection_closed(tmp_path: Path, uvloop: bool):
    """408 after the time, for half a head and for half a body; a neighbour is served meanwhile."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            head, body, neighbour = await connect(), await connect(), await connect()
            head.send(b"GET / HT")
            body.send(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
            neighbour.send(GET % b"/a")
            assert (await neighbour.answer())[0] == 200
            assert b" 408 " in await head.closed()
            assert b'"RequestTimeout"' in await body.closed()
            neighbour.send(GET % b"/a")
            assert (await neighbour.answer())[0] == 200

    run(main(), uvloop=uvloop)


def test_an_idle_connection_is_kept(tmp_path: Path):
    """Between requests there is no deadline."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(GET % b"/a")
            await peer.answer()
            await asyncio.sleep(1.3)
            peer.send(GET % b"/b")
            assert await peer.answer() == (200, b"/b")

    run(main())


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path, uvloop: bool):
    """Its answers count against the budget until then."""

    async def main() -> None:
        async with serving(tmp_path) as (_, server, _connect):
            _reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1024)
            writer.write(GET % b"/big" * 2)
            await asyncio.sleep(0.3)
            assert server.budget.used > 1 << 20
            await eventually(lambda: not server.connections)
            assert server.budget.used == 0
            writer.close()

    run(main(), uvloop=uvloop)


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_large_answer_arrives_whole(tmp_path: Path, uvloop: bool):
    """Backpressure pauses, it does not lose."""

    async def main() -> None:
        async with serving(tmp_path) as (_, server, connect):
            peer = await connect()
            peer.send(GET % b"/big" * 3 + GET % b"/last")
            assert [len((await peer.answer())[1]) for _ in range(3)] == [8 << 20] * 3
            assert await peer.answer() == (200, b"/last")
            assert server.budget.used == 0

    run(main(), uvloop=uvloop)


def test_the_body_is_asked_for_when_the_client_waits_for_a_word(tmp_path: Path):
    """Expect: 100-continue, as curl sends it with large bodies."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await peer.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            peer.send(b"ok")
            assert await peer.answer() == (200, b"/aok")

    run(main())


def test_a_body_that_is_refused_is_not_asked_for(tmp_path: Path):
    """The refusal is the word."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")
            assert (await peer.answer())[0] == 413

    run(main())


def test_a_refusal_reaches_a_client_that_is_still_sending(tmp_path: Path):
    """The rest of the body is thrown away instead of answered with a reset."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(b"POST /a HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")
            for _ in range(90):
                peer.send(b"x" * 100_000)
                await peer.writer.drain()
            assert (await peer.answer())[0] == 413
            assert await peer.closed() == b""

    run(main())


def test_a_client_may_stop_sending_and_still_read(tmp_path: Path):
    """Half-closed is not gone: `printf ... | nc -U` works."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, _, connect):
            peer = await connect()
            peer.send(POST % b"/wait/1" + GET % b"/b")
            peer.writer.write_eof()
            await asyncio.sleep(0.1)
            echo.gate(b"/wait/1").set()
            answers = await peer.closed()
            assert answers.count(b"HTTP/1.1 200") == 2
            assert answers.endswith(b"/b")

    run(main())


@pytest.mark.parametrize("data", [b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhal"])
def test_half_a_request_is_closed_without_an_answer(tmp_path: Path, data: bytes):
    """Nobody waits for one."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(data)
            peer.writer.write_eof()
            assert await peer.closed() == b""

    run(main())


def test_head_has_the_length_and_no_body(tmp_path: Path):
    """HEAD answers as GET would, without the content."""

    async def main() -> None:
        async with serving(tmp_path) as (_, _, connect):
            peer = await connect()
            peer.send(b"HEAD /abc HTTP/1.1\r\nConnection: close\r\n\r\n")
            answer = await peer.closed()
            assert b"Content-Length: 4\r\n" in answer
            assert answer.endswith(b"\r\n\r\n")

    run(main())


def test_connections_over_the_limit_are_refused(tmp_path: Path):
    """503 with Retry-After; those inside stay."""

    async def main() -> None:
        async with serving(tmp_path, replace(LIMITS, max_connections=2)) as (_, _, connect):
            inside = [await connect(), await connect()]
            await asyncio.sleep(0.05)
            outside = await connect()
            answer = await outside.closed()
            assert b" 503 " in answer
            assert b"Retry-After: 1\r\n" in answer
            inside[0].send(GET % b"/a")
            assert (await inside[0].answer())[0] == 200

    run(main())


def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path):
    """What runs for it ends by itself; its bytes are given back."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, server, connect):
            peer = await connect()
            peer.send(POST % b"/wait/1")
            await asyncio.sleep(0.1)
            peer.writer.transport.abort()
            await asyncio.sleep(0.1)
            assert server.budget.used == 2
            echo.gate(b"/wait/1").set()
            await asyncio.sleep(0.05)
            assert not server.connections
            assert server.budget.used == 0

    run(main())


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_draining_answers_what_is_in_flight_and_closes_the_rest(tmp_path: Path, uvloop: bool):
    """SIGTERM loses no answer."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, server, connect):
            idle, busy = await connect(), await connect()
            busy.send(POST % b"/wait/1")
            await asyncio.sleep(0.1)
            draining = asyncio.create_task(server.drain(3))
            assert await idle.closed() == b""
            echo.gate(b"/wait/1").set()
            assert b"/wait/1ok" in await busy.closed()
            assert await draining

    run(main(), uvloop=uvloop)


def test_draining_gives_up_after_the_grace(tmp_path: Path):
    """A handler that hangs does not keep the pod."""

    async def main() -> None:
        async with serving(tmp_path) as (echo, server, connect):
            peer = await connect()
            peer.send(POST % b"/wait/1")
            await asyncio.sleep(0.1)
            assert not await server.drain(0.1)
            echo.gate(b"/wait/1").set()
            await peer.closed()

    run(main())
