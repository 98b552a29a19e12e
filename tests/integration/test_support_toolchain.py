"""Programs are built once, wholly or not at all; the compiler is a script here, the rest is real."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_until

COMPILER = """#!/bin/sh
[ "$1" = env ] && echo go1.99.0 && exit
while [ "$1" != -o ]; do shift; done
echo started >> "$BUILDS"
printf half > "$2"; sleep "${BUILD_SECONDS:-0.3}"; printf whole > "$2"
[ -z "$BROKEN" ] || { echo "does not compile"; exit 2; }
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a cache of its own and a compiler that notes each build."""
    compiler = tmp_path / "bin" / "go"
    compiler.parent.mkdir()
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name != "KUBEBUILDER_ASSETS"}
    return clean | {
        "PATH": f"{compiler.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "BUILDS": str(tmp_path / "builds"),
    }


def toolchain(environment: dict[str, str], *names: str) -> subprocess.Popen[str]:
    """Start a run that provides the programs of these names."""
    command = [sys.executable, "-m", "support.toolchain", *names]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def builds(environment: dict[str, str]) -> int:
    """Return how many builds were started."""
    file = Path(environment["BUILDS"])
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_concurrent_runs_build_once(environment: dict[str, str]) -> None:
    """Two runs at the same time share one build: the second waits for it."""
    first, second = toolchain(environment, "etcd"), toolchain(environment, "etcd")
    places = {Path(run.communicate(timeout=30)[0].strip()) for run in (first, second)}

    assert [place.read_text() for place in places] == ["whole"]
    assert builds(environment) == 1


def test_killed_build_leaves_nothing_half(environment: dict[str, str]) -> None:
    """After a build that was killed the program is missing, and the next run builds it."""
    killed = toolchain(environment | {"BUILD_SECONDS": "5"}, "etcd")
    wait_until(lambda: builds(environment), "the build starts")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not list(Path(environment["XDG_CACHE_HOME"]).glob("**/etcd-*"))

    place = Path(toolchain(environment, "etcd").communicate(timeout=30)[0].strip())

    assert place.read_text() == "whole"
    assert sorted(path.name for path in place.parents[1].iterdir()) == [place.parent.name, "lock"]


def test_failed_build_says_what_the_compiler_said(environment: dict[str, str]) -> None:
    """A program that does not compile ends the run with the compiler's words and is not kept."""
    run = toolchain(environment | {"BROKEN": "yes"}, "etcd")

    assert "does not compile" in run.communicate(timeout=30)[1]
    assert run.returncode == 1
    assert not list(Path(environment["XDG_CACHE_HOME"]).glob("**/etcd-*"))


def test_programs_of_kubebuilder_assets_are_used(environment: dict[str, str], tmp_path: Path) -> None:
    """KUBEBUILDER_ASSETS spares every build; a program that is missing there is named."""
    for name in ("etcd", "kubectl"):
        (tmp_path / name).touch(mode=0o755)
    environment["KUBEBUILDER_ASSETS"] = str(tmp_path)

    found = toolchain(environment, "etcd", "kubectl").communicate(timeout=30)[0]
    refused = toolchain(environment).communicate(timeout=30)[1]

    assert found.splitlines() == [str(tmp_path / "etcd"), str(tmp_path / "kubectl")]
    assert "has no program kube-apiserver" in refused
    assert builds(environment) == 0
