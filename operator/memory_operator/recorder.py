"""Kubernetes events about memories: off the critical path, bounded in number and in rate.

An event is a courtesy. When there are too many, or the API does not take one, it is dropped and counted; the status
tells the same for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

from memory_core.logs import Log
from memory_operator.errors import ApiError
from memory_operator.memories import GROUP, KIND, VERSION, Memory
from memory_operator.metrics import Metrics

_log: Final = Log(__name__)

CONTROLLER: Final = f"{GROUP}/memory-operator"
_NOTE_LIMIT: Final = 1024  # the API's own bound


@dataclass(frozen=True, slots=True)
class Note:
    """One event, before it is sent."""

    memory: Memory
    kind: Literal["Normal", "Warning"]
    reason: str
    action: str
    text: str


class Events(Protocol):
    """Takes events; the cluster does."""

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Record an event; raises ApiError."""
        ...


class TokenBucket:
    """Lets `burst` pass at once and `rate` a second after that."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = 0.0

    def wait_seconds(self, now: float) -> float:
        """Take a token and return how long to wait before using it."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self._rate)


class Recorder:
    """Sends events in the background."""

    def __init__(
        self,
        *,
        cluster: Events,
        identity: str,
        metrics: Metrics,
        limit: int = 1000,
        bucket: TokenBucket | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._metrics = metrics
        self._notes: deque[Note] = deque()
        self._limit = limit
        self._bucket = bucket or TokenBucket(rate=10, burst=25)
        self._clock = clock
        self._arrived = asyncio.Event()

    def note(self, note: Note) -> None:
        """Queue an event; drop it when too many wait."""
        if len(self._notes) >= self._limit:
            self._metrics.events_dropped.inc()
            return
        self._notes.append(note)
        self._arrived.set()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._notes:
                await asyncio.sleep(self._bucket.wait_seconds(self._clock()))
                await self._send(self._notes.popleft())

    async def finish(self, timeout_seconds: float) -> None:
        """Send what is left, without regard to the rate; what cannot be sent in time is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._notes:
                    await self._send(self._notes.popleft())

    async def _send(self, note: Note) -> None:
        try:
            await self._cluster.create_event(note.memory.ref.namespace, self._body(note))
        except ApiError as error:
            self._metrics.events_dropped.inc()
            _log.warning("event not sent", memory=note.memory.ref, reason=note.reason, detail=error.detail)

    def _body(self, note: Note) -> dict[str, object]:
        ref = note.memory.ref
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": ref.namespace,
                "name": f"{ref.name[:200]}.{time.time_ns():x}{random.getrandbits(16):04x}",
            },
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": note.kind,
            "reason": note.reason,
            "action": note.action,
            "note": note.text[:_NOTE_LIMIT],
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:128],
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": ref.namespace,
                "name": ref.name,
                "uid": note.memory.uid,
                "resourceVersion": note.memory.resource_version,
            },
        }
