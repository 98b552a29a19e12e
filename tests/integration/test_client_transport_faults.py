"""The clients against a peer that drops, delays and mangles: what is repeated, and what the caller hears."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import pytest

from agent_memory import AsyncMemoryClient, MemoryClient, Settings, errors
from agent_memory.sockets import connect
from support.canned import CannedServer, after, answers, drops, hangs, says, sends
from support.processes import source_path
from support.rights import as_somebody_without_rights

MESSAGE = {"role": "user", "content": "hello"}
TOTALS = {"messages": 1, "tokens": 8, "bytes": 100}
APPENDED = {
    "key": "k",
    "messages": [{"id": "a", "seq": 1, "tokens": 8}],
    "version": 1,
    "totals": TOTALS,
    "evicted": [],
    "dropped": [],
    "flush_due": False,
    "durability": "stored",
}
CLEARED = {"key": "k", "removed": 1, "version": 2}
PAGE = {"key": "k", "messages": [], "next": None, "version": 0, "totals": TOTALS}
OVERLOADED = says({"reason": "Overloaded", "detail": "later"}, 503, "Retry-After: 0")
QUICK = Settings(timeout_seconds=2.0, attempt_seconds=1.0)


class Talk(Protocol):
    """Makes calls, one after the other over one client, and returns the last answer."""

    def __call__(self, server: CannedServer | Path, *calls: Callable[[Any], Any], settings: Settings = QUICK) -> Any:
        """Each call is a function of the memory."""


def talk_blocking(server: CannedServer | Path, *calls: Callable[[Any], Any], settings: Settings = QUICK) -> Any:
    """Call through the client for threads."""
    with MemoryClient(server if isinstance(server, Path) else server.path, settings=settings) as client:
        return [call(client.memory("m", key="k")) for call in calls][-1]


def talk_asyncio(server: CannedServer | Path, *calls: Callable[[Any], Any], settings: Settings = QUICK) -> Any:
    """Call through the client for asyncio."""

    async def run() -> Any:
        path = server if isinstance(server, Path) else server.path
        async with AsyncMemoryClient(path, settings=settings) as client:
            return [await call(client.memory("m", key="k")) for call in calls][-1]

    return asyncio.run(run())


@pytest.fixture(params=[talk_blocking, talk_asyncio], ids=["blocking", "asyncio"])
def talk(request: pytest.FixtureRequest) -> Talk:
    """Return each client in turn."""
    return request.param  # type: ignore[no-any-return]  # the functions above


@pytest.fixture
def path(socket_folder: Path) -> Path:
    """Return where the peer listens."""
    return socket_folder / "s"


def append(memory: Any) -> Any:
    """Append a message."""
    return memory.append(MESSAGE)


def clear(memory: Any) -> Any:
    """Clear the conversation."""
    return memory.clear()


def read(memory: Any) -> Any:
    """Read a page."""
    return memory.read()


def test_calls_share_a_connection(talk: Talk, path: Path) -> None:
    """Keep-alive: ten calls, one connection."""
    with CannedServer(path, says(APPENDED)) as server:
        talk(server, *[append] * 10)

    assert (len(server.requests), server.connections) == (10, 1)


def test_a_connection_that_the_sidecar_closes_is_not_used_again(talk: Talk, path: Path) -> None:
    """Connection: close is obeyed."""
    with CannedServer(path, says(APPENDED, 200, "Connection: close")) as server:
        talk(server, append, append)

    assert server.connections == 2


def test_an_append_that_got_no_answer_is_sent_again_with_its_key(talk: Talk, path: Path) -> None:
    """Byte for byte the same request, so the sidecar can tell that it is the same append."""
    with CannedServer(path, drops, drops, says(APPENDED)) as server:
        assert talk(server, append).version == 1

    assert len(server.requests) == 3
    assert len(set(server.requests)) == 1
    assert b"idempotency_key" in server.requests[0]


def test_an_idle_connection_that_was_closed_meanwhile_costs_nothing(talk: Talk, path: Path) -> None:
    """The sidecar restarted between two calls: the second one finds out and connects again, without a pause."""
    body = json.dumps(PAGE).encode()
    answers_and_closes = sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), then_closes=True)
    with CannedServer(path, answers_and_closes, says(PAGE)) as server:
        assert talk(server, read, read).version == 0

    assert (len(server.requests), server.connections) == (2, 2)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", b"HTTP/1.1 200", b""])
def test_a_read_whose_answer_broke_off_is_sent_again(talk: Talk, path: Path, answer: bytes) -> None:
    """A torn answer is no answer."""
    with CannedServer(path, sends(answer, then_closes=True), says(PAGE)) as server:
        assert talk(server, read).version == 0

    assert len(server.requests) == 2


def test_a_clear_that_got_no_answer_is_not_sent_again(talk: Talk, path: Path) -> None:
    """It may have been done, and others may have written since."""
    with CannedServer(path, drops, says(CLEARED)) as server, pytest.raises(errors.ConnectionLost):
        talk(server, clear)

    assert len(server.requests) == 1


def test_a_clear_that_was_not_begun_is_sent_again(talk: Talk, path: Path) -> None:
    """Overloaded says that nothing was done."""
    with CannedServer(path, OVERLOADED, says(CLEARED)) as server:
        assert talk(server, clear).removed == 1


def test_a_clear_never_goes_over_a_connection_that_was_idle(talk: Talk, path: Path) -> None:
    """An idle connection may be closed at any moment, and then nobody knew whether the clear was done."""
    with CannedServer(path, says(PAGE), says(CLEARED)) as server:
        talk(server, read, clear)

    assert server.connections == 2


def test_a_busy_sidecar_is_asked_again(talk: Talk, path: Path) -> None:
    """503 with Retry-After means try again."""
    with CannedServer(path, OVERLOADED, OVERLOADED, says(APPENDED)) as server:
        assert talk(server, append).version == 1


def test_a_busy_sidecar_is_not_waited_for_beyond_the_deadline(talk: Talk, path: Path) -> None:
    """Retry-After: 60 is more than the call may take, so it fails at once."""
    busy = says({"reason": "StoreUnavailable", "detail": "away"}, 503, "Retry-After: 60")
    started = time.monotonic()
    with CannedServer(path, busy) as server, pytest.raises(errors.StoreUnavailable) as raised:
        talk(server, append)

    assert time.monotonic() - started < 1
    assert raised.value.retry_after_seconds == 60
    assert raised.value.facts["idempotency_key"]


def test_a_silent_sidecar_is_given_up_at_the_deadline(talk: Talk, path: Path) -> None:
    """Each attempt and the whole call end in time; the error lets the caller continue the same append."""
    settings = Settings(timeout_seconds=0.5, attempt_seconds=0.2)
    started = time.monotonic()
    with CannedServer(path, hangs) as server, pytest.raises(errors.AnswerTimeout) as raised:
        talk(server, append, settings=settings)

    assert 0.15 < time.monotonic() - started < 1.5
    assert len(server.requests) >= 2
    assert str(raised.value.facts["idempotency_key"]).encode() in server.requests[0]


def test_a_trickling_answer_does_not_outlast_the_attempt(talk: Talk, path: Path) -> None:
    """Every byte that comes would restart a naive timeout."""

    async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    started = time.monotonic()
    with CannedServer(path, trickle) as server, pytest.raises(errors.AnswerTimeout):
        talk(server, clear, settings=Settings(timeout_seconds=0.4))

    assert time.monotonic() - started < 2


def test_an_answer_over_the_limit_is_refused_and_not_asked_for_again(talk: Talk, path: Path) -> None:
    """Its announced length is enough."""
    settings = Settings(max_response_bytes=100)
    with CannedServer(path, says({"long": "x" * 100})) as server, pytest.raises(errors.ResponseTooLarge):
        talk(server, read, settings=settings)

    assert len(server.requests) == 1


def test_garbage_is_not_asked_for_again(talk: Talk, path: Path) -> None:
    """Something else listens there."""
    with CannedServer(path, sends(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) as server, pytest.raises(errors.ProtocolError):
        talk(server, append)

    assert len(server.requests) == 1


def test_a_refusal_that_comes_before_the_request_was_sent_is_heard(talk: Talk, path: Path) -> None:
    """A server refuses a large body and closes without reading it; the broken pipe must not hide the reason."""
    large = {"role": "user", "content": "x" * (8 << 20)}
    with CannedServer(path, says(APPENDED), refuses_bodies_over=1 << 20) as server, pytest.raises(errors.BodyTooLarge):
        talk(server, lambda memory: memory.append(large))


def test_a_large_body_and_a_large_answer_pass(talk: Talk, path: Path) -> None:
    """Both are larger than any socket buffer."""
    page = PAGE | {"messages": [{"id": "a", "content": "y" * (3 << 20)}]}
    with CannedServer(path, says(APPENDED), says(page)) as server:
        answer = talk(server, lambda memory: memory.append({"role": "user", "content": "x" * (3 << 20)}), read)

    assert len(answer.messages[0].content) == 3 << 20
    assert len(server.requests[0]) > 3 << 20


def test_a_sidecar_that_starts_late_is_waited_for(talk: Talk, path: Path) -> None:
    """No socket, then a socket: any call succeeds, since nothing was sent before."""
    server = CannedServer(path, says(CLEARED))
    starter = threading.Timer(0.3, server.__enter__)
    starter.start()
    try:
        assert talk(path, clear).removed == 1
    finally:
        starter.join()
        server.__exit__(None, None, None)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["nothing", "folder"])
def test_without_a_socket_the_error_names_the_path(talk: Talk, path: Path, make: Callable[[Path], None]) -> None:
    """The first thing to check is in the sentence."""
    make(path)
    with pytest.raises(errors.SidecarUnreachable, match=str(path)):
        talk(path, read, settings=Settings(timeout_seconds=0.1))


def test_a_stale_socket_file_says_that_nobody_listens(talk: Talk, path: Path) -> None:
    """The sidecar was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(errors.SidecarUnreachable, match="nobody listens"):
        talk(path, read, settings=Settings(timeout_seconds=0.1))


