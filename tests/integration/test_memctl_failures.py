"""What memctl says, and with which exit code, when something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_memory.memctl.__main__ import main
from support.canned import CannedServer, Turn, drops, hangs, says, sends
from support.memctl import memctl, on_a_terminal
from support.processes import source_path
from support.rights import as_somebody_without_rights

MEMORIES = {"memories": []}


def problem(status: int, reason: str, *headers: str) -> Turn:
    """Answer with a problem."""
    return says({"reason": reason, "detail": "a sentence that says why"}, status, *headers)


@pytest.fixture
def path(socket_folder: Path) -> Path:
    """Return where the peer listens."""
    return socket_folder / "s"


def test_a_missing_socket(path: Path) -> None:
    """It does not wait, as an agent would: it names the path and what to do."""
    done = memctl(path, "get", "--timeout", "600")

    assert (done.returncode, done.stdout) == (3, "")
    assert str(path) in done.stderr
    assert "--socket PATH" in done.stderr


def test_a_forbidden_socket(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, since another user may not be able to read the interpreter."""
    with CannedServer(path, says(MEMORIES)):
        path.chmod(0)
        with as_somebody_without_rights():
            code = main(["get", "--socket", str(path)])

    assert code == 3
    assert "fsGroup" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("turn", "code", "words"),
    [
        (problem(400, "KeyRequired"), 1, "--key KEY"),
        (problem(422, "KeyInvalid"), 1, "--key KEY"),
        (problem(422, "VariableMissing"), 1, "--var NAME=VALUE"),
        (problem(422, "VariableUnknown"), 1, "leave out that --var"),
        (problem(404, "MemoryNotFound"), 1, "`memctl get`"),
        (problem(429, "LimitExceeded"), 1, "LimitExceeded: a sentence that says why"),
        (problem(503, "StoreUnavailable", "Retry-After: 60"), 4, "gave up after 1 attempt"),
        (problem(503, "ConfigurationUnavailable", "Retry-After: 60"), 4, "which memories are ready"),
        (drops, 4, "ConnectionLost"),
        (hangs, 4, "did not answer in time"),
        (problem(500, "Internal"), 5, "Internal"),
        (problem(502, "StoreError"), 5, "StoreError"),
        (sends(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), 5, "not HTTP/1.1"),
        (says({"unexpected": True}), 5, "not as expected"),
    ],
    ids=lambda value: str(value) if isinstance(value, str | int) else "",
)
def test_each_kind_of_failure_has_its_code_and_advice(path: Path, turn: Turn, code: int, words: str) -> None:
    """Nothing on standard output, one clear complaint on standard error, no traceback."""
    with CannedServer(path, turn):
        done = memctl(path, "stats", "m", "--timeout", "0.5")

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("memctl: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_binding(path: Path) -> None:
    """The advice says where the mode comes from."""
    with CannedServer(path, problem(403, "ReadOnlyBinding")):
        done = memctl(path, "append", "m", "user", "hello")

    assert done.returncode == 1
    assert "annotations" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((), "", "COMMAND"),
        (("no-such-command",), "", "invalid choice"),
        (("read",), "", "MEMORY"),
        (("read", "m", "--limit", "0"), "", "whole number"),
        (("read", "m", "--after", "1", "--before", "2"), "", "not allowed with"),
        (("read", "m", "--var", "novalue"), "", "NAME=VALUE"),
        (("get", "--timeout", "soon"), "", "number of seconds"),
        (("append", "m", "user", "hello", "there"), "", "unrecognized"),
        (("append", "m", "--key", "k", "user", "hello", "there"), "", "unrecognized"),
        (("append", "m", "--key", "k", "user", "--nonsense"), "", "unrecognized"),
        (("stats", "m", "--key", "k", "more"), "", "unrecognized"),
        (("append", "m", "user"), "", "CONTENT"),
        (("append", "m"), "", "no messages"),
        (("append", "m"), '{"role":"user","content":"a"}\n{"role":', "line 2"),
        (("append", "m"), '["role"]\n', "line 1"),
        (("clear", "m"), "", "--confirm"),
        (("delete", "m"), "", "--instance"),
        (("delete", "m", "ID", "--instance"), "", "either"),
        (("delete", "m", "--instance"), "", "--confirm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_sends_nothing(path: Path, arguments: tuple[str, ...], stdin: str, words: str) -> None:
    """It ends with 2, as argparse does, and says what to write."""
    with CannedServer(path, says(MEMORIES)) as server:
        done = memctl(path, *arguments, stdin=stdin)

    assert (done.returncode, done.stdout, server.requests) == (2, "", [])
    assert words in done.stderr


def test_a_detail_cannot_steer_the_terminal(path: Path) -> None:
    """The sentences of a sidecar are shown as text, too."""
    with CannedServer(path, says({"reason": "Internal", "detail": "\x1b[2J\nnext"}, 500)):
        done = memctl(path, "get")

    assert "\\x1b[2J next" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_pod_without_memories_is_told_so(path: Path) -> None:
    """An empty table alone would leave people guessing."""
    with CannedServer(path, says(MEMORIES)):
        done = memctl(path, "get")

    assert done.returncode == 0
    assert "agentmemory.io/memory" in done.stderr


def test_a_reader_that_leaves_is_no_failure(path: Path) -> None:
    """As in `memctl read | head`: no traceback, and the exit code of success."""
    bindings = [{"name": "n" * 200, "namespace": "x", "mode": "ReadWrite", "description": "", "ready": True}] * 2000
    with CannedServer(path, says({"memories": bindings})):
        process = subprocess.Popen(
            [sys.executable, "-m", "agent_memory.memctl", "get", "--socket", str(path)],
            env=os.environ | source_path(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        _, complaint = process.communicate(timeout=20)

    assert (process.returncode, complaint) == (0, b"")


def test_the_socket_flag_stands_before_or_after_the_command(path: Path) -> None:
    """And it wins over the environment."""
    with CannedServer(path, says(MEMORIES)):
        assert memctl(Path("/nowhere"), "--socket", str(path), "get").returncode == 0
        assert memctl(Path("/nowhere"), "get", "--socket", str(path)).returncode == 0


@pytest.mark.parametrize(("typed", "code", "cleared"), [(b"y\n", 0, True), (b"n\n", 2, False), (b"\n", 2, False)])
def test_on_a_terminal_clear_asks(path: Path, typed: bytes, code: int, cleared: bool) -> None:
    """It shows how much would go, and only yes goes on."""
    totals = {"messages": 12, "tokens": 340, "bytes": 2000}
    present = {"key": "case-1", "exists": True, "version": 3, "totals": totals, "limits": {}, "utilization": {}}
    present |= {"roles": {}, "created_at": None, "updated_at": None, "expires_at": None, "last_seq": 12}
    with CannedServer(path, says(present), says({"key": "case-1", "removed": 12, "version": 4})) as server:
        screen, exit_code = on_a_terminal(path, "clear", "m", "--key", "case-1", typed=typed)

    assert "remove all messages of case-1: 12 messages (340 tokens)" in screen
    assert exit_code == code
    assert any(b"/clear" in request for request in server.requests) is cleared


def test_tables_are_coloured_on_a_terminal_and_not_with_no_color(path: Path) -> None:
    """Colours are for people who did not say no."""
    bindings = [{"name": "m", "namespace": "x", "mode": "ReadWrite", "description": "d" * 500, "ready": True}]
    with CannedServer(path, says({"memories": bindings})):
        coloured, _ = on_a_terminal(path, "get")
        plain, _ = on_a_terminal(path, "get", NO_COLOR="1")

    assert "\x1b[1mNAME" in coloured
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 80
