"""What the connections of one listening socket share: limits, budget, deadlines and the way to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from memory_core.errors import AgentMemoryError
from memory_sidecar.errors import Overloaded
from memory_sidecar.http.connection import Connection
from memory_sidecar.http.limits import ByteBudget, HttpLimits
from memory_sidecar.http.messages import Application

_SWEEP_SECONDS: Final = 0.5


class HttpServer:
    """Owns the connections of one listening socket.

    Deadlines are swept twice a second, and only while somebody is watched: a timer per request would cost more than
    most requests do.
    """

    def __init__(
        self,
        application: Application,
        limits: HttpLimits,
        *,
        on_refusal: Callable[[AgentMemoryError], None],
    ) -> None:
        self.application = application
        self.limits = limits
        self.budget = ByteBudget(limits.max_bytes_in_flight)
        self.connections: set[Connection] = set()
        self.draining = False
        self._on_refusal = on_refusal
        self._watched: dict[Connection, float] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def join(self, connection: Connection) -> Overloaded | None:
        """Take a new connection, or say why not."""
        if len(self.connections) >= self.limits.max_connections or self.draining:
            error = Overloaded("the sidecar has too many connections or is stopping; try again shortly")
            self.count_refusal(error)
            return error
        self.connections.add(connection)
        return None

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is lost."""
        self.connections.discard(connection)
        self.unwatch(connection)
        if self.draining:
            self.settled()

    def count_refusal(self, error: AgentMemoryError) -> None:
        """Report a request that was refused before it reached the application."""
        self._on_refusal(error)

    def watch(self, connection: Connection, seconds: float, *, renew: bool) -> None:
        """Call `on_deadline` of the connection in `seconds`; without `renew`, an earlier deadline stays."""
        if not renew and connection in self._watched:
            return
        loop = asyncio.get_running_loop()
        self._watched[connection] = loop.time() + seconds
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def unwatch(self, connection: Connection) -> None:
        """Forget the deadline of a connection."""
        self._watched.pop(connection, None)

    async def drain(self, grace_seconds: float) -> bool:
        """Answer what is in flight, close everything, and return whether that took no longer than the grace."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()
        self.settled()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._settled.wait()
        except TimeoutError:
            return False
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
        return True

    def settled(self) -> None:
        """Let `drain` end if no connection is left."""
        if not self.connections:
            self._settled.set()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [each for each, deadline in self._watched.items() if deadline <= now]:
            del self._watched[connection]
            connection.on_deadline()
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._watched else None
