"""Render the Helm chart with a real helm, for the tests of what it says."""

import functools
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.toolchain import HELM, provide

Manifest = dict[str, Any]
Values = Mapping[str, Any]

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "memory-operator"
RELEASE, NAMESPACE = "memory", "agent-system"

MINIMAL: Values = {"store": {"url": "redis://valkey.data.svc:6379/0"}}
NAMESPACED: Values = {**MINIMAL, "watchNamespaces": ["team-a", "team-b"]}
EVERYTHING: Values = {
    "store": {
        "url": "rediss://valkey.data.svc:6380/1",
        "username": "operator",
        "passwordSecretRef": {"name": "store"},
        "caSecretRef": {"name": "store-ca"},
    },
    "metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True},
}
MATRIX: Mapping[str, Values] = {"minimal": MINIMAL, "namespaced": NAMESPACED, "everything": EVERYTHING}


class HelmRefused(Exception):
    """Helm ended with an error; the message is what it printed."""


@functools.cache
def helm_program() -> Path:
    """Return helm, built once for this machine."""
    return provide((HELM,))[HELM.name]


def helm(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run helm and return what it printed; raise HelmRefused when it fails."""
    command = [str(helm_program()), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise HelmRefused(done.stderr + done.stdout)
    return done.stdout


@contextmanager
def values_file(values: Values) -> Iterator[str]:
    """Write values where helm can read them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        yield str(file)


def template(values: Values, *options: str, kube_version: str = "1.34.0") -> str:
    """Return the text that `helm template` prints for these values."""
    place = ("--namespace", NAMESPACE, "--kube-version", kube_version)
    with values_file(values) as file:
        return helm("template", RELEASE, str(CHART), *place, "--values", file, *options)


def render(values: Values, *, kube_version: str = "1.34.0") -> list[Manifest]:
    """Return the objects that the chart makes of these values."""
    text = template(values, kube_version=kube_version)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def only(manifests: list[Manifest], kind: str, name_part: str = "") -> Manifest:
    """Return the one object of this kind, the name of which contains `name_part`."""
    found = [m for m in manifests if m["kind"] == kind and name_part in m["metadata"]["name"]]
    assert len(found) == 1, f"expected one {kind} {name_part}, got {[m['metadata']['name'] for m in found]}"
    return found[0]


def identity(manifest: Manifest) -> tuple[str, str | None, str]:
    """Return kind, namespace and name."""
    return manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"]


def merged(base: Values, change: Values) -> dict[str, Any]:
    """Lay `change` over `base`, as helm does with two files of values."""
    result = dict(base)
    for name, value in change.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
