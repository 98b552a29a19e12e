"""One connection to the store for many callers: commands of one loop turn leave in one write.

Why not a pool: a pool costs more processor time a command than the command itself, and does not pipeline. Here a
command is a packed request and a future; answers come back in order. A lost connection fails what is pending with
StoreUnavailable (whether those commands were applied is unknown) and is made anew with jittered back-off; while it is
away, calls fail at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self, cast

import hiredis

from memory_core.errors import AgentMemoryError, StoreUnavailable
from memory_core.logs import Log
from memory_core.store.replies import translate
from memory_core.store.settings import StoreAddress, StoreSettings

_log: Final = Log(__name__)

_FIRST_DELAY_SECONDS: Final = 0.05
_LONGEST_DELAY_SECONDS: Final = 2.0
_STEADY_SECONDS: Final = 1.0  # a connection that breaks sooner counts as a failure to connect
_INCOMPLETE: Final = object()  # the parser's word for "more bytes needed"
_CONFIRMATIONS: Final = frozenset({b"subscribe", b"unsubscribe"})  # pushes that are answers, in order, as a refusal is

Argument = bytes | str | int
Command = tuple[str | int | float | bytes | memoryview, ...]  # as hiredis packs it
Push = Callable[[bytes, bytes], None]


class _Pipe(asyncio.Protocol):
    """Packs commands, parses answers, matches them in order. Knows nothing of reconnecting."""

    def __init__(self, push: Push) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.pending: deque[asyncio.Future[Any]] = deque()
        self._push = push
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._buffer: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it

    def call(self, args: Command) -> asyncio.Future[Any]:
        """Send, and return the future answer."""
        answer = self._loop.create_future()
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(hiredis.pack_command(args))  # type: ignore[arg-type]  # its stub means a tuple of one
        self.pending.append(answer)
        return answer

    def _flush(self) -> None:
        buffered, self._buffer = self._buffer, []
        if self._transport is not None:
            self._transport.write(b"".join(buffered))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            self._take_replies()
        except hiredis.ProtocolError as error:
            self.close()
            self.connection_lost(error)

    def _take_replies(self) -> None:
        next_reply = self._reader.gets
        while (reply := next_reply()) is not _INCOMPLETE:
            if type(reply) is hiredis.PushNotification and reply[0] not in _CONFIRMATIONS:
                if reply[0] == b"message":
                    self._push(reply[1], reply[2])
                continue
            answer = self.pending.popleft()
            if answer.done():
                continue  # its caller has given up
            if isinstance(reply, hiredis.ReplyError):
                answer.set_exception(translate(str(reply)))
            else:
                answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for answer in self.pending:
            if not answer.done():
                answer.set_exception(StoreUnavailable("the connection to the store broke; repeat the request"))
        self.pending.clear()
        if not self.lost.done():
            self.lost.set_result(exc)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Store:
    """The shared connection, kept alive in the background. An async context manager."""

    def __init__(self, settings: StoreSettings, *, jitter: Callable[[], float] = random.random) -> None:
        self.settings = settings
        self._address: Final[StoreAddress] = settings.address()
        self._jitter = jitter
        self._pipe: _Pipe | None = None
        self._ready = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._subscriptions: dict[bytes, Callable[[bytes], None]] = {}
        self._on_connect: list[Callable[[], None]] = []
        self.connects = 0  # successful connects since the start
        self.failure = "not connected yet"  # why there is no connection

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._supervisor = asyncio.create_task(self._supervise(), name="store-connection")

    async def close(self) -> None:
        """Stop; what is pending fails."""
        if self._supervisor is None:
            return
        self._supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._supervisor
        self._supervisor = None

    @property
    def connected(self) -> bool:
        """Tell whether calls can be sent now."""
        return self._pipe is not None

    @property
    def address(self) -> str:
        """Return where the store is, without credentials."""
        return str(self._address)

    async def wait_connected(self, timeout_seconds: float) -> None:
        """Wait for the connection.

        Raises StoreUnavailable after the time.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._ready.wait()
        except TimeoutError as error:
            raise StoreUnavailable(f"the store at {self._address} is not reachable: {self.failure}") from error

    def on_connect(self, callback: Callable[[], None]) -> None:
        """Call back after each connect, when subscriptions are renewed."""
        self._on_connect.append(callback)

    def call(self, *args: Argument) -> asyncio.Future[Any]:
        """Send one command and return its future answer.

        Raises StoreUnavailable at once while there is no connection or too much is pending. The future fails with an
        AgentMemoryError for an error reply.
        """
        pipe = self._pipe
        if pipe is None:
            raise StoreUnavailable(f"the store at {self._address} is not reachable: {self.failure}")
        if len(pipe.pending) >= self.settings.max_pending:
            raise StoreUnavailable("too many requests wait for the store; try again in a moment")
        return pipe.call(args)

    def subscribe(self, channel: bytes, callback: Callable[[bytes], None]) -> None:
        """Call back with each message of a channel, across reconnects."""
        self._subscriptions[channel] = callback
        if self._pipe is not None:
            self._subscribe_on(self._pipe, b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Stop listening to a channel."""
        if self._subscriptions.pop(channel, None) is not None and self._pipe is not None:
            self._subscribe_on(self._pipe, b"UNSUBSCRIBE", channel)

    def _subscribe_on(self, pipe: _Pipe, command: bytes, channel: bytes) -> None:
        """Change a subscription. One that is refused for good is logged, and its subscriber lives without; one that the
        store cannot serve just now (it is busy or loading) costs the connection, so that all are renewed.
        """

        def settle(answer: asyncio.Future[Any]) -> None:
            error = answer.exception()
            if isinstance(error, StoreUnavailable):
                pipe.close()
            elif error is not None:
                _log.warning("store refuses a subscription", address=self._address, detail=str(error))

        pipe.call((command, channel)).add_done_callback(settle)

    def _pushed(self, channel: bytes, payload: bytes) -> None:
        callback = self._subscriptions.get(channel)
        if callback is not None:
            callback(payload)

    async def _supervise(self) -> None:
        """Keep one connection, for ever: connect, serve until it breaks, wait, again."""
        failures = 0
        while True:
            try:
                pipe = await self._open()
            except (OSError, AgentMemoryError, TimeoutError) as error:
                failures += 1
                self._note_failure(error, failures)
            else:
                began = time.monotonic()
                await self._serve(pipe)
                failures = 0 if time.monotonic() - began >= _STEADY_SECONDS else failures + 1
            longest = min(_FIRST_DELAY_SECONDS * 2**failures, _LONGEST_DELAY_SECONDS)
            await asyncio.sleep(longest * (0.5 + self._jitter() / 2) if failures else 0)

    def _note_failure(self, error: Exception, failures: int) -> None:
        """Remember why, and log it: the first time, and then as often as the number of failures doubles."""
        self.failure = str(error) or type(error).__name__
        if failures & (failures - 1) == 0:
            _log.warning("store not reachable", address=self._address, failures=failures, detail=self.failure)

    async def _open(self) -> _Pipe:
        """Connect and log in."""
        loop = asyncio.get_running_loop()
        address = self._address

        def pipe() -> _Pipe:
            return _Pipe(self._pushed)

        async with asyncio.timeout(self.settings.command_timeout_seconds):
            if address.path:
                _, connection = await loop.create_unix_connection(pipe, address.path)
            else:
                context = self.settings.tls_context() if address.tls else None
                _, connection = await loop.create_connection(pipe, address.host, address.port, ssl=context)
            try:
                await self._log_in(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    async def _log_in(self, pipe: _Pipe) -> None:
        password = self.settings.password()
        login: Command = ()
        if password is not None:
            login = (b"AUTH", self.settings.username or "default", password)
        await pipe.call((b"HELLO", b"3", *login))
        if self._address.database:
            await pipe.call((b"SELECT", self._address.database))

    async def _serve(self, pipe: _Pipe) -> None:
        """Let callers use the connection until it breaks."""
        self._pipe = pipe
        self.connects += 1
        for channel in self._subscriptions:
            self._subscribe_on(pipe, b"SUBSCRIBE", channel)
        self._ready.set()
        _log.info("store connected", address=self._address)
        for callback in self._on_connect:
            callback()
        try:
            await self._watch(pipe)
        finally:
            self._ready.clear()
            self._pipe = None
            pipe.close()
            pipe.connection_lost(None)

    async def _watch(self, pipe: _Pipe) -> None:
        """Return when the connection is lost, or when its oldest command has waited for too long."""
        interval = self.settings.command_timeout_seconds / 2
        oldest: object = None
        looks = 0
        while not pipe.lost.done():
            await asyncio.wait([pipe.lost], timeout=interval)
            head = pipe.pending[0] if pipe.pending else None
            looks = looks + 1 if head is not None and head is oldest else 0
            oldest = head
            if looks >= 2:
                self.failure = f"no answer for {self.settings.command_timeout_seconds} seconds"
                _log.warning("store does not answer", address=self._address, pending=len(pipe.pending))
                return
        self.failure = str(pipe.lost.result() or "the store closed the connection")
        _log.warning("store connection lost", address=self._address, detail=self.failure)