def test_a_socket_of_somebody_else_is_forbidden_at_once(talk: Talk, path: Path) -> None:
    """Waiting does not change permissions."""
    started = time.monotonic()
    with CannedServer(path, says(PAGE)) as server:
        path.chmod(0)
        with as_somebody_without_rights(), pytest.raises(errors.SocketForbidden, match="fsGroup"):
            talk(server, read)

    assert time.monotonic() - started < 1


def test_a_full_backlog_is_an_unreachable_sidecar(path: Path) -> None:
    """The kernel says EAGAIN, which must not be taken for a connection in progress."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)

        def fill() -> None:
            for _ in range(10):
                stack.enter_context(connect(str(path)))

        with pytest.raises(errors.SidecarUnreachable, match="too many"):
            fill()


def test_a_closed_client_refuses_calls(path: Path) -> None:
    """And it does not open a connection that nobody would close."""
    with CannedServer(path, says(PAGE)):
        with MemoryClient(path) as client:
            client.memory("m").read()
        with pytest.raises(errors.ClientClosed):
            client.memory("m").read()


def test_a_closed_asyncio_client_refuses_calls(path: Path) -> None:
    """The same for asyncio."""

    async def run() -> None:
        async with AsyncMemoryClient(path) as client:
            await client.memory("m").read()
        with pytest.raises(errors.ClientClosed):
            await client.memory("m").read()

    with CannedServer(path, says(PAGE)):
        asyncio.run(run())


def test_threads_share_a_client_and_its_connections(path: Path) -> None:
    """Each call gets its own answer, over no more connections than allowed."""
    by_key = answers(lambda request: PAGE | {"key": request.split(b"key=")[1].split(b" ")[0].decode()})
    settings = Settings(max_connections=3)
    with (
        CannedServer(path, by_key) as server,
        MemoryClient(path, settings=settings) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        memory = client.memory("m")
        pages = list(threads.map(lambda number: memory.read(key=f"k{number}"), range(200)))

    assert [page.key for page in pages] == [f"k{number}" for number in range(200)]
    assert server.connections <= 3


def test_tasks_share_a_client_and_its_connections(path: Path) -> None:
    """The same for the tasks of an event loop."""
    by_key = answers(lambda request: PAGE | {"key": request.split(b"key=")[1].split(b" ")[0].decode()})

    async def run() -> list[str]:
        async with AsyncMemoryClient(path, settings=Settings(max_connections=3)) as client:
            memory = client.memory("m")
            pages = await asyncio.gather(*(memory.read(key=f"k{number}") for number in range(200)))
            return [page.key for page in pages]

    with CannedServer(path, by_key) as server:
        assert asyncio.run(run()) == [f"k{number}" for number in range(200)]
        assert server.connections <= 3


def test_a_cancelled_call_takes_its_connection_along(path: Path) -> None:
    """The late answer must not meet the next request."""
    late, prompt = after(0.2, says(PAGE | {"key": "late"})), says(PAGE | {"key": "prompt"})

    async def run() -> str:
        async with AsyncMemoryClient(path, settings=Settings(max_connections=1)) as client:
            memory = client.memory("m")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(memory.read(), 0.05)
            await asyncio.sleep(0.3)
            return (await memory.read()).key

    with CannedServer(path, late, prompt) as server:
        assert asyncio.run(run()) == "prompt"
        assert server.connections == 2


FORKING = """
import os, sys
from agent_memory import MemoryClient

memory = MemoryClient(sys.argv[1]).memory("m")
memory.read(key="before")
child = os.fork()
name = "parent" if child else "child"
for number in range(100):
    assert memory.read(key=f"{name}{number}").key == f"{name}{number}"
if not child:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_does_not_share_connections(path: Path) -> None:
    """Parent and child would read each other's answers."""
    by_key = answers(lambda request: PAGE | {"key": request.split(b"key=")[1].split(b" ")[0].decode()})
    with CannedServer(path, by_key) as server:
        subprocess.run([sys.executable, "-c", FORKING, path], env=os.environ | source_path(), check=True, timeout=20)

    assert server.connections == 2
