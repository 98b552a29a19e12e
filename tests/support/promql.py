"""What PromQL expressions of dashboards and alerts refer to, and which series the code really has."""

import re
from collections.abc import Iterator

import promql_parser
from memory_operator.metrics import METRICS as OPERATOR_METRICS
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from memory_sidecar.metrics import METRICS as SIDECAR_METRICS

OF_THE_TARGET = {"namespace", "pod", "instance"}  # Prometheus adds them when it scrapes a pod

Series = dict[str, set[str]]


def samples(name: str, kind: str, labels: set[str]) -> Series:
    """Return the series that a metric is stored as, with their labels."""
    if kind != "histogram":
        return {f"{name}_total" if kind == "counter" and not name.endswith("_total") else name: labels}
    return {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels, f"{name}_sum": labels}


def known_series() -> Series:
    """Return every series of the sidecar and the operator."""
    known: Series = {}
    for row in (*SIDECAR_METRICS, *OPERATOR_METRICS):
        known |= samples(row.name, row.kind, set(row.labels))
    for family in ProcessCollector(registry=CollectorRegistry()).collect():
        known |= samples(family.name, str(family.type), set())
    return known


KNOWN = known_series()


def parsed(expression: str) -> promql_parser.Expr:
    """Parse an expression as Prometheus gets it, with Grafana's variables filled in."""
    return promql_parser.parse(re.sub(r"\$__rate_interval", "5m", expression))


def nodes(expression: str) -> Iterator[promql_parser.Expr]:
    """Yield every part of an expression."""
    found: list[promql_parser.Expr] = []
    promql_parser.walk(parsed(expression), found.append)
    yield from found


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """Yield every selection of series."""
    for node in nodes(expression):
        if isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector
        elif isinstance(node, promql_parser.VectorSelector):
            yield node


def assert_exists(expression: str) -> None:
    """Fail unless every series that an expression selects exists, with the labels that it selects by."""
    found = list(selectors(expression))
    assert found, expression
    for selector in found:
        assert selector.name in KNOWN, selector.name
        assert {matcher.name for matcher in selector.matchers.matchers} <= KNOWN[selector.name] | OF_THE_TARGET


def assert_groups_exist(expression: str) -> None:
    """Fail when an expression groups by a label that its series do not have: that gives one nameless series."""
    for node in nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            for selector in selectors(node.expr.prettify()):
                assert set(node.modifier.labels) <= KNOWN[str(selector.name)] | OF_THE_TARGET
