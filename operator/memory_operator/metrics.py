"""Every metric of the operator, in one table. Labels are bounded: no name of a memory is a label."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

PREFIX: Final = "agent_memory_operator_"


class Metrics:
    """The metrics of one process. Seconds and counts, as their names say."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = self._counter("reconciles", "Reconciliations by outcome", "outcome")
        self.reconcile_seconds = Histogram(
            f"{PREFIX}reconcile_seconds",
            "Duration of a reconciliation, its writes included",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.status_patches = self._counter("status_patches", "Status updates written")
        self.config_writes = self._counter("config_writes", "Configurations written to the store because they differed")
        self.config_removals = self._counter("config_removals", "Configurations removed from the store")
        self.erased_instances = self._counter("erased_instances", "Conversations erased with their memory")
        self.library_repairs = self._counter("library_repairs", "Times the function library was loaded into the store")
        self.events_dropped = self._counter("events_dropped", "Kubernetes events not sent, to bound their rate")
        self.queue_depth = self._gauge("queue_depth", "Memories waiting for a worker")
        self.queue_oldest_seconds = self._gauge("queue_oldest_seconds", "Age of the longest waiting memory")
        self.store_connected = self._gauge("store_connected", "1 while the store answers")
        self.leader = self._gauge("leader", "1 while this replica leads")
        self.epoch = self._gauge("epoch", "Term of the leader, 0 while this replica does not lead")
        self.memories = self._gauge("memories", "MemoryResources by the reason of their Ready condition", "reason")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def exposition(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
