"""Every metric of the operator, in one table. Labels are bounded: no name of a memory is a label."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from memory_core.metrics import Metric

_M = TypeVar("_M", Counter, Gauge, Histogram)

PREFIX: Final = "agentmemory_operator_"

RECONCILES: Final = Metric(f"{PREFIX}reconciles_total", "counter", "Reconciliations by outcome.", ("outcome",))
RECONCILE_SECONDS: Final = Metric(
    f"{PREFIX}reconcile_seconds", "histogram", "Duration of a reconciliation, its writes included."
)
STATUS_PATCHES: Final = Metric(f"{PREFIX}status_patches_total", "counter", "Status updates written.")
CONFIG_WRITES: Final = Metric(
    f"{PREFIX}config_writes_total", "counter", "Configurations written to the store because they differed."
)
CONFIG_REMOVALS: Final = Metric(f"{PREFIX}config_removals_total", "counter", "Configurations removed from the store.")
ERASED_INSTANCES: Final = Metric(
    f"{PREFIX}erased_instances_total", "counter", "Conversations erased with their memory."
)
LIBRARY_REPAIRS: Final = Metric(
    f"{PREFIX}library_repairs_total", "counter", "Times the function library was loaded into the store."
)
EVENTS_DROPPED: Final = Metric(
    f"{PREFIX}events_dropped_total", "counter", "Kubernetes events not sent, to bound their rate."
)
QUEUE_DEPTH: Final = Metric(f"{PREFIX}queue_depth", "gauge", "Memories waiting for a worker.")
QUEUE_OLDEST_SECONDS: Final = Metric(
    f"{PREFIX}queue_oldest_seconds", "gauge", "Age of the longest waiting memory in the queue."
)
STORE_CONNECTED: Final = Metric(f"{PREFIX}store_connected", "gauge", "1 while the store answers.")
LEADER: Final = Metric(f"{PREFIX}leader", "gauge", "1 while this replica leads.")
EPOCH: Final = Metric(f"{PREFIX}epoch", "gauge", "Term of the leader, 0 while this replica does not lead.")
MEMORIES: Final = Metric(
    f"{PREFIX}memories", "gauge", "MemoryResources by the reason of their Ready condition.", ("reason",)
)

METRICS: Final = (
    RECONCILES, RECONCILE_SECONDS, STATUS_PATCHES, CONFIG_WRITES, CONFIG_REMOVALS, ERASED_INSTANCES, LIBRARY_REPAIRS,
    EVENTS_DROPPED, QUEUE_DEPTH, QUEUE_OLDEST_SECONDS, STORE_CONNECTED, LEADER, EPOCH, MEMORIES,
)  # fmt: skip

# Seconds. A reconciliation is a few round trips; the last bounds are time-outs.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = self._make(RECONCILES, Counter)
        self.reconcile_seconds = self._make(RECONCILE_SECONDS, Histogram, buckets=BUCKETS)
        self.status_patches = self._make(STATUS_PATCHES, Counter)
        self.config_writes = self._make(CONFIG_WRITES, Counter)
        self.config_removals = self._make(CONFIG_REMOVALS, Counter)
        self.erased_instances = self._make(ERASED_INSTANCES, Counter)
        self.library_repairs = self._make(LIBRARY_REPAIRS, Counter)
        self.events_dropped = self._make(EVENTS_DROPPED, Counter)
        self.queue_depth = self._make(QUEUE_DEPTH, Gauge)
        self.queue_oldest_seconds = self._make(QUEUE_OLDEST_SECONDS, Gauge)
        self.store_connected = self._make(STORE_CONNECTED, Gauge)
        self.leader = self._make(LEADER, Gauge)
        self.epoch = self._make(EPOCH, Gauge)
        self.memories = self._make(MEMORIES, Gauge)

    def _make(self, row: Metric, kind: type[_M], **options: Any) -> _M:
        return kind(row.name, row.help, row.labels, registry=self.registry, **options)

    def exposition(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
