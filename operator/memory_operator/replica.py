"""One replica of the operator: each watches, answers probes and stands for election; one leads and reconciles."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from kubernetes.aio.client import Configuration

from memory_core.errors import FencedEpoch
from memory_core.keys import InstallationKeys, MemoryRef
from memory_core.logs import Log
from memory_core.store import Store, StoreSettings
from memory_operator import verdicts
from memory_operator.audit import Audit
from memory_operator.cache import Cache
from memory_operator.cluster import Cluster
from memory_operator.departures import Departures
from memory_operator.election import Election, Terms
from memory_operator.elector import Elector
from memory_operator.erasure import Eraser
from memory_operator.errors import ApiError, LeadershipLost
from memory_operator.memories import Memory
from memory_operator.metrics import Metrics
from memory_operator.reconciler import Reconciler
from memory_operator.record import Record
from memory_operator.recorder import Recorder
from memory_operator.serving import serving
from memory_operator.settings import Settings
from memory_operator.statuses import ready_reason
from memory_operator.storekeeper import StoreKeeper
from memory_operator.watch import STREAMING_SINCE, Watch
from memory_operator.workers import Workers

_log: Final = Log(__name__)

STALL_SECONDS: Final = 120.0  # no reconciliation takes so long: its requests have timeouts of 30 s
_SPREAD_SECONDS: Final = 5.0  # over which memories are told that the store is away
_POLL_SECONDS: Final = 1.0
_FAREWELL_SECONDS: Final = 1.0  # for events that are not sent yet


class WatchEnded(Exception):
    """The watch cannot go on; a new process starts another."""


class Replica:
    """Owns the parts of the process and their order."""

    def __init__(self, settings: Settings, *, configuration: Configuration, cluster: Cluster) -> None:
        self._settings = settings
        self._configuration = configuration
        self._cluster = cluster
        self._cache = Cache()
        self._metrics = Metrics()
        self._audit = Audit(cluster=cluster, namespaces=settings.namespaces, cache=self._cache, vanished=self._depart)
        self._recorder = Recorder(cluster=cluster, identity=settings.identity, metrics=self._metrics)
        self._store = Store(_store_settings(settings))
        self._record = Record(store=self._store, keys=InstallationKeys(settings.lease_namespace, settings.lease_name))
        self._departures = Departures(
            cluster=cluster,
            record=self._record,
            cache=self._cache,
            namespaces=settings.namespaces,
            queue=lambda refs: self._require_workers().hurry(refs),
        )
        self._workers: Workers | None = None  # while leading
        self._watch_ended = asyncio.Event()
        self._elector = Elector(
            cluster=cluster,
            election=Election(
                identity=settings.identity,
                terms=Terms(duration=settings.lease_duration_seconds, renew_deadline=settings.renew_deadline_seconds),
            ),
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            renew_seconds=settings.renew_interval_seconds,
        )

    async def run(self) -> None:
        """Run until cancelled, or until it must not go on.

        Raises an ExceptionGroup of LeadershipLost, FencedEpoch or WatchEnded; a new process starts over.
        """
        probes = serving(
            self._settings.metrics_address,
            metrics=self._metrics,
            refresh=self._refresh_metrics,
            live={"watch": lambda: self._audit.problem, "queue": self._queue_stall, "election": self._election_stall},
            ready={"synced": lambda: "" if self._audit.synced.is_set() else "memories are not listed yet"},
        )
        async with probes, self._store:
            watch = await self._start_watch()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._audit.run(self._settings.resync_seconds))
                    group.create_task(self._fail_when_watch_ends())
                    group.create_task(self._stand_for_election())
            finally:
                await watch.stop()

    async def _start_watch(self) -> Watch:
        """Watch, as soon as the kind is installed."""
        streaming = await self._wait_for_kind() >= STREAMING_SINCE
        watch = Watch(
            configuration=self._configuration,
            namespaces=self._settings.namespaces,
            streaming=streaming,
            deliver=self._deliver,
            ended=self._watch_ended.set,
        )
        watch.start()
        return watch

    async def _wait_for_kind(self) -> int:
        told = False
        while True:
            self._elector.looked_at = time.monotonic()
            try:
                if await self._cluster.serves_memories():
                    return await self._cluster.minor_version()
                if not told:
                    _log.warning("waiting for the custom resource definition of MemoryResource to be installed")
                told = True
            except ApiError as error:
                _log.warning("waiting for the Kubernetes API", detail=error.detail)
            await asyncio.sleep(_POLL_SECONDS)

    async def _fail_when_watch_ends(self) -> None:
        await self._watch_ended.wait()
        raise WatchEnded

    def _deliver(self, memory: Memory, gone: bool, fresh: bool) -> None:
        if gone:
            self._depart(memory)
        elif self._cache.put(memory) and self._workers is not None:
            self._workers.add(memory.ref, urgent=fresh)

    def _depart(self, memory: Memory) -> None:
        self._cache.remove(memory)
        if self._workers is not None:
            self._departures.add(memory)

    async def _stand_for_election(self) -> None:
        epoch = await self._elector.acquire()
        self._metrics.leader.set(1)
        self._metrics.epoch.set(epoch)
        seen_epoch = 0
        try:
            await self._lead(epoch)
        except* FencedEpoch as fenced:
            seen_epoch = max(_epochs(fenced))
            _log.error("fenced: the store has seen a later epoch; stepping down", epoch=epoch, seen_epoch=seen_epoch)
            raise
        finally:
            self._workers = None
            self._metrics.leader.set(0)
            self._metrics.epoch.set(0)
            await self._elector.release(minimum_transitions=seen_epoch)
            await self._recorder.finish(_FAREWELL_SECONDS)

    async def _lead(self, epoch: int) -> None:
        keeper = StoreKeeper(
            store=self._store,
            record=self._record,
            metrics=self._metrics,
            epoch=epoch,
            restored=self._look_at_everything,
            lost=lambda: self._require_workers().spread(self._cache, seconds=_SPREAD_SECONDS),
        )
        reconciler = Reconciler(
            cache=self._cache,
            departures=self._departures,
            cluster=self._cluster,
            keeper=keeper,
            eraser=Eraser(store=self._store, metrics=self._metrics),
            recorder=self._recorder,
            metrics=self._metrics,
            leads=lambda: self._elector.leads,
        )
        workers = self._workers = Workers(reconcile=reconciler.reconcile, metrics=self._metrics)
        workers.hurry(self._cache)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._elector.keep())
            group.create_task(keeper.run())
            group.create_task(keeper.probe(self._settings.store_probe_seconds, self._settled))
            group.create_task(workers.run(self._settings.workers))
            group.create_task(self._recorder.run())
            group.create_task(self._resync(workers))
            group.create_task(self._departures.run(self._settings.resync_seconds, self._audit.synced))

    def _look_at_everything(self) -> None:
        self._require_workers().hurry([*self._cache, *self._departures])
        self._departures.look()

    async def _resync(self, workers: Workers) -> None:
        """Look at every memory again, once an interval, spread over a fifth of it."""
        interval = self._settings.resync_seconds
        while True:
            await asyncio.sleep(interval * (0.9 + 0.2 * random.random()))  # noqa: S311  # spreads load
            workers.spread(self._cache, seconds=interval / 5)

    def _require_workers(self) -> Workers:
        if self._workers is None:
            raise LeadershipLost("this replica does not lead any more")
        return self._workers

    def _settled(self) -> Sequence[MemoryRef]:
        """Return the memories whose configuration should be in the store."""
        memories = (self._cache.get(ref) for ref in self._cache)
        return [memory.ref for memory in memories if memory and ready_reason(memory.status) == verdicts.IN_EFFECT]

    def _queue_stall(self) -> str:
        stall = self._workers.longest_stall() if self._workers is not None else 0.0
        return f"no progress for {stall:.0f} s" if stall > STALL_SECONDS else ""

    def _election_stall(self) -> str:
        age = time.monotonic() - self._elector.looked_at
        return f"not looked at for {age:.0f} s" if age > 60 + self._settings.lease_duration_seconds else ""

    def _refresh_metrics(self) -> None:
        self._metrics.memories.clear()
        if self._workers is not None:
            for reason, count in self._cache.reasons().items():
                self._metrics.memories.labels(reason).set(count)


def _store_settings(settings: Settings) -> StoreSettings:
    return StoreSettings(
        url=settings.store_url,
        username=settings.store_username,
        password_file=settings.store_password_file,
        ca_file=settings.store_ca_file,
    )


def _epochs(group: BaseExceptionGroup[FencedEpoch]) -> list[int]:
    """Return the epochs that the store has seen, as its refusals tell."""
    found: list[int] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _epochs(error)
        else:
            found.append(int(str(error.facts["epoch"])))
    return found
