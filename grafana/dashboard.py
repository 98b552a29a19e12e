"""The dashboard's contents: which question each panel answers, and the query that answers it.

`S` and `O` are the prefixes of the sidecar's and the operator's metrics. `namespace`, `pod` and `instance` are labels
that Prometheus adds to every target. A sidecar's series are narrowed to the namespaces and memories that were chosen.
"""

from dataclasses import dataclass
from typing import Literal

from memory_operator.metrics import PREFIX as O

from memory_sidecar.metrics import PREFIX as S

PODS = '{namespace=~"$namespace"}'
MEMORIES = '{namespace=~"$namespace",memory=~"$memory"}'


@dataclass(frozen=True)
class Query:
    """One PromQL expression, and how its series are called."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One question. `width` counts the 24 columns of a dashboard."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, where: str = MEMORIES) -> str:
    """Return the expression of a counter's rate per second, summed by labels."""
    return f"sum by ({by}) (rate({metric}{where}[$__rate_interval]))"


def total(metric: str) -> str:
    """Return the expression of a counter's rate per second over all chosen pods."""
    return f"sum(rate({metric}{PODS}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str, where: str = PODS) -> str:
    """Return the expression of a histogram's quantile, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{where}[$__rate_interval])))"


def stat(title: str, description: str, expression: str, unit: str = "short") -> Panel:
    """Return a small panel that shows one number."""
    return Panel(title, description, unit, (Query(expression, title),), kind="stat", width=4)


OVERVIEW = Row(
    "Overview",
    (
        stat(
            "Memories in effect",
            "MemoryResources whose configuration is in the store.",
            f'sum({O}memories{{reason="InEffect"}})',
        ),
        stat(
            "Memories not ready",
            "MemoryResources that are not in effect. The panel Memories by readiness tells the reasons.",
            f'sum({O}memories{{reason!="InEffect"}}) or vector(0)',
        ),
        stat(
            "Operators that lead",
            "One for each installed operator. Nothing is reconciled while it is 0.",
            f"sum({O}leader)",
        ),
        stat(
            "Requests",
            "Requests that all sidecars answer.",
            total(f"{S}requests_total"),
            "reqps",
        ),
        stat(
            "Refused",
            "Share of requests that were answered with a problem.",
            f"{total(f'{S}refusals_total')} / {total(f'{S}requests_total')}",
            "percentunit",
        ),
        stat(
            "Sidecars without store",
            "Sidecars that are not connected to the store: they answer 503.",
            f"count({S}store_connected{PODS} == 0) or vector(0)",
        ),
    ),
)

REQUESTS = Row(
    "Sidecar requests",
    (
        Panel(
            "Requests by route",
            "Requests answered per second, by route of the API.",
            "reqps",
            (Query(rate(f"{S}requests_total", "route"), "{{route}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by status",
            "Requests answered per second, by class of status. 4xx are the caller's, 5xx are ours or the store's.",
            "reqps",
            (Query(rate(f"{S}requests_total", "status"), "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by memory",
            "Requests answered per second, by memory.",
            "reqps",
            (Query(rate(f"{S}requests_total", "namespace, memory"), "{{namespace}}: {{memory}}"),),
            stacked=True,
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        Panel(
            "Request time",
            "Quantiles over all requests, from a complete request to its answer.",
            "s",
            tuple(
                Query(quantile(share, f"{S}request_seconds", ""), name)
                for share, name in ((0.5, "median"), (0.95, "95%"), (0.99, "99%"))
            ),
        ),
        Panel(
            "99% of request time by route",
            "The time within which 99 of 100 requests of a route are answered.",
            "s",
            (Query(quantile(0.99, f"{S}request_seconds", "route"), "{{route}}"),),
        ),
        Panel(
            "99% of store time by call",
            "The time within which 99 of 100 calls of the store end, failed ones included.",
            "s",
            (Query(quantile(0.99, f"{S}store_call_seconds", "call"), "{{call}}"),),
        ),
    ),
)

CONTENT = Row(
    "Messages, tokens and evictions",
    (
        Panel(
            "Messages appended",
            "Messages appended per second, by memory.",
            "cps",
            (Query(rate(f"{S}appended_messages_total", "namespace, memory"), "{{namespace}}: {{memory}}"),),
        ),
        Panel(
            "Tokens appended",
            "Tokens of the messages appended per second, by memory.",
            "cps",
            (Query(rate(f"{S}appended_tokens_total", "namespace, memory"), "{{namespace}}: {{memory}}"),),
        ),
        Panel(
            "Tokens of a message",
            "Average size of the messages appended, by memory.",
            "short",
            (
                Query(
                    f"{rate(f'{S}appended_tokens_total', 'namespace, memory')}"
                    f" / {rate(f'{S}appended_messages_total', 'namespace, memory')}",
                    "{{namespace}}: {{memory}}",
                ),
            ),
        ),
        Panel(
            "Messages evicted",
            "Messages removed per second to make room for an append, by memory.",
            "cps",
            (Query(rate(f"{S}evicted_messages_total", "namespace, memory"), "{{namespace}}: {{memory}}"),),
            width=12,
        ),
        Panel(
            "Evicted of appended",
            "Messages evicted for each message appended. Near 1 the conversations live at their limit.",
            "percentunit",
            (
                Query(
                    f"{rate(f'{S}evicted_messages_total', 'namespace, memory')}"
                    f" / {rate(f'{S}appended_messages_total', 'namespace, memory')}",
                    "{{namespace}}: {{memory}}",
                ),
            ),
            width=12,
        ),
    ),
)

REFUSALS = Row(
    "Refusals",
    (
        Panel(
            "Refusals by reason",
            "Requests refused per second, by the reason that the problem names.",
            "reqps",
            (Query(rate(f"{S}refusals_total", "reason", PODS), "{{reason}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Refusals at a limit",
            "Requests refused per second because a conversation is full, by pod.",
            "reqps",
            (
                Query(
                    rate(f"{S}refusals_total", "namespace, pod", '{namespace=~"$namespace",reason="LimitExceeded"}'),
                    "{{namespace}}: {{pod}}",
                ),
            ),
            width=12,
        ),
    ),
)

STORE = Row(
    "Store and configuration",
    (
        Panel(
            "Connected to the store",
            "Share of sidecars, and of operators, that are connected to the store.",
            "percentunit",
            (Query(f"avg({S}store_connected{PODS})", "sidecars"), Query(f"avg({O}store_connected)", "operators")),
        ),
        Panel(
            "Connections made",
            "Connections that sidecars made to the store per second. A steady rate means that connections break.",
            "cps",
            (Query(rate(f"{S}store_connects_total", "namespace", PODS), "{{namespace}}"),),
        ),
        Panel(
            "Calls of the store",
            "Calls per second, by call.",
            "ops",
            (Query(rate(f"{S}store_call_seconds_count", "call", PODS), "{{call}}"),),
            stacked=True,
        ),
        Panel(
            "Sidecars behind",
            "Revisions between the newest and the oldest configuration that sidecars of a memory have in effect.",
            "short",
            (
                Query(
                    f"max by (namespace, memory) ({S}config_revision{MEMORIES})"
                    f" - min by (namespace, memory) ({S}config_revision{MEMORIES})",
                    "{{namespace}}: {{memory}}",
                ),
            ),
        ),
        Panel(
            "Connections on the socket",
            "Open connections of agents, by pod.",
            "short",
            (Query(f"sum by (namespace, pod) ({S}connections{PODS})", "{{namespace}}: {{pod}}"),),
        ),
        Panel(
            "Memory of a sidecar",
            "Resident memory by pod, and the bytes of requests in flight and answers not read.",
            "bytes",
            (
                Query(
                    f"process_resident_memory_bytes{PODS} and on (instance) {S}connections{PODS}",
                    "{{namespace}}: {{pod}}",
                ),
                Query(f"sum({S}held_bytes{PODS})", "held by all"),
            ),
        ),
    ),
)

OPERATOR = Row(
    "Operator",
    (
        Panel(
            "Memories by readiness",
            "MemoryResources by the reason of their Ready condition.",
            "short",
            (Query(f"sum by (reason) ({O}memories)", "{{reason}}"),),
            stacked=True,
        ),
        Panel(
            "Reconciliations",
            "Reconciliations per second, by outcome.",
            "ops",
            (Query(rate(f"{O}reconciles_total", "outcome", ""), "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Reconciliation time",
            "Quantiles of the duration of a reconciliation, its writes included.",
            "s",
            tuple(
                Query(quantile(share, f"{O}reconcile_seconds", "", ""), name)
                for share, name in ((0.5, "median"), (0.95, "95%"), (0.99, "99%"))
            ),
        ),
        Panel(
            "Queue",
            "Memories that wait for a worker.",
            "short",
            (Query(f"sum by (pod) ({O}queue_depth)", "{{pod}}"),),
        ),
        Panel(
            "Longest wait",
            "Age of the longest waiting memory in the queue.",
            "s",
            (Query(f"max by (pod) ({O}queue_oldest_seconds)", "{{pod}}"),),
        ),
        Panel(
            "Leader",
            "1 for the replica that leads; the term grows with each change of leader.",
            "short",
            (
                Query(f"max by (namespace, pod) ({O}leader)", "{{namespace}}: {{pod}}"),
                Query(f"max by (namespace) ({O}epoch)", "{{namespace}}: term"),
            ),
        ),
        Panel(
            "Writes",
            "Writes per second: configurations in the store, status updates, conversations erased with their memory.",
            "ops",
            (
                Query(f"sum(rate({O}config_writes_total[$__rate_interval]))", "configurations written"),
                Query(f"sum(rate({O}config_removals_total[$__rate_interval]))", "configurations removed"),
                Query(f"sum(rate({O}status_patches_total[$__rate_interval]))", "status updates"),
                Query(f"sum(rate({O}erased_instances_total[$__rate_interval]))", "conversations erased"),
            ),
        ),
        Panel(
            "Repairs",
            "How often the function library had to be loaded into the store, and Kubernetes events that were not sent.",
            "short",
            (
                Query(f"sum(increase({O}library_repairs_total[$__rate_interval]))", "library loaded"),
                Query(f"sum(increase({O}events_dropped_total[$__rate_interval]))", "events dropped"),
            ),
        ),
        Panel(
            "Memory of an operator",
            "Resident memory of each replica.",
            "bytes",
            (Query(f"process_resident_memory_bytes and on (instance) {O}leader", "{{namespace}}: {{pod}}"),),
        ),
    ),
)

ROWS = (OVERVIEW, REQUESTS, LATENCY, CONTENT, REFUSALS, STORE, OPERATOR)
