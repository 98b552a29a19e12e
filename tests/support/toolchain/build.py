"""Provide programs from KUBEBUILDER_ASSETS, from the cache, or by building them into it.

The rule: a program in the cache is whole. It is built beside its place and moved there, under a lock that a second run
waits for; what a killed build left behind is removed by the next one.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.toolchain.errors import ToolchainError
from support.toolchain.go import ENVIRONMENT, find_go
from support.toolchain.modules import CONTROL_PLANE, Tool
from support.toolchain.progress import Progress, run


def provide(tools: Sequence[Tool], progress: Progress | None = None) -> dict[str, Path]:
    """Return the path of each tool by name; build what is not there yet."""
    places = {tool.name: _place(tool) for tool in tools}
    if any(not place.exists() for place in places.values()):
        _build_missing(tools, progress or Progress())
    return places


def cache_folder() -> Path:
    """Return the folder that keeps what was built, across checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "agentmemory" / "toolchain"


def _place(tool: Tool) -> Path:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets or tool not in CONTROL_PLANE:
        return cache_folder() / f"{tool.name}-{tool.version}" / tool.name
    place = Path(assets) / tool.name
    if not os.access(place, os.X_OK):
        raise ToolchainError(f"KUBEBUILDER_ASSETS is {assets}, which has no program {tool.name}: unset it to build one")
    return place


def _build_missing(tools: Sequence[Tool], progress: Progress) -> None:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock", progress):
        for leftover in cache.glob(".*ing-*"):
            shutil.rmtree(leftover)
        for tool in tools:
            if not _place(tool).exists():
                _build(tool, cache, progress)


def _build(tool: Tool, cache: Path, progress: Progress) -> None:
    go = find_go(tool.needed_go, cache, progress)
    progress.begin(f"building {tool.name} {tool.version}", "from its Go module, once for this machine")
    unfinished = Path(tempfile.mkdtemp(dir=cache, prefix=".building-"))
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", tool.linker_flags]
    command: list[str | Path] = [go, "build", *flags, "-o", unfinished / tool.name, tool.package]
    run(command, progress=progress, cwd=tool.source, environment=os.environ | ENVIRONMENT)
    unfinished.rename(_place(tool).parent)
    progress.end()


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of the cache; the system releases it when the process ends, however it ends."""
    with path.open("w") as file:
        waiting = False
        while not _try_lock(file.fileno()):
            if not waiting:
                progress.begin("waiting for another run that builds the same programs")
                waiting = True
            progress.tick()
            time.sleep(0.2)
        if waiting:
            progress.end()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
