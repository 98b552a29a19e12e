"""Runs the operator as tests need it: a process with exactly the rights that its own table asks for."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from memory_operator.metrics import PREFIX
from memory_operator.rbac import PERMISSIONS

from memory_core.keys import MemoryRef
from support.cluster import Cluster, KubectlError
from support.network import free_ports
from support.processes import Program, python_module, source_path
from support.store import StoreServer
from support.waiting import wait_until

ACCOUNT = "memory-operator"
PATIENCE_SECONDS = 30.0  # tests share the machine with a kube-apiserver and with others
RBAC = "rbac.authorization.k8s.io"


def limited_to_its_rights(cluster: Cluster, namespace: str, folder: Path) -> Cluster:
    """Return access as a service account with the rights of the operator's table, in one namespace, and no other."""
    rules = [{"apiGroups": [p.group], "resources": [p.resource], "verbs": sorted(p.verbs)} for p in PERMISSIONS]
    meta = {"name": ACCOUNT, "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    cluster.apply({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    binding: dict[str, Any] = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": meta}
    binding["roleRef"] = {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT}
    binding["subjects"] = [{"kind": "ServiceAccount", **meta}]
    cluster.apply(binding)
    token = cluster.kubectl("create", "token", ACCOUNT, "--namespace", namespace).strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    kubeconfig = folder / f"{ACCOUNT}-{namespace}.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    return Cluster(kubeconfig, cluster.kubectl_program)


@dataclass(frozen=True)
class Operator:
    """One replica. `program` starts, stops, kills and pauses it."""

    identity: str
    program: Program
    address: str

    def metric(self, sample: str) -> float:
        """Return the value of a sample, named as it is exposed without the common prefix; 0 when there is none."""
        text = self.ask("/metrics")[1]
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == f"{PREFIX}{sample}":
                return float(value)
        return 0.0

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and body of a probe; 0 while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.program.running and self.metric("leader") == 1

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = (json.loads(line) for line in self.program.log.splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]


@dataclass
class Operators:
    """Starts operators that share one cluster, namespace and store, each with its own identity."""

    cluster: Cluster
    namespace: str
    store: StoreServer
    folder: Path
    programs: list[Program]
    access: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self.access = limited_to_its_rights(self.cluster, self.namespace, self.folder)

    def start(self, identity: str = "operator-0", **settings: str) -> Operator:
        """Start a replica; `settings` are flags, with underscores. Resync and probe are off unless they are given."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        flags = {
            "namespaces": self.namespace,
            "lease-namespace": self.namespace,
            "store-url": self.store.url,
            "metrics-address": address,
            "identity": identity,
            "resync": "1h",
            "store-probe": "1h",
        } | {name.replace("_", "-"): value for name, value in settings.items()}
        command = python_module("memory_operator", *(f"--{name}={value}" for name, value in flags.items()))
        environment: Mapping[str, str] = source_path() | {"KUBECONFIG": str(self.access.kubeconfig)}
        log = self.folder / f"{identity}-{len(self.programs)}.log"
        program = Program(identity, command, log=log, environment=environment)
        program.start()
        self.programs.append(program)
        return Operator(identity, program, address)

    def leading(self, identity: str = "operator-0", **settings: str) -> Operator:
        """Start a replica and wait until it leads."""
        operator = self.start(identity, **settings)
        operator.program.wait_until(lambda: operator.leads, f"{identity} leads", timeout_seconds=PATIENCE_SECONDS)
        return operator


@dataclass(frozen=True)
class Memories:
    """MemoryResources of one namespace, as their owner sees them."""

    cluster: Cluster
    namespace: str

    def apply(self, name: str = "support", *, annotations: Mapping[str, str] | None = None, **spec: object) -> None:
        """Apply a memory of 8000 tokens, with further members of the spec."""
        self.cluster.apply(
            {
                "apiVersion": "agentmemory.io/v1alpha1",
                "kind": "MemoryResource",
                "metadata": {"name": name, "namespace": self.namespace, "annotations": dict(annotations or {})},
                "spec": {"type": "TokenBased", "limits": {"maxTokens": 8000}, **spec},
            }
        )

    def annotate(self, annotation: str, name: str = "support") -> None:
        """Set (`key=value`) or remove (`key-`) an annotation."""
        self.cluster.kubectl("annotate", "mem", name, "--namespace", self.namespace, "--overwrite", annotation)

    def get(self, name: str = "support") -> dict[str, Any]:
        """Return the object."""
        return self.cluster.get("mem", name, "--namespace", self.namespace)

    def exists(self, name: str = "support") -> bool:
        """Whether there is such an object."""
        return bool(self.cluster.kubectl("get", "mem", name, "--namespace", self.namespace, "--ignore-not-found"))

    def delete(self, name: str = "support") -> None:
        """Ask for its deletion; the operator's finalizer decides when it goes."""
        self.cluster.kubectl("delete", "mem", name, "--namespace", self.namespace, "--wait=false")

    def condition(self, kind: str, name: str = "support") -> dict[str, Any]:
        """Return a condition, empty when there is none."""
        conditions = self.get(name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_ready(self, name: str = "support") -> None:
        """Wait as a person does: kubectl wait, for the generation that was applied."""
        place = (f"mem/{name}", "--namespace", self.namespace)
        self.cluster.kubectl("wait", "--for=condition=Ready", f"--timeout={PATIENCE_SECONDS:.0f}s", *place)

    def wait_reason(self, reason: str, name: str = "support") -> dict[str, Any]:
        """Wait until the Ready condition has this reason, and return it."""
        return self.wait(lambda: self.condition("Ready", name), reason, lambda found: found.get("reason") == reason)

    def wait_gone(self, name: str = "support") -> None:
        """Wait until the object is gone."""
        wait_until(lambda: not self.exists(name), f"{name} is gone", timeout_seconds=PATIENCE_SECONDS)

    def wait(
        self, look: Callable[[], dict[str, Any]], what: str, good: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Wait until what is looked at is good, and return it."""
        return (
            wait_until(
                lambda: found if good(found := look()) else None,
                what,
                timeout_seconds=PATIENCE_SECONDS,
                ignore=(KubectlError,),
            )
            or {}
        )

    def events(self) -> list[tuple[str, str, str]]:
        """Return type, reason and message of all events about memories, oldest first."""
        items = self.cluster.get("events", "--namespace", self.namespace, "--sort-by=.metadata.creationTimestamp")[
            "items"
        ]
        return [(item["type"], item["reason"], item.get("message") or item.get("note", "")) for item in items]

    def ref(self, name: str = "support") -> MemoryRef:
        """Return the name as the store knows it."""
        return MemoryRef(self.namespace, name)


@pytest.fixture
def make_operators(
    cluster: Cluster, namespace: str, socket_folder: Path, programs: list[Program]
) -> Callable[[StoreServer], Operators]:
    """Return a function that takes a store and returns what starts operators on it."""
    return lambda store: Operators(cluster, namespace, store, socket_folder, programs)


@pytest.fixture
def operators(make_operators: Callable[[StoreServer], Operators], valkey: StoreServer) -> Operators:
    """Return what starts operators on an empty store that is shared by the run."""
    return make_operators(valkey)


@pytest.fixture
def memories(cluster: Cluster, namespace: str) -> Memories:
    """Return the memories of the test's namespace."""
    return Memories(cluster, namespace)
