"""Install, upgrade and uninstall the chart for real: Helm against a Kubernetes API server.

The API server is this module's own, because a release owns the custom resource definition of the whole cluster. There
are no controllers behind it, so nothing waits for pods.
"""

import re
import shutil
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from support.chart import CHART, EVERYTHING, MINIMAL, NAMESPACE, RELEASE, HelmRefused, Values, helm, merged, values_file
from support.cluster import Cluster, KubectlError
from support.control_plane import ControlPlane
from support.network import free_ports
from support.processes import Program, python_module
from support.servers import WITHOUT_FINALIZERS
from support.store import StoreServer
from support.waiting import wait_until

ACCOUNT = "memory-memory-operator"
DEPLOYMENT = ("deployment", "memory-memory-operator", "--namespace", NAMESPACE)
CRD = ("crd", "memoryresources.agentmemory.io")
MEMORY = {
    "apiVersion": "agentmemory.io/v1alpha1",
    "kind": "MemoryResource",
    "metadata": {"name": "chat", "namespace": NAMESPACE},
    "spec": {"type": "TokenBased", "limits": {"maxTokens": 8000}},
}
# What the API server accepts without the Prometheus operator's definitions.
FOREIGN_OFF = {"metrics": {"serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}}
EVERYTHING_BUT_FOREIGN = merged(EVERYTHING, FOREIGN_OFF)


@pytest.fixture(scope="module")
def control_plane() -> Generator[ControlPlane]:
    """Return a control plane without the CRDs."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
def bare(control_plane: ControlPlane) -> Generator[Cluster]:
    """Return a cluster without the product; what a test leaves is removed."""
    cluster = control_plane.admin
    cluster.create_namespace(NAMESPACE)
    yield cluster
    if RELEASE in helm("list", "--short", "--namespace", NAMESPACE, environment=cluster.environment):
        helm("uninstall", RELEASE, "--namespace", NAMESPACE, environment=cluster.environment)
    remove_definition(cluster)


def remove_definition(cluster: Cluster) -> None:
    """Remove the kind and every memory of it, whoever holds a finalizer on one; look, rather than trust one watch."""
    if cluster.kubectl("get", "--ignore-not-found", *CRD):
        for memory in cluster.get("memoryresources", "--all-namespaces")["items"]:
            place = (memory["metadata"]["name"], "--namespace", memory["metadata"]["namespace"])
            cluster.kubectl("patch", "memoryresource", *place, "--type=merge", f"--patch={WITHOUT_FINALIZERS}")
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", *CRD)
    gone = partial(cluster.kubectl, "get", "--ignore-not-found", *CRD)
    wait_until(lambda: not gone(), "the definition is gone", timeout_seconds=120)


def run(cluster: Cluster, command: str, values: Values, *options: str, chart: Path = CHART) -> str:
    """Run `helm install` or `helm upgrade` with values."""
    place = ("--namespace", NAMESPACE)
    with values_file(values) as file:
        return helm(command, RELEASE, str(chart), *place, "--values", file, *options, environment=cluster.environment)


def uninstall(cluster: Cluster) -> None:
    """Run `helm uninstall`."""
    helm("uninstall", RELEASE, "--namespace", NAMESPACE, environment=cluster.environment)


def operator_environment(cluster: Cluster) -> dict[str, Any]:
    """Return the plain environment variables of the installed Deployment."""
    (container,) = cluster.get(*DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def without_field(chart: Path, folder: Path, field: str) -> Path:
    """Return a copy of the chart whose CRD does not know one field of the specification yet."""
    copy = folder / "older-chart"
    shutil.copytree(chart, copy)
    (file,) = (copy / "files" / "crds").glob("*.yaml")
    crd = yaml.safe_load(file.read_text())
    del crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][field]
    file.write_text(yaml.safe_dump(crd, sort_keys=False))
    return copy


def schema_of_spec(cluster: Cluster) -> dict[str, Any]:
    """Return the installed schema of a memory's specification."""
    schema = cluster.get(*CRD)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return dict(schema["properties"]["spec"]["properties"])


def test_a_memory_can_be_declared_right_after_the_install(bare: Cluster) -> None:
    """The definition is there and works when helm returns."""
    run(bare, "install", MINIMAL)

    bare.kubectl("wait", "--for=condition=Established", *CRD, "--timeout=10s")
    bare.apply(MEMORY)
    assert bare.get("mem", "chat", "--namespace", NAMESPACE)["spec"]["limits"]["maxTokens"] == 8000


def test_the_notes_say_what_to_do_next(bare: Cluster) -> None:
    """They name the release's own Deployment and the store; the memory that they declare is accepted as it stands."""
    notes = run(bare, "install", MINIMAL).partition("NOTES:")[2]
    declared = notes.partition("<<'MEMORY'\n")[2].partition("   MEMORY")[0]

    assert f"kubectl --namespace {NAMESPACE} rollout status deployment/{DEPLOYMENT[1]}" in notes
    assert str(MINIMAL["store"]["url"]) in notes
    bare.kubectl("wait", "--for=condition=Established", *CRD, "--timeout=10s")
    bare.apply(dedent(declared))


def test_the_api_server_admits_everything_that_the_chart_can_render(bare: Cluster) -> None:
    """What the strict schemas let through also passes the server's own validation."""
    run(bare, "install", EVERYTHING_BUT_FOREIGN)

    kinds = "deployment,service,serviceaccount,poddisruptionbudget,networkpolicy,configmap,role,rolebinding"
    found = bare.get(kinds, "--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}")["items"]
    assert {item["kind"].lower() for item in found} == set(kinds.split(","))


def test_pods_pass_the_restricted_level(bare: Cluster) -> None:
    """A pod made of the Deployment's template is admitted in a namespace that enforces Pod Security "restricted"."""
    run(bare, "install", EVERYTHING_BUT_FOREIGN)
    bare.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    template = bare.get(*DEPLOYMENT)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator-0", "namespace": NAMESPACE}}
    loose = {"spec": merged(template["spec"], {"securityContext": {"runAsNonRoot": False}, "hostNetwork": True})}

    bare.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod | {"spec": template["spec"]}))
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        bare.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod | loose))


