"""The example of a pod: a real API server takes it, under the strictest Pod Security level, and its settings exist."""

from collections.abc import Callable
from pathlib import Path

import yaml

from memory_core.bindings import resolve_bindings
from memory_core.settings import describe
from memory_sidecar.settings import Settings
from support.cluster import Cluster

EXAMPLE = Path(__file__).parents[2] / "examples/pod/agent.yaml"
POD_FACTS = {"POD_NAMESPACE", "POD_NAME", "POD_UID", "POD_SERVICE_ACCOUNT"}


def test_the_api_server_takes_it_under_the_restricted_level(
    cluster: Cluster, namespace: str, kubectl: Callable[..., str]
) -> None:
    """A namespace that enforces `restricted` admits the pod as it is written."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")

    assert kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", EXAMPLE) == (
        "pod/helpdesk created (server dry run)\n"
    )


def test_its_settings_and_its_binding_are_understood() -> None:
    """Every variable is one that the sidecar reads; the annotation binds the example's memory."""
    pod = yaml.safe_load(EXAMPLE.read_text())
    (sidecar,) = pod["spec"]["initContainers"]
    (binding,) = resolve_bindings(pod["metadata"]["annotations"], "support")

    assert {each["name"] for each in sidecar["env"]} <= POD_FACTS | {row.variable for row in describe(Settings)}
    assert str(binding.memory) == "support/customer-support"
