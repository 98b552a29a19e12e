"""What tests and the demo need of a cluster, whoever started it: a kubeconfig and kubectl."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.toolchain import KUBECTL, provide

USE_EXISTING = "AGENTMEMORY_USE_EXISTING_CLUSTER"


class KubectlError(Exception):
    """kubectl ended with a status other than 0; `stderr` is what it said."""

    def __init__(self, command: str, stderr: str) -> None:
        super().__init__(f"{command}\n{stderr}")
        self.stderr = stderr


@dataclass(frozen=True)
class Cluster:
    """Access to an API server as one identity."""

    kubeconfig: Path
    kubectl_program: Path

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl and return its standard output; raise KubectlError when it fails."""
        command = [str(self.kubectl_program), *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode != 0:
            raise KubectlError(" ".join(["kubectl", *command[1:]]), done.stderr)
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return `kubectl get ARGUMENTS` as parsed JSON."""
        parsed: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return parsed

    def apply(self, manifest: str | dict[str, Any] | Path) -> str:
        """Apply a file, YAML text or an object."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "--filename", manifest)
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.kubectl("apply", "--filename=-", stdin=text)

    def as_service_account(self, namespace: str, name: str, *, kubeconfig: Path) -> "Cluster":
        """Return access as an existing service account, for an hour; its credentials are written to `kubeconfig`."""
        token = self.kubectl("create", "token", name, "--namespace", namespace).strip()
        content = json.loads(self.kubectl("config", "view", "--minify", "--flatten", "--raw", "--output=json"))
        content["users"] = [{"name": content["users"][0]["name"], "user": {"token": token}}]
        kubeconfig.write_text(json.dumps(content, indent=1))
        return Cluster(kubeconfig, self.kubectl_program)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a program that talks to this cluster."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig)}

    def create_namespace(self, name: str) -> None:
        """Create a namespace with the `default` service account that pods need: without controllers nobody makes it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.apply(account)


def existing_cluster() -> Cluster | None:
    """Return the cluster of KUBECONFIG when AGENTMEMORY_USE_EXISTING_CLUSTER is true, None when it is not.

    KUBECONFIG alone is not enough: many shells have one, and tests create and delete objects of the whole cluster.
    """
    if os.environ.get(USE_EXISTING) != "true":
        return None
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig or not Path(kubeconfig).is_file():
        raise LookupError(f"{USE_EXISTING} is true: set KUBECONFIG to the file of a cluster that tests may change")
    on_path = shutil.which("kubectl")
    return Cluster(Path(kubeconfig).absolute(), Path(on_path) if on_path else provide([KUBECTL])["kubectl"])
