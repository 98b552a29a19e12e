"""The chart's values: described, checked, documented, and without one that does nothing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from support.chart import CHART, EVERYTHING, MINIMAL, HelmRefused, merged, template

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

# Another value for each kind of leaf that cannot be turned over by rule.
OTHER: Mapping[str, Any] = {
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "registry"}],
    "store.url": "rediss://other:6381/2",
    "watchNamespaces": ["team-a"],
    "logLevel": "debug",
    "store.probeInterval": "11s",
    "resyncInterval": "6m",
    "leaderElection.leaseDuration": "16s",
    "metrics.serviceMonitor.interval": "31s",
    "metrics.serviceMonitor.scrapeTimeout": "9s",
    "resources.requests": {"cpu": "51m"},
    "resources.limits": {"memory": "1Gi"},
    "podSecurityContext": {"runAsUser": 1000},
    "securityContext": {"runAsUser": 1000},
    "podDisruptionBudget.maxUnavailable": "50%",
    "networkPolicy.metricsFrom": [{"namespaceSelector": {}}],
    "networkPolicy.storeTo": [{"podSelector": {}}],
    "networkPolicy.apiServerPorts": [8443],
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [],
}


def leaves(values: Mapping[str, Any], schema: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted name of each value that is set on its own."""
    for name, value in values.items():
        described = schema["properties"][name]
        if "properties" in described:
            yield from leaves(value, described, f"{above}{name}.")
        else:
            yield f"{above}{name}"


LEAVES = tuple(leaves(VALUES, SCHEMA))


def at(values: Any, name: str) -> Any:
    """Return the value of a dotted name."""
    for part in name.split("."):
        values = values[part]
    return values


def setting(name: str, value: Any) -> dict[str, Any]:
    """Return values that set one dotted name."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return dict(value)


def different(value: Any) -> Any:
    """Return another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}other"
        case dict():
            return {"example.org/other": "other"}
        case _:
            raise TypeError(f"write into OTHER what to use instead of {value!r}")


BASE = merged(merged(VALUES, EVERYTHING), setting("serviceAccount.name", "agents"))


@pytest.fixture(scope="module")
def rendered() -> str:
    """Return the text of the chart with everything on."""
    return template(BASE)


@pytest.mark.parametrize("name", LEAVES)
def test_changing_a_value_changes_what_is_rendered(name: str, rendered: str) -> None:
    """A value that does nothing does not exist."""
    other = OTHER[name] if name in OTHER else different(at(BASE, name))

    assert template(merged(BASE, setting(name, other))) != rendered


def test_the_schema_describes_exactly_the_values_that_exist() -> None:
    """Each value has a description and each description a value; `global` is Helm's own."""

    def described(schema: Mapping[str, Any], above: str = "") -> Iterator[str]:
        for name, child in schema["properties"].items():
            assert child["description"].endswith("."), name
            if "properties" in child:
                assert child["additionalProperties"] is False, name
                yield from described(child, f"{above}{name}.")
            else:
                yield f"{above}{name}"

    assert SCHEMA["additionalProperties"] is False
    assert set(described(SCHEMA)) - {"global"} == set(LEAVES)


@pytest.mark.parametrize("name", [*LEAVES, *sorted({leaf.rpartition(".")[0] for leaf in LEAVES if "." in leaf})])
def test_a_misspelt_value_is_refused(name: str) -> None:
    """A value with a typo would otherwise be ignored in silence."""
    with pytest.raises(HelmRefused, match=r"(?i)additional propert"):
        template(merged(MINIMAL, setting(f"{name}x", "value")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replicas", -1),
        ("replicas", "two"),
        ("workers", 0),
        ("metrics.port", 80),
        ("logLevel", "chatty"),
        ("leaderElection.leaseDuration", "15"),
        ("watchNamespaces", ["Team_A"]),
        ("watchNamespaces", ["team-a", "team-a"]),
        ("image.digest", "latest"),
        ("podLabels", {"team": "not a label"}),
        ("podDisruptionBudget.maxUnavailable", "half"),
        ("resources.limits", {"memory": "lots"}),
        ("resources.limits", {"gpu": 1}),
        ("topologySpreadConstraints", [{"maxSkew": 1}]),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: Any) -> None:
    """The sentence names the value, before anything reaches the cluster."""
    with pytest.raises(HelmRefused, match=name.replace(".", "[./]")):
        template(merged(MINIMAL, setting(name, value)))
