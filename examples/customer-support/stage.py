"""Everything the demo runs on, real and only for as long as it runs: store, API server, operator, a pod's sidecar."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_memory import MemoryClient
from support.cluster import Cluster, existing_cluster
from support.control_plane import ControlPlane
from support.network import free_ports
from support.processes import REPOSITORY, Program, python_module, source_path
from support.store import StoreServer
from support.toolchain import Progress

HERE = Path(__file__).parent
MANIFEST = HERE / "memory.yaml"
NAMESPACE = "support"
MEMORY = "customer-support"
KEY = "ticket-4711"

Announce = Callable[[str, str, float], None]  # what, how, seconds


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo works with."""

    cluster: Cluster
    socket: Path


@contextmanager
def set_up(announce: Announce) -> Generator[Stage]:
    """Start everything, tell about each part, and remove all of it at the end, whatever happens."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentmemory-")))
        began = time.monotonic()

        def done(what: str, how: str) -> None:
            nonlocal began
            announce(what, how, time.monotonic() - began)
            began = time.monotonic()

        store = stack.enter_context(StoreServer())
        done("store", f"Valkey at {store.url}")
        cluster = existing_cluster() or stack.enter_context(ControlPlane(progress=Progress())).admin
        done("cluster", "etcd and kube-apiserver on loopback, kubectl works")
        cluster.apply(REPOSITORY / "crds")
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", REPOSITORY / "crds")
        cluster.create_namespace(NAMESPACE)
        done("CRD", "MemoryResource is known to the cluster")
        stack.enter_context(operator_program(folder, cluster, store, namespace=NAMESPACE))
        done("operator", "watches MemoryResources, writes their configuration to the store")
        cluster.apply(MANIFEST)
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=20s", "--filename", MANIFEST)
        done("memory", "kubectl apply, and the MemoryResource is Ready")
        socket = folder / "memory.sock"
        sidecar = stack.enter_context(sidecar_program(folder, socket, store, namespace=NAMESPACE))
        sidecar.wait_until(lambda: is_ready(socket), "the sidecar is ready", timeout_seconds=20)
        done("sidecar", "serves the pod's memories on a Unix socket")
        yield Stage(cluster, socket)


def operator_program(folder: Path, cluster: Cluster, store: StoreServer, *, namespace: str) -> Program:
    """Return the operator of one namespace, to be started."""
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "AGENT_MEMORY_NAMESPACES": namespace,
        "AGENT_MEMORY_STORE_URL": store.url,
        "AGENT_MEMORY_METRICS_ADDRESS": f"127.0.0.1:{free_ports(1)[0]}",
        "POD_NAMESPACE": namespace,
    }
    command = python_module("memory_operator")
    return Program("operator", command, log=folder / "operator.log", environment=source_path() | environment)


def sidecar_program(folder: Path, socket: Path, store: StoreServer, *, namespace: str) -> Program:
    """Return the sidecar of a pod that was given the memory by an annotation, to be started."""
    podinfo = folder / "podinfo"
    podinfo.mkdir()
    annotations = {"agentmemory.io/memory": MEMORY, "agentmemory.io/memory-key": KEY}
    (podinfo / "annotations").write_text("".join(f"{name}={json.dumps(text)}\n" for name, text in annotations.items()))
    (podinfo / "labels").write_text('app="helpdesk"\n')
    environment = {
        "POD_NAMESPACE": namespace,
        "POD_NAME": "helpdesk-0",
        "POD_UID": "5f1c3f5e-7f0a-4f0e-9d7c-2f6f4a1d4711",
        "POD_SERVICE_ACCOUNT": "helpdesk",
        "AGENT_MEMORY_PODINFO": str(podinfo),
        "AGENT_MEMORY_SOCKET": str(socket),
        "AGENT_MEMORY_STORE_URL": store.url,
        "AGENT_MEMORY_METRICS_ADDRESS": "",
    }
    command = python_module("memory_sidecar")
    return Program("sidecar", command, log=folder / "sidecar.log", environment=source_path() | environment)


def is_ready(socket: Path) -> bool:
    """Tell whether the sidecar answers and has the configuration of all its memories."""
    if not socket.exists():
        return False
    with MemoryClient(socket) as client:
        return all(binding.ready for binding in client.memories())


def kubectl_command(stage: Stage) -> str:
    """Return how a person calls kubectl on the stage's cluster."""
    program = "kubectl" if shutil.which("kubectl") else str(stage.cluster.kubectl_program)
    return f"KUBECONFIG={stage.cluster.kubeconfig} {program}"
