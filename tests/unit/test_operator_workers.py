"""The workers: what they do with the outcome of a reconciliation, and with failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from memory_operator.errors import ApiConflict, ApiUnavailable
from memory_operator.metrics import Metrics
from memory_operator.reconciler import Outcome
from memory_operator.workers import Workers

from memory_core.errors import FencedEpoch
from memory_core.keys import MemoryRef

A, B = MemoryRef("team", "a"), MemoryRef("team", "b")


class Script:
    """Reconciles by a list of results, and remembers what it was asked for."""

    def __init__(self, *results: Outcome | Exception) -> None:
        self.results = list(results)
        self.asked: list[MemoryRef] = []
        self.during: Callable[[], None] = lambda: None

    async def reconcile(self, ref: MemoryRef) -> Outcome:
        """Answer with the next result; the last one again and again."""
        self.asked.append(ref)
        during, self.during = self.during, lambda: None
        await asyncio.sleep(0)
        during()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result


async def run(workers: Workers, until: Callable[[], bool]) -> None:
    """Run two workers until a condition holds."""
    task = asyncio.create_task(workers.run(2))
    async with asyncio.timeout(5):
        while not until() and not task.done():  # noqa: ASYNC110  # any condition
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # whatever comes too much comes now
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_change_during_a_reconciliation_causes_another() -> None:
    """Without anything else happening afterwards."""
    script = Script(Outcome.DONE)
    workers = Workers(reconcile=script.reconcile, metrics=Metrics())
    workers.add(A, urgent=False)
    script.during = lambda: workers.add(A, urgent=True)

    await run(workers, lambda: len(script.asked) == 2)

    assert script.asked == [A, A]


async def test_work_that_is_cut_into_slices_goes_on_at_once() -> None:
    """And others get their turn."""
    script = Script(Outcome.CONTINUE, Outcome.CONTINUE, Outcome.DONE)
    workers = Workers(reconcile=script.reconcile, metrics=Metrics())
    workers.add(A, urgent=False)

    await run(workers, lambda: len(script.asked) == 3)

    assert script.asked == [A, A, A]


@pytest.mark.parametrize(
    "failure", [Outcome.RETRY, ApiConflict("changed"), ApiUnavailable("later"), RuntimeError("unexpected")]
)
async def test_a_failure_is_tried_again_and_stops_nobody_else(failure: Outcome | Exception) -> None:
    """After a delay that the queue remembers by itself."""
    script = Script(failure, Outcome.DONE)
    workers = Workers(reconcile=script.reconcile, metrics=Metrics())
    workers.add(A, urgent=False)
    workers.add(B, urgent=False)

    await run(workers, lambda: len(script.asked) == 3)

    assert sorted(script.asked, key=str) in ([A, A, B], [A, B, B])


async def test_a_fenced_operator_stops_working() -> None:
    """Nothing may be written any more."""
    script = Script(FencedEpoch("too late", epoch=7))
    workers = Workers(reconcile=script.reconcile, metrics=Metrics())
    workers.add(A, urgent=False)

    with pytest.raises(ExceptionGroup) as stopped:
        await workers.run(2)

    assert stopped.group_contains(FencedEpoch)


async def test_a_stuck_reconciliation_shows() -> None:
    """The health check asks for it."""
    now = 0.0
    never = asyncio.Event()

    async def hang(_: MemoryRef) -> Outcome:
        await never.wait()
        return Outcome.DONE

    workers = Workers(reconcile=hang, metrics=Metrics(), clock=lambda: now)
    workers.add(A, urgent=False)
    task = asyncio.create_task(workers.run(1))
    await asyncio.sleep(0.01)
    now = 200.0

    assert workers.longest_stall() == 200
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