def test_an_upgrade_changes_what_was_asked_and_keeps_the_rest(bare: Cluster) -> None:
    """Changed values arrive in the Deployment; memories and the selector stay; nothing conflicts, however often."""
    run(bare, "install", MINIMAL)
    bare.apply(MEMORY)
    selector = bare.get(*DEPLOYMENT)["spec"]["selector"]

    run(bare, "upgrade", MINIMAL)
    run(bare, "upgrade", merged(EVERYTHING_BUT_FOREIGN, {"logLevel": "debug", "replicas": 3}))

    upgraded = bare.get(*DEPLOYMENT)["spec"]
    assert (upgraded["selector"], upgraded["replicas"]) == (selector, 3)
    assert operator_environment(bare)["AGENT_MEMORY_LOG_LEVEL"] == "debug"
    assert bare.get("mem", "chat", "--namespace", NAMESPACE)["metadata"]["generation"] == 1


def test_an_upgrade_brings_new_fields_of_the_definition(bare: Cluster, tmp_path: Path) -> None:
    """Helm never upgrades a chart's crds folder: this one is a template, so new fields arrive with the release."""
    run(bare, "install", MINIMAL, chart=without_field(CHART, tmp_path, "persistence"))
    assert "persistence" not in schema_of_spec(bare)

    run(bare, "upgrade", MINIMAL)

    assert "persistence" in schema_of_spec(bare)


def test_an_upgrade_can_be_rolled_back(bare: Cluster) -> None:
    """The release before is one command away."""
    run(bare, "install", MINIMAL)
    run(bare, "upgrade", merged(MINIMAL, {"logLevel": "debug"}))

    helm("rollback", RELEASE, "1", "--namespace", NAMESPACE, environment=bare.environment)

    assert operator_environment(bare)["AGENT_MEMORY_LOG_LEVEL"] == "info"


def test_memories_survive_an_uninstall_and_the_next_install_finds_them(bare: Cluster) -> None:
    """Removing the operator removes nothing that people declared."""
    run(bare, "install", MINIMAL)
    bare.apply(MEMORY)

    uninstall(bare)

    assert bare.get("mem", "chat", "--namespace", NAMESPACE)["spec"]["type"] == "TokenBased"
    with pytest.raises(KubectlError, match="NotFound"):
        bare.get(*DEPLOYMENT)
    run(bare, "install", MINIMAL)
    assert bare.get("mem", "chat", "--namespace", NAMESPACE)["metadata"]["generation"] == 1


