"""Tell which generated files are not what `make generate` writes now: `python -m support.drift`.

The repository is copied and generated anew in the copy, so that the check changes nothing and needs no list of files.
"""

import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.processes import REPOSITORY, SOURCE_FOLDERS


def project_files() -> list[Path]:
    """Return the files of the repository, relative to it: what git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (REPOSITORY / name).is_file()]


def drift() -> Iterator[str]:
    """Yield a unified diff of each file that generating changes."""
    with tempfile.TemporaryDirectory(prefix="agentmemory-drift-") as folder:
        copy = Path(folder)
        for file in project_files():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, copy / file)
        _generate(copy)
        written = (path.relative_to(copy) for path in sorted(copy.rglob("*")) if path.is_file())
        for file in written:
            if "__pycache__" not in file.parts:
                yield from _difference(file, copy)


def _generate(copy: Path) -> None:
    sources = [str(copy / folder.relative_to(REPOSITORY)) for folder in SOURCE_FOLDERS]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sources), "MAKEFLAGS": ""}
    venv = Path(sys.executable).parents[1]
    command = ["make", "--silent", "generate", f"VENV={venv}"]
    never_install = f"--old-file={venv / '.installed'}"  # it would point the environment at the copy
    subprocess.run([*command, never_install], cwd=copy, env=environment, check=True)


def _difference(file: Path, copy: Path) -> Iterator[str]:
    ours = REPOSITORY / file
    before = ours.read_bytes() if ours.is_file() else b""
    after = (copy / file).read_bytes()
    if before != after:
        old, new = (text.decode(errors="replace").splitlines(keepends=True) for text in (before, after))
        yield "".join(difflib.unified_diff(old, new, f"{file} (here)", f"{file} (generated)"))


if __name__ == "__main__":
    differences = list(drift())
    if differences:
        sys.exit("".join([*differences, "generated files are not up to date: run `make generate`"]))
