"""Run memctl as a person or a script does: as a process, with or without a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from support.processes import source_path


def memctl(
    path: Path, *arguments: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run memctl with the socket in its environment; without input it has none, and no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "agent_memory.memctl", *arguments],
        env=os.environ | source_path() | {"AGENT_MEMORY_SOCKET": str(path)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def on_a_terminal(path: Path, *arguments: str, typed: bytes = b"", **environment: str) -> tuple[str, int]:
    """Run memctl on a terminal of 80 columns; return what the screen showed and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_memory.memctl", *arguments],
        env=os.environ
        | source_path()
        | {"AGENT_MEMORY_SOCKET": str(path), "COLUMNS": "80", "TERM": "xterm"}
        | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # Linux ends a terminal whose other side is closed with EIO
        pass
    finally:
        os.close(ours)
    return shown.decode(), process.wait(timeout=20)
