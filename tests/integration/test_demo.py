"""`make demo`: what a newcomer sees first, run as it is, and what it leaves behind: nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.processes import SOURCE_FOLDERS
from support.waiting import wait_until

DEMO = Path(__file__).parents[2] / "examples/customer-support/demo.py"


@pytest.fixture
def scratch(socket_folder: Path) -> Path:
    """Return the folder that the demo takes for temporary files; its path is short, for a socket is made in it."""
    return socket_folder


@contextmanager
def start(scratch: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Start the demo with its output in a pipe; a demo that a failed test leaves is killed."""
    folders = (*SOURCE_FOLDERS, DEMO.parents[2] / "tests")
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(map(str, folders))}
    demo = subprocess.Popen(
        [sys.executable, "-u", str(DEMO), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with demo:
        try:
            yield demo
        finally:
            demo.kill()


def processes_using(folder: Path) -> Iterator[str]:
    """Yield the command lines of running processes that name a folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(folder) in command:
            yield command


def assert_nothing_is_left(scratch: Path) -> None:
    """Fail when a file or a process of the demo is still there."""
    wait_until(lambda: not list(processes_using(scratch)), "the demo's processes have ended", timeout_seconds=10)
    assert list(scratch.iterdir()) == []


def test_the_demo_shows_a_whole_conversation_and_cleans_up(scratch: Path) -> None:
    """Budget, evictions, refusals, a change while it runs, and what kubectl shows."""
    with start(scratch) as demo:
        shown, _ = demo.communicate(timeout=120)

    assert demo.returncode == 0, shown
    assert "48 messages in" in shown
    assert "sequence numbers 1 to 48 without a gap" in shown
    assert re.search(r"evicted line-\d\d, line-\d\d \(a tool call goes with its result\)", shown)
    assert "413 MessageTooLarge" in shown
    assert "409 VersionConflict" in shown
    assert "404 MemoryNotFound: this pod binds no memory 'payroll'" in shown
    assert "1000 -> 4000 tokens, effective" in shown
    assert "customer-support   TokenBased   4000" in shown
    assert_nothing_is_left(scratch)


@pytest.mark.parametrize("moment", ["kube-apiserver", "#20"])
def test_ctrl_c_stops_and_removes_everything(scratch: Path, moment: str) -> None:
    """While the stage is set, and in the middle of the conversation."""
    with start(scratch) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if moment in line:
                break
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=60)

    assert demo.returncode == 130, rest
    assert "everything was removed" in rest
    assert_nothing_is_left(scratch)


def test_kept_running_it_says_what_to_try(scratch: Path) -> None:
    """The commands it prints work as they are; Ctrl-C ends it well."""
    with start(scratch, "--keep") as demo:
        assert demo.stdout is not None
        commands = []
        for line in demo.stdout:
            if line.startswith(("  KUBECONFIG=", "  curl ", "  .venv/bin/memctl ")):
                commands.append(line.strip().replace(".venv/bin/memctl", f"{Path(sys.executable).parent}/memctl"))
            if "Ctrl-C stops" in line:
                break
        answers = [subprocess.run(each, shell=True, capture_output=True, text=True, check=False) for each in commands]
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)

    assert [answer.returncode for answer in answers] == [0, 0, 0], answers
    described, counted, read = (answer.stdout for answer in answers)
    assert "Kind:         MemoryResource" in described
    assert '"messages":' in counted
    assert "Summary for the next shift" in read
    assert demo.returncode == 0
    assert_nothing_is_left(scratch)
