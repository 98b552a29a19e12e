"""Each image and the client carry what they need and nothing else."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.processes import REPOSITORY, source_path

KUBERNETES_CLIENTS = {"kopf", "kubernetes", "aiohttp"}
ABSENT_FROM_SIDECAR = KUBERNETES_CLIENTS | {"pydantic", "requests-oauthlib"}
UNLOADED_AT_SIDECAR_START = KUBERNETES_CLIENTS | {"pydantic", "yaml", "tiktoken"}
PROCESSES = {"operator": "memory_operator", "sidecar": "memory_sidecar"}

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
IMPORT_ONE = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


def locked(name: str) -> dict[str, str]:
    """Return the version of each distribution that a lock pins."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    return {canonicalize_name(found[1]): found[2] for found in re.finditer(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


def loaded_by(script: str, module: str, *, options: tuple[str, ...] = (), path: str = "") -> set[str]:
    """Return the modules that a fresh interpreter has after running an import script for `module`."""
    environment = os.environ | source_path() | ({"PYTHONPATH": path} if path else {})
    command = [sys.executable, *options, "-c", script, module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_sidecar_lock_has_no_kubernetes_client() -> None:
    """The sidecar's image has none of the packages that only the operator needs."""
    assert not ABSENT_FROM_SIDECAR & locked("sidecar").keys()


def test_operator_lock_has_no_http_server_of_the_sidecar() -> None:
    """The operator's image has none of the packages that only the sidecar needs."""
    assert not {"httptools", "uvloop"} & locked("operator").keys()


def test_sidecar_starts_without_heavy_imports() -> None:
    """Starting the sidecar loads no Kubernetes client, no validator and no tokenizer: each pod pays for its memory."""
    assert not UNLOADED_AT_SIDECAR_START & loaded_by(IMPORT_ONE, "memory_sidecar.__main__")


@pytest.mark.parametrize("process", PROCESSES)
def test_image_carries_every_package_that_its_code_imports(process: str) -> None:
    """What any module of a process imports is in the lock of its image."""
    graph = grimp.build_graph("memory_core", PROCESSES[process], include_external_packages=True)
    reached = graph.find_upstream_modules(PROCESSES[process], as_package=True)
    owners = packages_distributions()

    external = {name for name in reached if "." not in name} - {"memory_core"} - sys.stdlib_module_names
    needed = {canonicalize_name(owners[name][0]) for name in external}

    assert {"msgspec"} <= needed <= locked(process).keys()


def test_client_needs_only_the_standard_library() -> None:
    """Every module of the client can be imported where no package is installed."""
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'client')!r})\n{IMPORT_EVERYTHING}"

    assert "agent_memory" in loaded_by(code, "agent_memory", options=("-I", "-S"))


@pytest.mark.parametrize("lock", ["operator", "sidecar", "dev"])
def test_locks_hold_what_the_project_asks_for(lock: str) -> None:
    """Each requirement of the project is pinned to a version that it accepts: `make lock` was run."""
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = document["project"]["optional-dependencies"]
    asked = [*document["project"]["dependencies"], *extras.get(lock, ())]
    if lock == "dev":
        asked += [*extras["operator"], *extras["sidecar"], *document["dependency-groups"]["dev"]]
    pinned = locked(lock)

    for requirement in map(Requirement, asked):
        assert pinned.get(canonicalize_name(requirement.name), "0") in requirement.specifier, requirement


def test_no_folder_shadows_a_module() -> None:
    """`operator/` and the test folders are no packages: the first would hide the standard library's `operator`."""
    folders = [REPOSITORY / "operator", *(path for path in (REPOSITORY / "tests").iterdir() if path.is_dir())]

    assert not [folder for folder in folders if (folder / "__init__.py").exists()]
    assert Path(os.__file__).parent == Path(sys.modules["operator"].__file__ or "").parent