def test_an_uninstall_removes_every_object_of_the_release_but_the_definition(bare: Cluster) -> None:
    """Nothing of the operator is left behind, in the cluster or in its namespaces."""
    everywhere = (
        "deployment,service,serviceaccount,poddisruptionbudget,role,rolebinding,clusterrole,clusterrolebinding,crd"
    )
    run(bare, "install", MINIMAL)

    uninstall(bare)

    left = bare.get(everywhere, "--all-namespaces", "--selector", f"app.kubernetes.io/instance={RELEASE}")["items"]
    assert [item["metadata"]["name"] for item in left] == [CRD[1]]


def test_a_release_of_another_name_can_take_the_definition_over(bare: Cluster) -> None:
    """Helm refuses by itself to take what an earlier release left, and says whose it was."""
    other = ("install", "other", str(CHART), "--namespace", NAMESPACE, "--set", "store.url=redis://valkey")
    run(bare, "install", MINIMAL)
    uninstall(bare)

    with pytest.raises(HelmRefused, match=re.escape(CRD[1])):
        helm(*other, environment=bare.environment)
    helm(*other, "--take-ownership", environment=bare.environment)

    assert bare.get(*CRD)["metadata"]["annotations"]["meta.helm.sh/release-name"] == "other"
    helm("uninstall", "other", "--namespace", NAMESPACE, environment=bare.environment)


def test_without_keep_the_definition_goes_with_the_release(bare: Cluster) -> None:
    """For whoever really wants everything removed."""
    run(bare, "install", merged(MINIMAL, {"crds": {"keep": False}}))

    uninstall(bare)

    bare.kubectl("wait", "--for=delete", *CRD, "--timeout=10s")


def test_a_namespaced_operator_may_work_where_it_was_told_and_nowhere_else(bare: Cluster, tmp_path: Path) -> None:
    """The API server itself answers what the installed service account may do."""
    for team in ("team-a", "team-b", "team-c"):
        bare.create_namespace(team)
    run(bare, "install", merged(MINIMAL, {"watchNamespaces": ["team-a", "team-b"]}))
    account = bare.as_service_account(NAMESPACE, ACCOUNT, kubeconfig=tmp_path / "kubeconfig")

    account.kubectl("get", "mem", "--namespace", "team-a")
    account.kubectl("get", "mem", "--namespace", "team-b")
    for arguments in (("get", "mem", "--namespace", "team-c"), ("get", "secrets", "--namespace", "team-a")):
        with pytest.raises(KubectlError, match="Forbidden"):
            account.kubectl(*arguments)


def test_the_operator_may_read_no_secret_and_no_pod(bare: Cluster, tmp_path: Path) -> None:
    """Cluster-wide rights end at the memories."""
    run(bare, "install", MINIMAL)
    account = bare.as_service_account(NAMESPACE, ACCOUNT, kubeconfig=tmp_path / "kubeconfig")

    account.kubectl("get", "mem", "--all-namespaces")
    for kind in ("secrets", "pods", "configmaps", "namespaces", "leases"):
        with pytest.raises(KubectlError, match="Forbidden"):
            account.kubectl("get", kind, "--all-namespaces")


@pytest.mark.parametrize("watched", [[], [NAMESPACE]], ids=["cluster-wide", "namespaced"])
def test_the_operator_works_with_what_the_chart_gives_it(
    bare: Cluster, valkey: StoreServer, run_program: Callable[..., Program], tmp_path: Path, watched: list[str]
) -> None:
    """With the Deployment's environment and its account's rights, and no more, a memory becomes ready and goes."""
    port = free_ports(1)[0]
    values = {"store": {"url": valkey.url}, "watchNamespaces": watched, "metrics": {"port": port}}
    run(bare, "install", values)
    account = bare.as_service_account(NAMESPACE, ACCOUNT, kubeconfig=tmp_path / "kubeconfig")
    downward = {"POD_NAME": "operator-0", "POD_NAMESPACE": NAMESPACE, "KUBECONFIG": str(account.kubeconfig)}
    environment = {name: value or "" for name, value in operator_environment(bare).items()} | downward

    operator = run_program("operator", python_module("memory_operator"), environment=environment)
    for path in ("healthz", "readyz", "metrics"):
        probe = partial(urlopen, f"http://127.0.0.1:{port}/{path}", timeout=5)
        operator.wait_until(probe, f"/{path} answers", ignore=(OSError,)).close()
    bare.apply(MEMORY)
    bare.kubectl("wait", "--for=condition=Ready", "mem/chat", "--namespace", NAMESPACE, "--timeout=20s")
    bare.kubectl("delete", "mem", "chat", "--namespace", NAMESPACE, "--timeout=20s")

    assert operator.stop() == 0
    assert "orbidden" not in operator.log
