"""The servers under the other tests are what they claim to be."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from support.cluster import Cluster, KubectlError, existing_cluster
from support.control_plane import ControlPlane, Identity
from support.processes import ProgramError, source_path
from support.store import Engine, Persistence, StoreServer, engines
from support.waiting import wait_until


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
def test_acknowledged_writes_survive_kill_with_aof_always(
    engine: Engine, make_store: Callable[..., StoreServer]
) -> None:
    """A store with `appendfsync always` finds every acknowledged write after SIGKILL, on the same port."""
    store = make_store(engine, persistence=Persistence.ALWAYS)
    port = store.port
    with store.client() as client:
        for number in range(100):
            client.rpush("log", number)

    store.kill()
    store.start()

    with store.client() as client:
        assert client.llen("log") == 100
        assert store.port == port


def test_store_without_persistence_is_empty_after_kill(make_store: Callable[..., StoreServer]) -> None:
    """A store without persistence forgets everything, so that a test can lose data on purpose."""
    store = make_store()
    with store.client() as client:
        client.set("key", "value")

    store.kill()
    store.start()

    with store.client() as client:
        assert client.get("key") is None


def test_store_on_a_socket_knows_its_users(make_store: Callable[..., StoreServer]) -> None:
    """A store can listen on a Unix socket only and let in just the users that it was given."""
    store = make_store(unix_socket=True, users=["user default off", "user app on >secret ~app:* +@all"])

    with store.client("app", "secret") as client:
        client.set("app:key", "value")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("other:key", "value")
    with store.client() as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_shared_store_is_empty_for_each_test(store_server: StoreServer) -> None:
    """Neither data nor functions of an earlier test are left."""
    with store_server.client() as client:
        assert client.dbsize() == 0
        assert client.function_list() == []
        client.set("left", "behind")
        client.function_load("#!lua name=left\nredis.register_function('left', function() return 1 end)")


def test_rbac_decides_for_service_accounts(cluster: Cluster, namespace: str, socket_folder: Path) -> None:
    """A service account may do what is granted to it and nothing else."""
    account = cluster.as_service_account(namespace, "default", kubeconfig=socket_folder / "kubeconfig")
    with pytest.raises(KubectlError, match="Forbidden"):
        account.kubectl("get", "configmaps", "--namespace", namespace)

    bind = ["--role=viewer", f"--serviceaccount={namespace}:default"]
    cluster.kubectl("create", "role", "viewer", "--verb=list", "--resource=configmaps", "--namespace", namespace)
    cluster.kubectl("create", "rolebinding", "viewer", *bind, "--namespace", namespace)

    assert account.get("configmaps", "--namespace", namespace)["items"] == []


def test_an_existing_cluster_is_used_only_when_it_is_asked_for(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBECONFIG alone never lets tests into somebody's cluster; together with the switch it does."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.delenv("AGENTMEMORY_USE_EXISTING_CLUSTER", raising=False)
    assert existing_cluster() is None

    monkeypatch.setenv("AGENTMEMORY_USE_EXISTING_CLUSTER", "true")
    found = existing_cluster()

    assert found is not None
    assert found.get("namespace", namespace)["metadata"]["name"] == namespace


def test_control_plane_keeps_its_state_over_a_restart_of_the_api_server() -> None:
    """Objects, port and tokens outlive the API server; identities without a grant are refused."""
    with ControlPlane([Identity("stranger")]) as control_plane:
        control_plane.admin.create_namespace("kept")

        control_plane.stop_api_server()
        control_plane.start_api_server()

        assert control_plane.admin.kubectl("get", "namespace", "kept", "--output=name") == "namespace/kept\n"
        with pytest.raises(KubectlError, match="Forbidden"):
            control_plane.as_identity("stranger").kubectl("get", "namespaces")


def test_programs_die_with_a_killed_parent(socket_folder: Path) -> None:
    """A store whose starter is killed does not stay behind."""
    script = "from support.store import *; s = StoreServer(); s.start(); print(s.program.pid, flush=True); input()"
    tests = Path(__file__).parents[1]
    environment = os.environ | source_path() | {"PYTHONPATH": str(tests), "TMPDIR": str(socket_folder)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        store = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)

    wait_until(lambda: not _alive(store), "the store ends with its parent", timeout_seconds=5)


def test_waiting_for_a_program_that_ended_shows_its_log(run_program: Callable[..., object]) -> None:
    """A program that ends instead of becoming ready fails the wait at once, with what it said."""
    program = run_program("failing", [sys.executable, "-c", "raise SystemExit('no such option')"])

    with pytest.raises(ProgramError, match=r"status 1(.|\n)*no such option"):
        program.wait_for_log("ready")


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "(zombie)" not in status.read_text()
