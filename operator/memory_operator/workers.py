"""Runs reconciliations: a fixed number at a time, each memory by one worker, failures with a growing delay."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from memory_core.errors import FencedEpoch
from memory_core.keys import MemoryRef
from memory_core.logs import Log
from memory_operator.backlog import Backlog, Backoff
from memory_operator.errors import ApiConflict, ApiError, LeadershipLost
from memory_operator.metrics import Metrics
from memory_operator.reconciler import Outcome

_log: Final = Log(__name__)

BASE_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 60.0


class Workers:
    """The queue of memories and those who work on it."""

    def __init__(
        self,
        *,
        reconcile: Callable[[MemoryRef], Awaitable[Outcome]],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reconcile = reconcile
        self._metrics = metrics
        self._clock = clock
        self._backlog: Backlog[MemoryRef] = Backlog()
        self._backoff: Backoff[MemoryRef] = Backoff(base=BASE_DELAY_SECONDS, cap=LONGEST_DELAY_SECONDS)
        self._changed = asyncio.Event()
        metrics.queue_depth.set_function(lambda: len(self._backlog))
        metrics.queue_oldest_seconds.set_function(lambda: self._backlog.oldest_wait(clock()))

    def add(self, ref: MemoryRef, *, urgent: bool) -> None:
        """Have a memory looked at: before the others when somebody just changed it."""
        self._backlog.add(ref, now=self._clock(), urgent=urgent)
        self._changed.set()

    def spread(self, refs: Iterable[MemoryRef], *, seconds: float) -> None:
        """Have memories looked at, at random times within `seconds`."""
        now = self._clock()
        for ref in refs:
            self._backlog.add_later(ref, due=now + seconds * random.random())  # noqa: S311  # spreads load
        self._changed.set()

    def hurry(self, refs: Iterable[MemoryRef]) -> None:
        """Have memories looked at now, and those that failed without the delay they had."""
        for ref in refs:
            self._backoff.forget(ref)
            self.add(ref, urgent=False)

    def longest_stall(self) -> float:
        """Return for how many seconds the queue has made no progress somewhere: waiting, or worked on."""
        now = self._clock()
        return max(self._backlog.oldest_wait(now), self._backlog.longest_work(now))

    async def run(self, count: int) -> None:
        """Work for ever with `count` workers.

        Raises FencedEpoch or LeadershipLost as soon as one of them meets it.
        """
        slots = asyncio.Semaphore(count)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                ref = await self._next()
                group.create_task(self._work(ref)).add_done_callback(lambda _: slots.release())

    async def _next(self) -> MemoryRef:
        while True:
            self._changed.clear()
            now = self._clock()
            ref = self._backlog.take(now)
            if ref is not None:
                return ref
            due = self._backlog.next_due()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _work(self, ref: MemoryRef) -> None:
        outcome, started = "error", self._clock()
        try:
            result = await self._reconcile(ref)
            outcome = result.value
            self._follow(ref, result)
        except (FencedEpoch, LeadershipLost):
            outcome = "fenced"
            raise
        except ApiConflict:
            outcome = "conflict"
            self._retry(ref)
        except ApiError as error:
            _log.warning("memory not reconciled", memory=ref, reason=error.reason, detail=error.detail)
            self._retry(ref)
        except Exception as error:  # noqa: BLE001  # the edge: one memory must not stop the others
            _log.error("reconciliation failed unexpectedly", error=error, memory=ref)
            self._retry(ref)
        finally:
            self._backlog.done(ref, now=self._clock())
            self._changed.set()  # it may wait again, at once or after a delay
            self._metrics.reconciles.labels(outcome).inc()
            self._metrics.reconcile_seconds.observe(self._clock() - started)

    def _follow(self, ref: MemoryRef, outcome: Outcome) -> None:
        if outcome is Outcome.RETRY:
            self._retry(ref)
            return
        self._backoff.forget(ref)
        if outcome is Outcome.CONTINUE:
            self._backlog.add(ref, now=self._clock(), urgent=False)

    def _retry(self, ref: MemoryRef) -> None:
        self._backlog.add_later(ref, due=self._clock() + self._backoff.next_delay(ref))
