"""The TCP server of every replica: /healthz, /readyz and /metrics.

/healthz fails when the process is alive but makes no progress, so that it is restarted; a store or an API server that
is away is no reason for that. /readyz says whether this replica knows the memories of the cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from memory_operator.metrics import Metrics

Check = Callable[[], str]  # returns what is wrong, empty when nothing is


@asynccontextmanager
async def serving(
    address: tuple[str, int] | None,
    *,
    metrics: Metrics,
    refresh: Callable[[], None],
    live: Mapping[str, Check],
    ready: Mapping[str, Check],
) -> AsyncIterator[None]:
    """Serve while the context lasts; without an address, serve nothing.

    `refresh` brings metrics up to date that are computed when they are asked for.
    """
    if address is None:
        yield
        return

    async def expose(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/metrics", expose)
    app.router.add_get("/healthz", _probe(live))
    app.router.add_get("/readyz", _probe(ready))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address, shutdown_timeout=0.5).start()
        yield
    finally:
        await runner.cleanup()


def _probe(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        results = {name: check() for name, check in checks.items()}
        text = "".join(f"{name}: {problem or 'ok'}\n" for name, problem in results.items())
        return web.Response(text=text, status=503 if any(results.values()) else 200)

    return answer
