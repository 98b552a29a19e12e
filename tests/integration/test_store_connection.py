"""The shared connection: order of answers, loss and return of the server, logging in, subscriptions."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from memory_core.errors import StoreError, StoreUnavailable
from memory_core.store import Store, StoreSettings
from support.certificates import self_signed
from support.network import free_ports
from support.store import StoreServer
from support.waiting import eventually

MakeStore = Callable[..., StoreServer]

TIMEOUT_SECONDS = 0.4


@asynccontextmanager
async def connected(server: StoreServer, **settings: Any) -> AsyncGenerator[Store]:
    """Connect, and wait until it is there."""
    chosen = {"command_timeout_seconds": TIMEOUT_SECONDS} | settings
    async with Store(StoreSettings(url=server.url, **chosen)) as store:
        await store.wait_connected(5)
        yield store


async def reconnected(store: Store, connects: int) -> None:
    """Wait until the connection was made that many times."""

    async def is_back() -> bool:
        return store.connected and store.connects == connects

    await eventually(is_back, "the connection is made anew")


async def told(store: Store, reason: str) -> None:
    """Wait until the reason is known why there is no connection: who waits for one is told it, with the address."""

    async def is_known() -> bool:
        return reason in store.failure

    await eventually(is_known, f"{reason!r} is the reason")
    with pytest.raises(StoreUnavailable, match=re.escape(f"the store at {store.address} is not reachable: ")) as error:
        await store.wait_connected(0.01)
    assert reason in error.value.detail


async def answers(store: Store) -> bool:
    """Tell whether a command is answered."""
    return bool(await store.call(b"PING") == b"PONG")


async def test_answers_belong_to_their_callers(store_server: StoreServer) -> None:
    """Thousands of commands under way, errors among them: each caller gets the answer to its own."""
    async with connected(store_server) as store:
        futures = [
            store.call(b"ECHO", f"text {number}") if number % 7 else store.call(b"INCR", b"not", b"so")
            for number in range(5000)
        ]

        replies = await asyncio.gather(*futures, return_exceptions=True)

    for number, reply in enumerate(replies):
        assert isinstance(reply, StoreError) if number % 7 == 0 else reply == f"text {number}".encode()


async def test_a_caller_that_gives_up_shifts_no_answer(store_server: StoreServer) -> None:
    """The answer to a cancelled call is dropped, and those behind it stay in their places."""
    async with connected(store_server) as store:
        futures = [store.call(b"ECHO", f"text {number}") for number in range(100)]
        for future in futures[::3]:
            future.cancel()

        replies = await asyncio.gather(*futures, return_exceptions=True)

    for number, reply in enumerate(replies):
        assert isinstance(reply, asyncio.CancelledError) if number % 3 == 0 else reply == f"text {number}".encode()


async def test_a_refused_subscription_shifts_no_answer(
    make_store: MakeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The store's refusal is an answer like any other: it is logged, and the answers behind it stay in their places."""
    server = make_store(users=["user app on >secret ~* &allowed:* +@all"])
    (tmp_path / "password").write_text("secret")
    heard: list[bytes] = []
    async with connected(server, username="app", password_file=tmp_path / "password") as store:
        store.subscribe(b"forbidden", heard.append)
        first = store.call(b"ECHO", b"first")
        store.subscribe(b"allowed:1", heard.append)
        second = store.call(b"ECHO", b"second")
        store.unsubscribe(b"forbidden")
        third = store.call(b"ECHO", b"third")

        assert await asyncio.gather(first, second, third) == [b"first", b"second", b"third"]
        await store.call(b"PUBLISH", b"allowed:1", b"news")
        assert await store.call(b"ECHO", b"fourth") == b"fourth"

    assert heard == [b"news"]
    (refusal,) = (context(record)["detail"] for record in caplog.records if "subscription" in record.message)
    assert "NOPERM" in str(refusal)


async def test_subscriptions_come_back_when_a_busy_store_refused_them(make_store: MakeStore) -> None:
    """A store that runs a long script lets clients in and refuses SUBSCRIBE; that is no reason to stay deaf."""
    server = make_store(settings={"busy-reply-threshold": "1500"})
    heard: list[bytes] = []
    async with connected(server) as store:
        store.subscribe(b"news", heard.append)
        with server.client() as script, ThreadPoolExecutor() as thread:
            running = thread.submit(script.eval, "while true do end", 0)
            while store.connects < 3:  # it was given up as not answering, let in, and refused
                with contextlib.suppress(StoreUnavailable, TimeoutError):
                    await asyncio.wait_for(store.call(b"PING"), 0.5)
                await asyncio.sleep(0.05)
            with server.client() as rescuer:
                rescuer.script_kill()
            assert running.exception() is not None

        async def is_heard() -> bool:
            return bool(store.connected and await store.call(b"PUBLISH", b"news", b"x") and heard)

        await eventually(is_heard, "the channel is heard again", ignore=(StoreUnavailable,))


