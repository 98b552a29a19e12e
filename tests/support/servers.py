"""Real servers for integration and contract tests. A server that cannot be had is an error, never a skip.

| fixture | what a test gets |
| --- | --- |
| `cluster` | an API server with the CRDs, shared by the run; kubectl as an administrator |
| `namespace`, `kubectl` | a namespace of its own, and kubectl in it |
| `store_server` | an empty store, once for each engine: for what must hold on Valkey and on Redis |
| `valkey` | an empty Valkey |
| `make_store` | a store of its own, with persistence, users, a socket or settings; for killing and changing |
| `run_program` | one of our programs as a process; its log is shown when the test fails |
| `socket_folder` | a folder whose path is short enough for a Unix socket |
"""

import tempfile
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from support.cluster import Cluster, existing_cluster
from support.control_plane import ControlPlane
from support.processes import Program, source_path
from support.store import VALKEY, Engine, StoreServer, engines

CRDS = Path(__file__).parents[2] / "crds"
WITHOUT_FINALIZERS = '{"metadata": {"finalizers": null}}'


class RunProgram(Protocol):
    """What `run_program` gives to a test."""

    def __call__(
        self, name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> Program:
        """Start a program and return it."""
        ...


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Generator[Cluster]:
    """Return access to the cluster of the run with the CRDs established."""
    with ExitStack() as stack:
        found = existing_cluster()
        if found is None:
            capture = pytestconfig.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():  # a first build takes minutes: show it
                found = stack.enter_context(ControlPlane()).admin
        found.apply(CRDS)
        found.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", CRDS)
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> Generator[str]:
    """Return a fresh namespace; its memories go with it, whoever still holds a finalizer on them."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name)
    yield name
    for memory in cluster.kubectl("get", "memoryresources", "--namespace", name, "--output=name").split():
        cluster.kubectl("patch", memory, "--namespace", name, "--type=merge", f"--patch={WITHOUT_FINALIZERS}")
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Callable[..., str]:
    """Return kubectl in the test's namespace; it returns standard output and raises KubectlError."""

    def run(*arguments: str | Path, stdin: str | None = None) -> str:
        return cluster.kubectl("--namespace", namespace, *arguments, stdin=stdin)

    return run


@pytest.fixture(scope="session")
def _shared_store() -> Generator[Callable[[Engine], StoreServer]]:
    with ExitStack() as stack:
        servers: dict[Engine, StoreServer] = {}

        def of(engine: Engine) -> StoreServer:
            if engine not in servers:
                servers[engine] = stack.enter_context(StoreServer(engine))
            servers[engine].flush()
            return servers[engine]

        yield of


@pytest.fixture(params=engines(), ids=lambda engine: engine.name)
def store_server(request: pytest.FixtureRequest, _shared_store: Callable[[Engine], StoreServer]) -> StoreServer:
    """Return an empty store, shared by the run: do not kill it and do not change its settings."""
    return _shared_store(request.param)


@pytest.fixture
def valkey(_shared_store: Callable[[Engine], StoreServer]) -> StoreServer:
    """Return an empty Valkey, shared by the run: do not kill it and do not change its settings."""
    return _shared_store(VALKEY)


@pytest.fixture
def make_store(programs: list[Program]) -> Generator[Callable[..., StoreServer]]:
    """Return a function that takes the arguments of StoreServer and starts one for this test alone."""
    with ExitStack() as stack:

        def make(engine: Engine = VALKEY, **options: object) -> StoreServer:
            server = stack.enter_context(StoreServer(engine, **options))  # type: ignore[arg-type]  # StoreServer checks them
            programs.append(server.program)
            return server

        yield make


@pytest.fixture
def run_program(programs: list[Program], socket_folder: Path) -> RunProgram:
    """Return a function that starts a program of this repository for this test alone."""

    def run(name: str, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Program:
        log = socket_folder / f"{name}-{len(programs)}.log"
        program = Program(name, command, log=log, environment=source_path() | dict(environment or {}))
        program.start()
        programs.append(program)
        return program

    return run


@pytest.fixture
def socket_folder() -> Generator[Path]:
    """Return a folder with a short path: a Unix socket's address has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="agentmemory-") as folder:
        yield Path(folder)
