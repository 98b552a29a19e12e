"""What the chart makes of its values: valid, restricted, and stable across upgrades."""

import re

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from support.chart import (
    CHART,
    EVERYTHING,
    MATRIX,
    MINIMAL,
    RELEASE,
    HelmRefused,
    Values,
    helm,
    identity,
    merged,
    only,
    render,
    template,
    values_file,
)

SELECTOR = {
    "app.kubernetes.io/name": "memory-operator",
    "app.kubernetes.io/instance": RELEASE,
    "app.kubernetes.io/component": "operator",
}
# Kinds that Kubernetes itself does not define; the custom resource definition is checked against a real API server.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "CustomResourceDefinition"}
KUBERNETES = ("1.30.0", "1.32.0", "1.34.0", "1.37.0")


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_chart_passes_strict_lint(values: Values) -> None:
    """Helm's own rules hold, warnings included."""
    with values_file(values) as file:
        assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--values", file)


@pytest.mark.parametrize("kube_version", KUBERNETES)
@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_object_is_valid_in_every_supported_kubernetes(values: Values, kube_version: str) -> None:
    """No object has an unknown field, misses one, or has a wrong type."""
    for manifest in render(values, kube_version=kube_version):
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, kube_version.removesuffix(".0"), strict=True)


def test_a_kubernetes_that_is_too_old_is_refused() -> None:
    """Helm says which version is needed, before anything is installed."""
    with pytest.raises(HelmRefused, match="kubeVersion"):
        template(MINIMAL, kube_version="1.29.0")


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_pods_are_admitted_at_the_restricted_level(values: Values) -> None:
    """The pod's and each container's security context satisfy Pod Security "restricted", and resources are bounded."""
    pod = only(render(values), "Deployment")["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all({"emptyDir", "secret"} & volume.keys() for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_selectors_are_frozen(values: Values) -> None:
    """A selector cannot be changed once installed: it holds name, instance and component, whatever the values say."""
    manifests = render(values)

    deployment = only(manifests, "Deployment")["spec"]
    assert deployment["selector"] == {"matchLabels": SELECTOR}
    assert deployment["template"]["metadata"]["labels"].items() >= SELECTOR.items()
    assert only(manifests, "Service")["spec"]["selector"] == SELECTOR
    assert only(manifests, "PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": SELECTOR}
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert [constraint["labelSelector"] for constraint in spread] == [{"matchLabels": SELECTOR}]


def test_a_pod_label_cannot_take_a_selectors_place() -> None:
    """A pod without its selector's labels would be refused, or belong to nobody."""
    values = merged(MINIMAL, {"podLabels": {"app.kubernetes.io/instance": "other", "team": "agents"}})

    labels = only(render(values), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == RELEASE
    assert labels["team"] == "agents"


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_object_says_whose_it_is(values: Values) -> None:
    """Names are unique per kind, and namespaced objects carry theirs: `kubectl apply` of the text works too."""
    manifests = render(values)

    assert len({identity(manifest) for manifest in manifests}) == len(manifests)
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        cluster_wide = manifest["kind"].startswith("Cluster") or manifest["kind"] == "CustomResourceDefinition"
        assert ("namespace" in manifest["metadata"]) is not cluster_wide


def test_a_long_release_name_still_gives_valid_names() -> None:
    """Helm allows 53 characters for a release, Kubernetes 63 for a Service."""
    options = ("--namespace", "n" * 63, "--kube-version", "1.34.0", "--set", "store.url=redis://valkey")
    text = helm("template", "r" * 53, str(CHART), *options)

    for manifest in yaml.safe_load_all(text):
        if manifest and manifest["kind"] == "Service":
            assert len(manifest["metadata"]["name"]) <= 63


def test_the_password_is_only_ever_a_mounted_file() -> None:
    """Environment variables leak into dumps and into `kubectl describe`: they hold the path only."""
    values = merged(MINIMAL, {"store": {"passwordSecretRef": {"name": "store", "key": "operator-password"}}})

    manifests = render(values)
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = [v for v in pod["volumes"] if "secret" in v]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert volume["secret"] == {"secretName": "store", "items": [{"key": "operator-password", "path": "password"}]}
    assert environment["AGENT_MEMORY_STORE_PASSWORD_FILE"] == f"{mount['mountPath']}/password"
    assert "subPath" not in mount
    assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]


@pytest.mark.parametrize(
    "url",
    ["redis://:secret@valkey:6379", "redis://a:secret@valkey", "http://valkey", "valkey:6379", "redis://v?password=x"],
)
def test_a_store_address_with_credentials_or_of_another_kind_is_refused(url: str) -> None:
    """The address is shown in plain text; the sentence names the value."""
    with pytest.raises(HelmRefused, match=re.compile("store[./]url")):
        template({"store": {"url": url}})


def test_a_missing_store_address_says_what_to_write() -> None:
    """Nothing works without a store, so there is no default that would seem to."""
    with pytest.raises(HelmRefused, match=r"--set store\.url=redis://"):
        template({})


def test_the_definition_is_kept_unless_asked_otherwise() -> None:
    """Deleting it would delete every MemoryResource of the cluster."""
    kept = only(render(MINIMAL), "CustomResourceDefinition")["metadata"]
    dropped = only(render(merged(MINIMAL, {"crds": {"keep": False}})), "CustomResourceDefinition")["metadata"]

    assert kept["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "helm.sh/resource-policy" not in dropped.get("annotations", {})
    assert kept["name"] == dropped["name"] == "memoryresources.agentmemory.io"


def test_the_definition_can_be_left_to_somebody_else() -> None:
    """A second release in a cluster must not fight over it."""
    kinds = {manifest["kind"] for manifest in render(merged(MINIMAL, {"crds": {"enabled": False}}))}

    assert "CustomResourceDefinition" not in kinds


def test_the_network_policy_follows_the_store_address() -> None:
    """Egress allows name service, the API server and the store's port, and nothing else."""
    policy = only(render(EVERYTHING), "NetworkPolicy")["spec"]
    usual_port = only(render(merged(EVERYTHING, {"store": {"url": "redis://10.0.0.12/0"}})), "NetworkPolicy")["spec"]

    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [443, 6443], [6380]]
    assert usual_port["egress"][-1]["ports"] == [{"port": 6379, "protocol": "TCP"}]
