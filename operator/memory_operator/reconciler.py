"""Brings one memory to its desired state: observe, plan, apply, report. The same for every reason to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from memory_core.compile import compile_config, parse_spec
from memory_core.config import MemoryConfig
from memory_core.errors import InvalidConfiguration, StoreError, StoreUnavailable
from memory_core.keys import MemoryRef
from memory_core.logs import Log
from memory_operator import announcements, verdicts
from memory_operator.cache import Cache
from memory_operator.cluster import Cluster
from memory_operator.departures import Departures
from memory_operator.erasure import Eraser, Slice
from memory_operator.errors import ApiNotFound, LeadershipLost
from memory_operator.memories import Memory
from memory_operator.metrics import Metrics
from memory_operator.plan import (
    AddFinalizer,
    EraseInstances,
    Observation,
    PutConfig,
    ReleaseFinalizer,
    RemoveConfig,
    Report,
    Step,
    plan,
)
from memory_operator.recorder import Recorder
from memory_operator.statuses import status_patch
from memory_operator.storekeeper import StoreKeeper
from memory_operator.verdicts import Verdict

_log: Final = Log(__name__)


class Outcome(Enum):
    """How a reconciliation ended, and with it when to look again."""

    DONE = "done"  # at the next event or resync
    STALLED = "stalled"  # when a person has edited the object
    RETRY = "retry"  # after a back-off
    CONTINUE = "continue"  # at once: the work was cut into slices
    GONE = "gone"


_OUTCOMES: Final = {
    "InEffect": Outcome.DONE,
    "Paused": Outcome.DONE,
    "Stalled": Outcome.STALLED,
    "Progressing": Outcome.RETRY,
}


@dataclass(slots=True)
class _Run:
    """One reconciliation: the object as it is by now, and what was found out about it."""

    memory: Memory
    verdict: Verdict | None = None
    erased: Slice | None = None
    unfinished: bool = False  # the store failed in a way that is worth another try
    again: bool = False  # there is more to do at once
    gone: bool = False


class Reconciler:
    """Reconciles memories by name."""

    def __init__(
        self,
        *,
        cache: Cache,
        departures: Departures,
        cluster: Cluster,
        keeper: StoreKeeper,
        eraser: Eraser,
        recorder: Recorder,
        metrics: Metrics,
        leads: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._departures = departures
        self._cluster = cluster
        self._keeper = keeper
        self._eraser = eraser
        self._recorder = recorder
        self._metrics = metrics
        self._leads = leads

    async def reconcile(self, ref: MemoryRef) -> Outcome:
        """Bring a memory to its desired state, as far as it goes now.

        Raises ApiError when the Kubernetes API failed, FencedEpoch or LeadershipLost when this process must stop.
        """
        memory = self._cache.get(ref)
        if memory is None:
            return await self._withdraw(ref)
        self._departures.take(ref)
        run = _Run(memory)
        try:
            await self._attempt(run)
            await self._report(run)
        except ApiNotFound:
            return Outcome.RETRY  # the watch will say that it is gone; until then it may as well be the API's mistake
        return self._outcome(run)

    async def _withdraw(self, ref: MemoryRef) -> Outcome:
        """Withdraw the configuration of a memory that is gone; its conversations stay."""
        self._eraser.forget(ref)
        if await self._keeper.fault() is not None:
            return Outcome.RETRY
        self._require_lead()
        try:
            removed = await self._keeper.remove(ref)
        except (StoreUnavailable, StoreError) as error:
            await self._keeper.explain(error)
            _log.warning("configuration not withdrawn", memory=ref, reason=error.reason, detail=error.detail)
            return Outcome.RETRY
        memory = self._departures.take(ref)
        if removed:
            _log.info("configuration withdrawn", memory=ref)
        if removed and memory is not None:
            self._recorder.note(announcements.withdrawn(memory))
        return Outcome.GONE

    async def _attempt(self, run: _Run) -> None:
        """Apply the plan; where the store fails, find out why and plan again with that knowledge."""
        seen = await self._observe(run.memory)
        try:
            await self._apply(plan(seen), run)
        except (StoreUnavailable, StoreError) as error:
            fault = await self._keeper.explain(error)
            run.unfinished = fault is None
            if fault is not None:
                seen = Observation(run.memory, config=seen.config, fault=seen.fault, store_error=fault)
                await self._apply(plan(seen), run)

    async def _observe(self, memory: Memory) -> Observation:
        config, fault = (None, None) if memory.deleting else _compiled(memory)
        return Observation(memory, config=config, fault=fault, store_error=await self._keeper.fault())

    async def _apply(self, steps: tuple[Step, ...], run: _Run) -> None:
        for step in steps:
            self._require_lead()
            await self._apply_step(step, run)
            if run.again:
                return

    def _require_lead(self) -> None:
        if not self._leads():
            raise LeadershipLost("this replica does not lead any more")

    async def _apply_step(self, step: Step, run: _Run) -> None:
        match step:
            case AddFinalizer():
                run.memory = self._keep(await self._cluster.add_finalizer(run.memory))
                run.again = True
            case PutConfig(config):
                run.verdict = verdicts.in_effect((await self._keeper.put(config)).revision)
            case RemoveConfig():
                await self._keeper.remove(run.memory.ref)
            case EraseInstances():
                await self._erase(run)
            case ReleaseFinalizer() if not run.memory.deleting:
                run.memory = self._keep(await self._cluster.release_finalizer(run.memory))
            case ReleaseFinalizer(forced=forced):
                await self._release(run, forced=forced)
            case Report(verdict):
                run.verdict = verdict

    async def _erase(self, run: _Run) -> None:
        run.erased = await self._eraser.erase_slice(run.memory)
        if run.erased.finished:
            await self._keeper.remove(run.memory.ref, purge=True)
        else:
            run.again = True
            run.verdict = verdicts.erasing(run.erased.progress)

    async def _release(self, run: _Run, *, forced: bool) -> None:
        await self._cluster.release_finalizer(run.memory)
        self._recorder.note(announcements.released(run.memory, erased=run.erased, forced=forced))
        _log.info("memory deleted", memory=run.memory.ref, forced=forced)
        self._cache.remove(run.memory)
        self._eraser.forget(run.memory.ref)
        run.gone = True

    async def _report(self, run: _Run) -> None:
        """Write the status, if it is news, and announce what has changed in it."""
        if run.verdict is None or run.gone:
            return
        patch = status_patch(run.memory, run.verdict, datetime.now(UTC))
        if not patch:
            return
        before = run.memory
        run.memory = self._keep(await self._cluster.patch_status(before, patch))
        self._metrics.status_patches.inc()
        note = announcements.transition(before, run.verdict)
        if note is not None:
            self._recorder.note(note)
            _log.info("status changed", memory=before.ref, reason=run.verdict.reason, detail=run.verdict.message)

    def _keep(self, memory: Memory) -> Memory:
        self._cache.put(memory)
        return memory

    @staticmethod
    def _outcome(run: _Run) -> Outcome:
        if run.gone:
            return Outcome.GONE
        if run.again:
            return Outcome.CONTINUE
        if run.unfinished:
            return Outcome.RETRY
        return Outcome.DONE if run.verdict is None else _OUTCOMES[run.verdict.phase]


def _compiled(memory: Memory) -> tuple[MemoryConfig | None, str | None]:
    """Return the configuration, or the sentence that says why there is none."""
    try:
        return compile_config(memory.ref.namespace, memory.ref.name, parse_spec(memory.spec)), None
    except InvalidConfiguration as error:
        return None, error.detail
