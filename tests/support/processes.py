"""Programs that tests and the demo start: real processes whose log is kept, that never outlive who started them.

Each runs in a session of its own, so that Ctrl-C reaches only the parent, which stops its programs in its own order;
when the parent is killed, the kernel kills them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from support.waiting import Errors, wait_until

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
SOURCE_FOLDERS = tuple(REPOSITORY / name for name in ("core", "operator", "sidecar", "client"))
DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
LOG_TAIL_LINES = 60


class ProgramError(Exception):
    """A program ended, or did not do, what it was started for; the message ends with its log."""


class Program:
    """One process, restartable with the same command; its log grows over restarts."""

    def __init__(
        self, name: str, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log_file = log
        self._command = [str(part) for part in command]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; it must not be running."""
        if self.running:
            raise ProgramError(f"{self.name} runs already")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_parent(self._command),
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id of the latest start."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Tell whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Return everything that it wrote so far, standard output and standard error in one."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def stop(self, *, timeout_seconds: float = 20.0) -> int:
        """End it with SIGTERM and return its status, negative for a signal; kill and raise when that takes too long."""
        process = self._started()
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a paused one would not notice
        try:
            return process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"{self.name} did not end within {timeout_seconds:g} s of SIGTERM\n{self.tail()}"
            raise ProgramError(message) from None

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does."""
        self._started().kill()
        self._started().wait()

    def pause(self) -> None:
        """Stop its clock with SIGSTOP: to its peers it hangs."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._started().send_signal(signal.SIGCONT)

    def wait_until(
        self, condition: Callable[[], T], what: str, *, timeout_seconds: float = 10.0, ignore: Errors = ()
    ) -> T:
        """Wait for what this program brings about; raise with its log when it ends first or takes too long."""

        def observe() -> T:
            if not self.running:
                raise ProgramError(f"it ended with status {self._started().returncode}")
            return condition()

        try:
            return wait_until(observe, what, timeout_seconds=timeout_seconds, ignore=ignore)
        except (ProgramError, TimeoutError) as error:
            raise ProgramError(f"{self.name}: {error}\n{self.tail()}") from error

    def wait_for_log(self, text: str, *, timeout_seconds: float = 10.0) -> None:
        """Wait until the log contains `text`."""
        self.wait_until(lambda: text in self.log, f"{text!r} in its log", timeout_seconds=timeout_seconds)

    def tail(self) -> str:
        """Return the last lines of the log under a heading, for messages about failures."""
        lines = self.log.splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([f"--- log of {self.name} ---", *lines])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProgramError(f"{self.name} was not started")
        return self._process


def dying_with_parent(command: Sequence[str | Path]) -> list[str | Path]:
    """Return the command that runs `command` until it ends or this process does."""
    return [sys.executable, "-I", "-S", DIE_WITH_PARENT, str(os.getpid()), *command]


def python_module(module: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs a module of this repository with this Python."""
    return [sys.executable, "-m", module, *arguments]


def source_path() -> dict[str, str]:
    """Return the environment in which the packages of this repository are importable without being installed."""
    return {"PYTHONPATH": os.pathsep.join(map(str, SOURCE_FOLDERS))}
