"""What the sidecar counts: one table of metrics, plain numbers behind it, and the Prometheus page made of both.

Counting happens on the path of every request, so it is integer arithmetic on preallocated places; prometheus_client is
imported when somebody first asks for the page. Labels are bounded: memories that the pod binds, routes, reasons.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from memory_core.metrics import Metric

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PREFIX: Final = "agentmemory_sidecar_"
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

REQUESTS: Final = Metric(
    f"{PREFIX}requests_total",
    "counter",
    "Requests answered, by memory (empty for routes of the process), route and class of status.",
    ("memory", "route", "status"),
)
REQUEST_SECONDS: Final = Metric(
    f"{PREFIX}request_seconds", "histogram", "Time from a complete request to its answer.", ("route",)
)
REFUSALS: Final = Metric(
    f"{PREFIX}refusals_total", "counter", "Requests refused, by the reason that the problem names.", ("reason",)
)
MESSAGES: Final = Metric(f"{PREFIX}appended_messages_total", "counter", "Messages appended.", ("memory",))
TOKENS: Final = Metric(f"{PREFIX}appended_tokens_total", "counter", "Tokens of the messages appended.", ("memory",))
EVICTED: Final = Metric(
    f"{PREFIX}evicted_messages_total", "counter", "Messages evicted to make room for an append.", ("memory",)
)
STORE_SECONDS: Final = Metric(
    f"{PREFIX}store_call_seconds", "histogram", "Time of one call of the store, failed ones included.", ("call",)
)
STORE_CONNECTS: Final = Metric(
    f"{PREFIX}store_connects_total", "counter", "Connections made to the store; above 1 it was lost in between."
)
STORE_CONNECTED: Final = Metric(f"{PREFIX}store_connected", "gauge", "1 while connected to the store, else 0.")
REVISION: Final = Metric(
    f"{PREFIX}config_revision", "gauge", "Revision of the configuration in effect, 0 while there is none.", ("memory",)
)
CONNECTIONS: Final = Metric(f"{PREFIX}connections", "gauge", "Open connections on the Unix socket.")
HELD: Final = Metric(
    f"{PREFIX}held_bytes", "gauge", "Bytes of requests in flight and of answers that clients have not read."
)

METRICS: Final = (
    REQUESTS, REQUEST_SECONDS, REFUSALS, MESSAGES, TOKENS, EVICTED,
    STORE_SECONDS, STORE_CONNECTS, STORE_CONNECTED, REVISION, CONNECTIONS, HELD,
)  # fmt: skip

# Seconds. A request takes about 0.1 ms on an idle machine; the last bounds are time-outs.
BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Histogram:
    """Counts of observations by bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the buckets as Prometheus wants them: upper bound and how many are not above it."""
        rows, seen = [], 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows


class Appended:
    """What was appended to one memory."""

    __slots__ = ("evicted", "messages", "tokens")

    def __init__(self) -> None:
        self.messages = self.tokens = self.evicted = 0


class Meters:
    """The numbers that the process adds up itself."""

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self.request_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.refusals: defaultdict[str, int] = defaultdict(int)
        self.appended: defaultdict[str, Appended] = defaultdict(Appended)
        self.store_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)


class Gauges(Protocol):
    """The numbers that are looked up when the page is made."""

    @property
    def store_connects(self) -> int:
        """Connections made to the store since the start."""

    @property
    def store_connected(self) -> bool:
        """Whether there is one now."""

    @property
    def connections(self) -> int:
        """Open client connections."""

    @property
    def held_bytes(self) -> int:
        """Bytes in hand."""

    def revisions(self) -> Iterable[tuple[str, int]]:
        """Each bound memory and the revision in effect."""


class Page:
    """Makes the Prometheus page."""

    def __init__(self, meters: Meters, gauges: Gauges) -> None:
        self._meters = meters
        self._gauges = gauges
        self._registry: Any = None

    def render(self) -> bytes:
        """Return the page in the text format."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415 - 8 MB, late

        if self._registry is None:
            self._registry = CollectorRegistry()
            self._registry.register(self)
            ProcessCollector(registry=self._registry)
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Family]:
        """Tell the registry nothing in advance: names are checked by a test instead."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Yield all metrics of the table with their current values."""
        meters, gauges = self._meters, self._gauges
        requests = {(memory, route, f"{cls}xx"): n for (memory, route, cls), n in meters.requests.items()}
        appended = meters.appended.items()
        yield _counter(REQUESTS, requests)
        yield _histogram(REQUEST_SECONDS, meters.request_seconds)
        yield _counter(REFUSALS, {(reason,): n for reason, n in meters.refusals.items()})
        yield _counter(MESSAGES, {(memory,): each.messages for memory, each in appended})
        yield _counter(TOKENS, {(memory,): each.tokens for memory, each in appended})
        yield _counter(EVICTED, {(memory,): each.evicted for memory, each in appended})
        yield _histogram(STORE_SECONDS, meters.store_seconds)
        yield _counter(STORE_CONNECTS, {(): gauges.store_connects})
        yield _gauge(STORE_CONNECTED, {(): gauges.store_connected})
        yield _gauge(REVISION, {(memory,): revision for memory, revision in gauges.revisions()})
        yield _gauge(CONNECTIONS, {(): gauges.connections})
        yield _gauge(HELD, {(): gauges.held_bytes})


def _counter(metric: Metric, values: Mapping[Any, int]) -> Family:
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415 - late, see Page.render

    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _gauge(metric: Metric, values: Mapping[Any, int]) -> Family:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - late, see Page.render

    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: dict[str, Histogram]) -> Family:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - late, see Page.render

    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for label, histogram in values.items():
        family.add_metric((label,), histogram.cumulative(), histogram.total)
    return family
