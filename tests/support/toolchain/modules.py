"""What can be built: each program's Go module, version and linker flags.

The versions stand in the go.mod files beside this one and nowhere else.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tool:
    """One program of one Go module."""

    name: str
    folder: str  # holds go.mod and go.sum
    module: str  # carries the version
    package: str  # what is compiled
    version_package: str = ""  # Go package of the version variables that the linker sets

    @property
    def source(self) -> Path:
        """Return the folder of the go.mod."""
        return HERE / self.folder

    @cached_property
    def _go_mod(self) -> str:
        return (self.source / "go.mod").read_text()

    @property
    def version(self) -> str:
        """Return the pinned version, without the v."""
        match = re.search(rf"^(?:require |\t){re.escape(self.module)} v(\S+)", self._go_mod, re.MULTILINE)
        if match is None:
            raise LookupError(f"{self.source}/go.mod requires no {self.module}")
        return match[1]

    @property
    def needed_go(self) -> tuple[int, ...]:
        """Return the oldest Go that the module accepts."""
        match = re.search(r"^go (\S+)$", self._go_mod, re.MULTILINE)
        if match is None:
            raise LookupError(f"{self.source}/go.mod names no go version")
        return tuple(int(part) for part in match[1].split("."))

    @property
    def linker_flags(self) -> str:
        """Return the flags that strip the program and set its version.

        Without a version Kubernetes clients see `v0.0.0-master+$Format` and refuse to parse it.
        """
        if not self.version_package:
            return "-s -w"
        major, minor, _ = self.version.split(".", 2)
        values = {"gitVersion": f"v{self.version}", "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X {self.version_package}.{name}={value}" for name, value in values.items())


def _kubernetes(name: str) -> Tool:
    module = "k8s.io/kubernetes"
    return Tool(name, "kubernetes", module, f"{module}/cmd/{name}", version_package="k8s.io/component-base/version")


ETCD = Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3")
KUBECTL = _kubernetes("kubectl")
HELM = Tool("helm", "helm", "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm")
CONTROL_PLANE = (ETCD, KUBECTL, _kubernetes("kube-apiserver"))
