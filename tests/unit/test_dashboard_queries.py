"""The dashboard asks only for what exists, in PromQL that parses, and says what it shows."""

import json
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from memory_operator.verdicts import IN_EFFECT

from memory_core.errors import LimitExceeded
from support.promql import KNOWN, OF_THE_TARGET, assert_exists, assert_groups_exist, nodes, selectors

FILE = Path(__file__).parents[2] / "grafana" / "agent-memory.json"
DASHBOARD: Mapping[str, Any] = json.loads(FILE.read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
QUERIES = {
    f"{title} ({target['refId']})": target["expr"] for title, panel in PANELS.items() for target in panel["targets"]
}


@pytest.mark.parametrize("expression", QUERIES.values(), ids=QUERIES)
def test_every_series_of_a_query_exists(expression: str) -> None:
    """Names and labels come from the metric tables of the code."""
    assert_exists(expression)


@pytest.mark.parametrize("expression", QUERIES.values(), ids=QUERIES)
def test_a_query_groups_by_labels_that_its_series_have(expression: str) -> None:
    """Grouping by a label that does not exist gives one nameless series instead of an error."""
    assert_groups_exist(expression)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_legends_use_labels_that_the_query_keeps(panel: Mapping[str, Any]) -> None:
    """A label that was summed away would show as an empty name."""
    for target in panel["targets"]:
        used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for node in nodes(target["expr"]):
            if isinstance(node, promql_parser.AggregateExpr):
                assert used <= set(node.modifier.labels if node.modifier else [])


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_every_panel_has_a_title_a_description_and_a_unit(panel: Mapping[str, Any]) -> None:
    """Whoever looks at a panel at night finds out what it means without reading code."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_titles_are_unique_and_panels_do_not_overlap() -> None:
    """Each panel has its own number, name and place, and every row of the grid is full."""
    cells: list[tuple[int, int]] = []
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells += product(range(x, x + w), range(y, y + h))

    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert len(cells) == 24 * (max(y for _, y in cells) + 1)


def test_variables_select_from_series_that_exist() -> None:
    """The choices above the panels are read from labels that the sidecar's series have."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

    assert list(variables) == ["datasource", "namespace", "memory"]
    for name in ("namespace", "memory"):
        query = re.fullmatch(r"label_values\((\w+)(?:{.*})?, (\w+)\)", variables[name]["query"]["query"])
        assert query
        assert query[2] in KNOWN[query[1]] | OF_THE_TARGET


def test_every_reason_that_a_query_names_exists() -> None:
    """A reason that was renamed would leave a panel empty for ever."""
    matchers = [m for query in QUERIES.values() for s in selectors(query) for m in s.matchers.matchers]

    assert {m.value for m in matchers if m.name == "reason"} <= {IN_EFFECT, LimitExceeded.__name__}
