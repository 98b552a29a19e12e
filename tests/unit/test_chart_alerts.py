"""The alerts ask only for what exists, and say what to do."""

import re
from typing import Any

import pytest
from memory_operator.verdicts import IN_EFFECT, PAUSED

from support.chart import EVERYTHING, NAMESPACE, only, render
from support.promql import assert_exists, assert_groups_exist, selectors


def alerts() -> dict[str, dict[str, Any]]:
    """Return the rendered rules by name."""
    (group,) = only(render(EVERYTHING), "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


ALERTS = alerts()


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_every_series_of_an_alert_exists(rule: dict[str, Any]) -> None:
    """An alert on a series that does not exist never fires. Each looks at its own release's namespace only."""
    assert_exists(rule["expr"])
    assert_groups_exist(rule["expr"])
    for selector in selectors(rule["expr"]):
        assert ("namespace", NAMESPACE) in {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_every_alert_has_a_severity_a_delay_and_words(rule: dict[str, Any]) -> None:
    """Whoever is woken up reads what it means and where to look."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")


def test_memories_in_effect_or_paused_raise_no_alert() -> None:
    """Both are what somebody asked for."""
    (selector,) = selectors(ALERTS["AgentMemoryNotReady"]["expr"])
    (excluded,) = [matcher.value for matcher in selector.matchers.matchers if matcher.name == "reason"]

    assert excluded == f"{IN_EFFECT}|{PAUSED}"
