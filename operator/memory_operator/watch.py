"""Lets kopf watch the memories, and hands what it sees to our loop.

kopf is used for what it does well: listing, watching and reconnecting. Its create and update handlers are
edge-triggered and write annotations, its indices and timers do not scale; none of them is used. It runs in a thread
with a loop of its own, because it takes the signals of the main thread and cancels, at its end, every task of the loop
it runs in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import kopf
from kubernetes.aio.client import Configuration

from memory_core.logs import Log
from memory_operator import access
from memory_operator.memories import GROUP, PLURAL, VERSION, Memory

_log: Final = Log(__name__)

STREAMING_SINCE: Final = 34  # minor version of Kubernetes that streams the initial list by default
_STOP_SECONDS: Final = 1.0


class _NoHistory(kopf.DiffBaseStorage):
    """Spares kopf a copy of every object for differences that nobody asks for."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


Deliver = Callable[[Memory, bool, bool], None]


class Watch:
    """The watch of all memories in some namespaces, or in all.

    `deliver(memory, gone, fresh)` is called in the loop that made this; fresh is false for what was there before the
    watch began. `ended()` is called when the watch cannot go on.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        namespaces: Sequence[str],
        streaming: bool,
        deliver: Deliver,
        ended: Callable[[], None],
    ) -> None:
        self._configuration = configuration
        self._namespaces = namespaces
        self._streaming = streaming
        self._deliver = deliver
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._stop: Callable[[], object] = lambda: None  # while there is no loop to stop
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch, in the background."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop watching; a thread that does not end in time is left to the end of the process."""
        self._stopping = True
        with contextlib.suppress(RuntimeError):  # the loop of a watch that has ended is closed
            self._stop()
        await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:  # noqa: BLE001  # the edge of a thread: what kopf raises ends the process
            _log.error("watch failed", detail=repr(error))  # kopf has logged the traceback
        if not self._stopping:
            self._loop.call_soon_threadsafe(self._ended)

    async def _watch(self) -> None:
        # An event of this loop. For one of threads kopf blocks a thread, and a watch that failed would never end.
        stop = asyncio.Event()
        self._stop = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._log_in)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._on_event)
        logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it warns of running in a thread
        await kopf.operator(
            registry=registry,
            settings=self._settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.scanning.disabled = True  # no rights on namespaces and definitions needed
        settings.posting.enabled = False  # our own recorder sends events
        settings.watching.initial_streaming = self._streaming
        settings.watching.chunk_size = 500  # where the initial list cannot be streamed
        settings.watching.server_timeout = 300  # seconds; a stream is renewed before anything on the way forgets it
        settings.networking.connect_timeout = 5  # seconds
        settings.queueing.idle_timeout = 0.5  # seconds; kopf keeps a task for each object for so long
        settings.persistence.diffbase_storage = _NoHistory()
        settings.process.ultimate_exiting_timeout = None  # it would kill the process; ours ends by itself
        return settings

    async def _log_in(self, **_: Any) -> kopf.ConnectionInfo:
        return await access.for_kopf(self._configuration)

    async def _on_event(self, *, event: Any, **_: Any) -> None:
        memory = Memory.from_body(event["object"])
        kind = event["type"]
        self._loop.call_soon_threadsafe(self._deliver, memory, kind == "DELETED", kind is not None)