def context(record: logging.LogRecord) -> dict[str, object]:
    """Return what a log line says beside its event."""
    return dict(record.context)  # type: ignore[attr-defined]  # Log sets it


async def test_it_comes_back_when_the_store_does(make_store: MakeStore) -> None:
    """After a restart of the store calls work again, without help; meanwhile they fail at once and say why."""
    server = make_store()
    async with connected(server) as store:
        server.kill()

        async def gone() -> bool:
            return not store.connected

        await eventually(gone, "the loss is noticed")
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=rf"the store at 127\.0\.0\.1:{server.port} is not reachable: \S+"):
            store.call(b"PING")
        assert time.monotonic() - started < 0.05

        server.start()
        await reconnected(store, connects=2)
        assert await answers(store)


async def test_it_may_be_started_before_the_store(make_store: MakeStore) -> None:
    """Starting needs no server; waiting for one says which is missing, and why."""
    server = make_store()
    server.kill()
    async with Store(StoreSettings(url=server.url)) as store:
        await told(store, "Connect call failed")

        server.start()
        await store.wait_connected(5)
        assert await answers(store)


async def test_what_is_pending_fails_when_the_connection_breaks(make_store: MakeStore) -> None:
    """Whether those commands were applied is unknown; their callers are told at once."""
    server = make_store()
    async with connected(server, command_timeout_seconds=30.0) as store:
        os.kill(server.program.pid, signal.SIGSTOP)
        pending = [store.call(b"ECHO", f"text {number}") for number in range(100)]
        await asyncio.sleep(0.05)
        server.kill()

        replies = await asyncio.wait_for(asyncio.gather(*pending, return_exceptions=True), 2)

    assert all(isinstance(reply, StoreUnavailable) and "repeat the request" in reply.detail for reply in replies)


async def test_a_store_that_stalls_is_given_up(make_store: MakeStore) -> None:
    """Without an answer for the timeout the connection is dropped within twice that time, and made anew later."""
    server = make_store()
    async with connected(server) as store:
        os.kill(server.program.pid, signal.SIGSTOP)
        started = time.monotonic()
        try:
            with pytest.raises(StoreUnavailable):
                await store.call(b"PING")
            took = time.monotonic() - started
            with pytest.raises(StoreUnavailable, match="is not reachable: "):
                await store.wait_connected(0.2)
        finally:
            os.kill(server.program.pid, signal.SIGCONT)

        assert TIMEOUT_SECONDS <= took <= 2 * TIMEOUT_SECONDS + 0.3
        await reconnected(store, connects=2)
        assert await answers(store)


async def test_a_slow_but_living_store_is_not_given_up(make_store: MakeStore) -> None:
    """As long as answers keep coming, it does not matter that something has been pending all the time."""
    async with connected(make_store(settings={"enable-debug-command": "yes"})) as store:

        async def caller() -> list[Any]:
            return [await store.call(b"DEBUG", b"SLEEP", b"0.06") for _ in range(10)]

        assert await asyncio.gather(caller(), caller()) == [[b"OK"] * 10] * 2
        assert store.connects == 1


async def test_subscriptions_are_renewed(make_store: MakeStore) -> None:
    """After a reconnect the channels are heard again before anyone is told that the connection is back."""
    server = make_store()
    heard: list[bytes] = []
    told: list[int] = []
    async with connected(server) as store:
        store.subscribe(b"news", heard.append)
        store.on_connect(lambda: told.append(store.connects))
        await store.call(b"PUBLISH", b"news", b"before")
        server.kill()
        server.start()
        await reconnected(store, connects=2)
        await store.call(b"PUBLISH", b"news", b"after")
        await answers(store)

        assert told == [2]
        assert heard == [b"before", b"after"]


async def test_an_unsubscribed_channel_is_not_heard(valkey: StoreServer) -> None:
    """Neither at once nor after a reconnect."""
    heard: list[bytes] = []
    async with connected(valkey) as store:
        store.subscribe(b"news", heard.append)
        store.unsubscribe(b"news")
        store.unsubscribe(b"news")
        assert await store.call(b"PUBLISH", b"news", b"late") == 0
        with valkey.client() as administrator:
            administrator.client_kill_filter(_type="normal", skipme=True)
            administrator.client_kill_filter(_type="pubsub", skipme=True)
        await reconnected(store, connects=2)
        assert await store.call(b"PUBLISH", b"news", b"later") == 0

    assert heard == []


async def test_a_rotated_password_is_used_at_the_next_connect(make_store: MakeStore, tmp_path: Path) -> None:
    """The file is read at each connect: a new password needs no restart."""
    server = make_store(password="first")
    file = tmp_path / "password"
    file.write_text("first\n")
    async with connected(server, password_file=file) as store:
        with server.client() as administrator:
            administrator.config_set("requirepass", "second")
            server.password = "second"
            file.write_text("second\n")
            administrator.client_kill_filter(_type="normal", skipme=True)

        await reconnected(store, connects=2)
        assert await answers(store)


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("wrong", "does not accept the user name or the password"),
        (None, "asks for a password: name its file"),
    ],
)
async def test_a_refused_login_is_told(
    make_store: MakeStore, tmp_path: Path, password: str | None, sentence: str
) -> None:
    """Who waits for the connection learns that it is the password."""
    server = make_store(password="right")
    file = tmp_path / "password"
    file.write_text(password or "")
    async with Store(StoreSettings(url=server.url, password_file=file if password else None)) as store:
        await told(store, sentence)


