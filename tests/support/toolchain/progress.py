"""Say what a slow step is doing and for how long it has been at it."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from support.processes import dying_with_parent
from support.toolchain.errors import ToolchainError

REDRAW_SECONDS = 1.0  # on a terminal: one line, drawn again
REPEAT_SECONDS = 15.0  # in a log: a new line now and then


class Progress:
    """Lines about slow steps, for a terminal or for a log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._step = ""
        self._started = self._shown = 0.0

    def begin(self, step: str, note: str = "") -> None:
        """Name the step that starts now; the note is shown once."""
        self._step = step
        self._started = self._shown = time.monotonic()
        self._show(f"{step} ... {note}")

    def tick(self) -> None:
        """Show the elapsed time when it is time to; call it as often as you like."""
        now = time.monotonic()
        if now - self._shown >= (REDRAW_SECONDS if self._redraws else REPEAT_SECONDS):
            self._shown = now
            self._show(f"{self._step} ... {now - self._started:.0f} s")

    def end(self) -> None:
        """Close the step with the time that it took."""
        self._show(f"{self._step}: done in {time.monotonic() - self._started:.0f} s")
        if self._redraws:
            self._stream.write("\n")

    def _show(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K  {line}" if self._redraws else f"  {line}\n")
        self._stream.flush()


def run(
    command: Sequence[str | Path],
    *,
    progress: Progress,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end while the elapsed time is shown; raise ToolchainError with the end of its output."""
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(
            dying_with_parent(command), cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as process:
            try:
                while process.poll() is None:
                    progress.tick()
                    time.sleep(0.1)
            except BaseException:  # Ctrl-C too: the command must not go on alone
                process.kill()
                raise
        if process.returncode != 0:
            output.seek(0)
            last = "".join(output.readlines()[-25:])
            raise ToolchainError(f"{command[0]} ended with status {process.returncode}:\n{last}")
