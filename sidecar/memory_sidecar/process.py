"""One sidecar from start to end: what is built from the settings, in which order it starts, and how it stops.

Start-up depends on nothing but the socket's folder: the store and the configuration may come at any time.
"""

from __future__ import annotations

import asyncio
import functools
import resource
import signal
from collections.abc import Mapping
from typing import Final

from memory_core.logs import Log
from memory_core.store import Store, StoreSettings
from memory_sidecar import metrics, openapi, routes
from memory_sidecar.application import Application
from memory_sidecar.configuration import ConfigurationKeeper
from memory_sidecar.http.limits import HttpLimits
from memory_sidecar.http.server import HttpServer
from memory_sidecar.memories import Memories
from memory_sidecar.metrics import Meters
from memory_sidecar.operations import Operations
from memory_sidecar.probes import Probes, ProcessGauges
from memory_sidecar.routing import Route
from memory_sidecar.settings import Settings
from memory_sidecar.sockets import SocketFile, SocketUnusable

_log: Final = Log(__name__)

_SPARE_DESCRIPTORS: Final = 64  # for everything that is not a client
_PORT_LIMITS: Final = HttpLimits(max_body_bytes=0, max_connections=64, max_bytes_in_flight=1 << 20)


class Sidecar:
    """All parts of one process."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._store = Store(_store_settings(settings))
        memories = Memories(environment, settings.podinfo)
        self._keeper = ConfigurationKeeper(self._store, memories, poll_seconds=settings.poll_seconds)
        meters = Meters()
        gauges = ProcessGauges(self._store, memories)
        document = functools.cache(lambda: openapi.document(routes.SOCKET_ROUTES))
        services = {
            Operations: Operations(self._store, memories, self._keeper, meters),
            Probes: Probes(self._store, memories, metrics.Page(meters, gauges), document),
        }

        def serve(table: tuple[Route, ...], limits: HttpLimits) -> HttpServer:
            application = Application(table, services, memories, meters)
            return HttpServer(application, limits, on_refusal=application.count_refusal)

        self._socket_server = gauges.server = serve(routes.SOCKET_ROUTES, _limits(settings))
        self._port_server = serve(routes.PORT_ROUTES, _PORT_LIMITS)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises SocketUnusable when the socket or the port is not to be had.
        """
        stop = _stop_signal()
        socket_file = SocketFile.open(self._settings.socket, self._settings.socket_mode)
        try:
            port = await self._listen_on_port()
            loop = asyncio.get_running_loop()
            server = await loop.create_unix_server(self._socket_server, sock=socket_file.listener, backlog=1024)
            async with self._store, asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keeper.run(), name="configuration-keeper")
                _log.info("serving", socket=self._settings.socket, store=self._store.address)
                await stop.wait()
                _log.info("stopping", connections=len(self._socket_server.connections))
                socket_file.remove()
                server.close()
                await self._drain()
                if port is not None:
                    port.close()
                keeper.cancel()
        finally:
            socket_file.remove()
        _log.info("stopped")

    async def _listen_on_port(self) -> asyncio.Server | None:
        if self._settings.metrics_address is None:
            return None
        host, port = self._settings.metrics_address
        try:
            return await asyncio.get_running_loop().create_server(self._port_server, host, port)
        except OSError as error:
            raise SocketUnusable(f"cannot listen on {host}:{port} for metrics: {error.strerror}") from error

    async def _drain(self) -> None:
        """Answer what is in flight, for as long as the grace lasts."""
        drained = await self._socket_server.drain(self._settings.grace_seconds)
        if not drained:
            _log.warning("requests cut off", connections=len(self._socket_server.connections))
        await self._port_server.drain(0.1)


def run(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run a sidecar in an event loop of its own, that of uvloop where there is one.

    Raises SocketUnusable, and InvalidConfiguration for a store URL that cannot be read.
    """

    async def main() -> None:
        await Sidecar(settings, environment).run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.Loop


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _store_settings(settings: Settings) -> StoreSettings:
    return StoreSettings(
        url=settings.store_url,
        username=settings.store_username,
        password_file=settings.store_password_file,
        ca_file=settings.store_ca_file,
        command_timeout_seconds=settings.store_timeout_seconds,
    )


def _limits(settings: Settings) -> HttpLimits:
    return HttpLimits(
        max_body_bytes=settings.max_body_bytes,
        max_connections=min(settings.max_connections, _raise_descriptor_limit() - _SPARE_DESCRIPTORS),
        max_bytes_in_flight=settings.max_bytes_in_flight,
        request_timeout_seconds=settings.request_timeout_seconds,
    )


def _raise_descriptor_limit() -> int:
    """Allow as many open files as the system lets us, and return how many: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