async def test_a_missing_password_file_is_told_and_may_appear(make_store: MakeStore, tmp_path: Path) -> None:
    """A Secret that is mounted late is no reason to die."""
    server = make_store(password="right")
    async with Store(StoreSettings(url=server.url, password_file=tmp_path / "password")) as store:
        await told(store, "password file cannot be read")

        (tmp_path / "password").write_text("right")
        await store.wait_connected(5)


async def test_a_unix_socket(make_store: MakeStore) -> None:
    """The store may be reached without TCP."""
    async with connected(make_store(unix_socket=True)) as store:
        assert await answers(store)


async def test_a_database_of_the_url_is_selected_at_each_connect(make_store: MakeStore) -> None:
    """Numbered databases stay apart, after a reconnect as well."""
    server = make_store()
    async with Store(StoreSettings(url=server.url.removesuffix("/0") + "/3")) as store:
        await store.wait_connected(5)
        with server.client() as administrator:
            administrator.client_kill_filter(_type="normal", skipme=True)
        await reconnected(store, connects=2)
        await store.call(b"SET", b"key", b"value")

    with server.client() as administrator:
        assert administrator.info("keyspace").keys() == {"db3"}


@asynccontextmanager
async def tls_in_front(server: StoreServer, folder: Path) -> AsyncGenerator[int]:
    """Listen with TLS on a port, and pass everything on to the store."""
    files = self_signed(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)

    served: list[asyncio.Task[None] | None] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.transport.abort()  # closing would wait for the peer's farewell

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        back, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(forward(reader, forth), forward(back, writer))

    (port,) = free_ports(1)
    proxy = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield port
    finally:
        proxy.close()
        await asyncio.gather(*filter(None, served))
        await asyncio.sleep(0.2)  # the loop closes connections whose handshake failed, and nothing tells when


async def test_tls_is_verified(valkey: StoreServer, tmp_path: Path) -> None:
    """With the right authority the connection works; without it, it is refused and the reason told."""
    async with tls_in_front(valkey, tmp_path) as port:
        url = f"rediss://localhost:{port}/0"
        async with Store(StoreSettings(url=url, ca_file=tmp_path / "tls.crt")) as store:
            await store.wait_connected(5)
            assert await answers(store)
        async with Store(StoreSettings(url=url)) as store:
            await told(store, "CERTIFICATE_VERIFY_FAILED")


async def test_something_else_than_a_store_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """A server that does not speak the protocol is unavailable, and asked again later."""

    greeted: list[asyncio.Task[None] | None] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(asyncio.current_task())
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
            writer.close()
            await writer.wait_closed()

    (port,) = free_ports(1)
    async with (
        await asyncio.start_server(greet, "127.0.0.1", port),
        Store(StoreSettings(url=f"redis://127.0.0.1:{port}")) as store,
    ):
        await told(store, "the connection to the store broke")
    await asyncio.gather(*filter(None, greeted))

    assert {record.name for record in caplog.records} == {"memory_core.store.connection"}  # nothing unexpected happened


async def test_too_many_pending_commands_are_refused(make_store: MakeStore) -> None:
    """Memory stays bounded when the store is slow."""
    server = make_store()
    async with connected(server, max_pending=10) as store:
        pending = [store.call(b"PING") for _ in range(10)]

        with pytest.raises(StoreUnavailable, match="too many requests wait"):
            store.call(b"PING")

        await asyncio.gather(*pending)
        assert await answers(store)


async def test_closing_fails_what_is_pending(make_store: MakeStore) -> None:
    """Nobody waits for ever for a connection that was closed."""
    server = make_store()
    async with connected(server, command_timeout_seconds=30.0) as store:
        os.kill(server.program.pid, signal.SIGSTOP)
        pending = store.call(b"PING")

    with pytest.raises(StoreUnavailable):
        await pending
    assert not store.connected
    os.kill(server.program.pid, signal.SIGCONT)


async def test_a_lasting_failure_is_logged_rarely(caplog: pytest.LogCaptureFixture) -> None:
    """The first failure is logged, then as often as their number doubles: a night without a store fills no disk."""
    (port,) = free_ports(1)
    caplog.set_level(logging.WARNING)
    async with Store(StoreSettings(url=f"redis://127.0.0.1:{port}"), jitter=lambda: 0.0) as store:
        with pytest.raises(StoreUnavailable):
            await store.wait_connected(1.0)

    assert [context(record).get("failures") for record in caplog.records] == [1, 2, 4]
