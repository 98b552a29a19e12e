"""The process: reads settings, runs one replica until a signal or until it must not go on.

Exit status 0 after SIGTERM or SIGINT; 1 when the replica lost its lead or its watch, so that it is started anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final

from memory_core.errors import AgentMemoryError
from memory_core.logs import Log, configure
from memory_core.settings import load
from memory_operator import access
from memory_operator.cluster import Cluster
from memory_operator.replica import Replica, WatchEnded
from memory_operator.settings import Settings

_log: Final = Log(__name__)


def main() -> None:
    """Run the operator; does not return.

    The process ends without waiting for the watch's thread: kopf may take seconds to wind down, and by then the lease
    is released and another replica leads.
    """
    purpose = "Turns MemoryResource objects into configuration in the store. Durations are written as 90s or 5m."
    settings = load(Settings, sys.argv[1:], os.environ, program="memory-operator", purpose=purpose)
    configure(settings.log_level)
    status = asyncio.run(_run(settings))
    logging.shutdown()
    os._exit(status)


async def _run(settings: Settings) -> int:
    replica = asyncio.create_task(_replica(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, replica.cancel)
    await asyncio.wait([replica])
    if replica.cancelled():
        _log.info("stopped")
        return 0
    for error in _leaves(replica.exception()):
        expected = isinstance(error, AgentMemoryError | WatchEnded)
        _log.error("stopping", error=None if expected else error, reason=type(error).__name__, detail=str(error))
    return 1


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    """Yield what is inside an exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    elif error is not None:
        yield error


async def _replica(settings: Settings) -> None:
    configuration = await access.load(settings.kubeconfig)
    async with Cluster(configuration) as cluster:
        _log.info("starting", identity=settings.identity, namespaces=settings.namespaces or "all")
        await Replica(settings, configuration=configuration, cluster=cluster).run()


if __name__ == "__main__":
    main()
