"""The API server fails, and the kind comes and goes: what the operator does about it. A control plane of its own."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from support.cluster import KubectlError
from support.control_plane import ControlPlane
from support.operators import PATIENCE_SECONDS, Memories, Operators
from support.processes import Program
from support.store import StoreServer
from support.waiting import wait_until

NAMESPACE = "team"


@pytest.fixture(scope="module")
def plane() -> Generator[ControlPlane]:
    """Return a control plane without our kind."""
    with ControlPlane() as started:
        started.admin.create_namespace(NAMESPACE)
        yield started


@pytest.fixture
def crds(repository: Path) -> Path:
    """Return the folder of the definitions."""
    return repository / "crds"


@pytest.fixture
def operators(plane: ControlPlane, valkey: StoreServer, socket_folder: Path, programs: list[Program]) -> Operators:
    """Return what starts operators on this control plane."""
    return Operators(plane.admin, NAMESPACE, valkey, socket_folder, programs)


@pytest.fixture
def memories(plane: ControlPlane) -> Memories:
    """Return the memories of this control plane."""
    return Memories(plane.admin, NAMESPACE)


def test_an_operator_waits_for_its_kind_and_ends_when_it_is_removed(
    plane: ControlPlane, operators: Operators, memories: Memories, crds: Path
) -> None:
    """Installing chart and definitions in any order works; the process ends because its watch cannot go on."""
    operator = operators.start()
    operator.program.wait_for_log("waiting for the custom resource definition", timeout_seconds=PATIENCE_SECONDS)
    assert operator.ask("/readyz")[0] == 503
    assert operator.ask("/healthz")[0] == 200

    plane.admin.apply(crds)
    wait_until(lambda: operator.ask("/readyz")[0] == 200, "it is ready", timeout_seconds=PATIENCE_SECONDS)
    memories.apply()
    memories.wait_ready()
    memories.delete()
    memories.wait_gone()
    plane.admin.kubectl("delete", "--filename", crds)
    wait_until(lambda: not operator.program.running, "it ends", timeout_seconds=PATIENCE_SECONDS)
    assert operator.logged("stopping")[0]["reason"] == "WatchEnded"


def test_a_restart_of_the_api_server_is_survived(
    plane: ControlPlane, operators: Operators, memories: Memories, crds: Path
) -> None:
    """Within the time in which the lease can be renewed nobody has to lead anew, and nothing is missed."""
    plane.admin.apply(crds)
    plane.admin.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", crds)
    operator = operators.leading(lease_duration="10m")
    memories.apply()
    memories.wait_ready()
    epoch = operator.metric("epoch")
    plane.stop_api_server()
    plane.start_api_server()
    wait_until(lambda: memories.apply(limits={"maxTokens": 9000}) or True, "applied", ignore=(KubectlError,))
    memories.wait_ready()

    assert operator.program.running
    assert operator.leads
    assert operator.metric("epoch") == epoch


def test_a_leader_that_cannot_renew_ends_and_leads_again_when_it_can(
    plane: ControlPlane, operators: Operators, memories: Memories, crds: Path
) -> None:
    """It may not write when another could; started anew, it takes its own lease at once."""
    plane.admin.apply(crds)
    plane.admin.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", crds)
    operator = operators.leading(lease_duration="2s")
    plane.stop_api_server()
    wait_until(lambda: not operator.program.running, "it ends", timeout_seconds=PATIENCE_SECONDS)
    assert operator.logged("stopping")[0]["reason"] == "LeadershipLost"

    plane.start_api_server()
    operator.program.start()
    memories.apply("another")
    memories.wait_ready("another")
