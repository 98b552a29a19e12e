"""The chart and the operator's own code agree: on settings, on probes and on rights."""

import logging
from collections.abc import Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from memory_operator.rbac import PERMISSIONS
from memory_operator.settings import Settings

from memory_core.settings import describe, load
from support.chart import (
    EVERYTHING,
    MATRIX,
    MINIMAL,
    NAMESPACE,
    NAMESPACED,
    Manifest,
    Values,
    identity,
    merged,
    only,
    render,
)

Right = tuple[str, str, str, bool]  # group, resource, verb, and whether in the operator's namespace only


def container(values: Values) -> dict[str, Any]:
    """Return the operator's container."""
    (found,) = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(values: Values) -> dict[str, str]:
    """Return the container's environment as a pod named `operator-0` sees it."""
    downward = {"metadata.name": "operator-0", "metadata.namespace": NAMESPACE}
    return {
        variable["name"]: variable.get("value") or downward.get(field_of(variable), "")
        for variable in container(values)["env"]
    }


def read(variables: dict[str, str]) -> Settings:
    """Return the operator's settings in that environment."""
    return load(Settings, [], variables, program="memory-operator", purpose="")


def field_of(variable: dict[str, Any]) -> str:
    """Return the pod's field that a variable shows, empty for none."""
    return str(variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", ""))


def test_the_chart_sets_every_setting_of_the_operator_and_no_other() -> None:
    """A setting without a value could not be reached; a variable without a setting would do nothing."""
    known = {setting.variable for setting in describe(Settings)}

    assert environment(MINIMAL).keys() == known - {"KUBECONFIG"}  # a pod uses its service account


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_operator_understands_what_the_chart_writes(values: Values) -> None:
    """Its own parser accepts each rendered environment."""
    read(environment(values))


def test_values_arrive_in_the_operators_settings() -> None:
    """Each value that configures the operator ends in the setting it is named after."""
    changed = {
        "store": {"probeInterval": "7s"},
        "watchNamespaces": ["team-a", "team-b"],
        "resyncInterval": "2m",
        "workers": 3,
        "leaderElection": {"leaseDuration": "20s"},
        "metrics": {"port": 9100},
        "logLevel": "debug",
        "fullnameOverride": "memories",
    }

    settings = read(environment(merged(EVERYTHING, changed)))

    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.store_url, settings.store_username) == ("rediss://valkey.data.svc:6380/1", "operator")
    assert settings.store_password_file == Path("/etc/agentmemory/store/password")
    assert settings.store_ca_file == Path("/etc/agentmemory/store-ca/ca.crt")
    assert (settings.store_probe_seconds, settings.resync_seconds, settings.workers) == (7, 120, 3)
    assert (settings.identity, settings.lease_name, settings.lease_namespace) == ("operator-0", "memories", NAMESPACE)
    assert settings.lease_duration_seconds == 20
    assert (settings.metrics_address, settings.log_level) == (("0.0.0.0", 9100), logging.DEBUG)


def test_defaults_are_the_operators_own() -> None:
    """The chart repeats the defaults for its reader; it does not choose others."""
    own = read({"POD_NAME": "operator-0", "POD_NAMESPACE": NAMESPACE})
    of_the_chart = read(environment(MINIMAL))

    different = {f.name for f in fields(own) if getattr(own, f.name) != getattr(of_the_chart, f.name)}
    assert different == {"store_url", "lease_name"}


def test_probes_go_to_the_port_that_the_operator_listens_on() -> None:
    """The probes name the container port, and the port is the one of the metrics address."""
    rendered = container(merged(MINIMAL, {"metrics": {"port": 9100}}))

    assert rendered["ports"] == [{"name": "metrics", "containerPort": 9100, "protocol": "TCP"}]
    assert {rendered[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"metrics"}
    assert rendered["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert rendered["readinessProbe"]["httpGet"]["path"] == "/readyz"


def rights(manifests: list[Manifest]) -> Iterator[Right]:
    """Yield what the operator's service account may do, once for each role that is bound to it."""
    account = only(manifests, "ServiceAccount")["metadata"]["name"]
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    roles = {identity(manifest): manifest for manifest in manifests}
    for binding in manifests:
        if binding["kind"].endswith("RoleBinding") and subject in binding["subjects"]:
            place = binding["metadata"].get("namespace")
            role = roles[binding["roleRef"]["kind"], place, binding["roleRef"]["name"]]
            for rule in role["rules"]:
                for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                    yield group, resource, verb, place == NAMESPACE


def needed() -> set[Right]:
    """Return what the operator's own table says it asks for."""
    return {(p.group, p.resource, verb, p.own_namespace) for p in PERMISSIONS for verb in p.verbs}


def aggregated_to(role: Manifest) -> set[str]:
    """Return the ordinary roles that a role is added to."""
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    return {label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)}


@pytest.mark.parametrize("values", [MINIMAL, EVERYTHING], ids=["minimal", "everything"])
def test_the_role_equals_what_the_operator_asks_for(values: Values) -> None:
    """Neither a right too many nor one too few, and leases only in its own namespace."""
    assert set(rights(render(values))) == needed()


def test_a_namespaced_operator_gets_the_same_rights_in_each_namespace() -> None:
    """One Role per watched namespace, each with the whole table; the lease stays where the operator is."""
    manifests = render(NAMESPACED)

    assert not [m for m in manifests if m["kind"] == "ClusterRoleBinding"]
    for team in ("team-a", "team-b"):
        of_team = [m for m in manifests if m["metadata"].get("namespace") in {team, NAMESPACE}]
        assert set(rights(of_team)) == needed()


def test_an_operator_may_watch_its_own_namespace() -> None:
    """The lease's role and the memories' role do not share a name there."""
    roles = [m for m in render(merged(MINIMAL, {"watchNamespaces": [NAMESPACE]})) if m["kind"] == "Role"]

    assert len({role["metadata"]["name"] for role in roles}) == 2


def test_the_lease_right_names_the_lease() -> None:
    """Other leases of the namespace stay out of reach; only creation cannot be limited to a name."""
    create, other = only(render(MINIMAL), "Role", "lease")["rules"]

    assert create["verbs"] == ["create"]
    assert other["resourceNames"] == [environment(MINIMAL)["AGENT_MEMORY_LEASE_NAME"]]


def test_people_get_memories_with_their_ordinary_roles() -> None:
    """Whoever may view, edit or administer a namespace may do so with its memories; nobody may write a status."""
    manifests = render(MINIMAL)
    view, edit = only(manifests, "ClusterRole", "-view"), only(manifests, "ClusterRole", "-edit")

    assert aggregated_to(view) == {"view", "edit", "admin"}
    assert aggregated_to(edit) == {"edit", "admin"}
    assert [rule["resources"] for role in (view, edit) for rule in role["rules"]] == [["memoryresources"]] * 2
