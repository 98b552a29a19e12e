"""memctl with a real sidecar and a real store: each command does what its help says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from memory_core.keys import MemoryRef
from support.conversations import configuration
from support.memctl import memctl, on_a_terminal
from support.pod import StartPod
from support.processes import REPOSITORY
from support.store import StoreServer

SUPPORT = MemoryRef("helpdesk", "support")
TEAMS = MemoryRef("helpdesk", "teams")
CASE = ("support", "--key", "case-1")


@pytest.fixture
def path(start_sidecar: StartPod, valkey: StoreServer, socket_folder: Path) -> Path:
    """Return the socket of the sidecar of a pod with two memories, one of them to read only."""
    start_sidecar(
        valkey,
        {"memories": "[{memory: support}, {memory: teams, mode: ReadOnly}]"},
        configuration(SUPPORT, description="one conversation per case", max_tokens=200_000, max_messages=1000),
        configuration(TEAMS, key_template="{{ team }}-{{ key }}"),
    )
    return socket_folder / "memory.sock"


def test_get_lists_the_memories_and_describes_one(path: Path) -> None:
    """A table of bindings; then the policy in effect."""
    listed = memctl(path, "get")
    described = memctl(path, "get", "support")

    assert (listed.returncode, listed.stderr) == (0, "")
    header, *rows = listed.stdout.splitlines()
    assert header.split() == ["NAME", "NAMESPACE", "MODE", "READY", "DESCRIPTION"]
    assert [row.split()[:4] for row in rows] == [
        ["support", "helpdesk", "ReadWrite", "yes"],
        ["teams", "helpdesk", "ReadOnly", "yes"],
    ]
    assert re.search(r"limits max tokens: +200000", described.stdout)
    assert re.search(r"ttl seconds: +-", described.stdout)


def test_append_and_read(path: Path) -> None:
    """One message from the command line, then the conversation."""
    appended = memctl(path, "append", *CASE, "user", "My parcel is late.")
    shown = memctl(path, "read", *CASE)

    assert appended.returncode == 0
    assert "case-1: 1 message" in appended.stderr
    assert shown.stdout.splitlines()[1].split(maxsplit=3)[::3] == ["1", "My parcel is late."]
    assert "case-1: 1 of 1 message (" in shown.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["support", "user", "hi", "--key", "k"],
        ["support", "--key", "k", "user", "hi"],
        ["support", "user", "--key", "k", "hi"],
        ["--key", "k", "support", "user", "hi"],
        ["--key", "k", "--", "support", "user", "hi"],
        ["support", "--key", "k", "--", "user", "hi"],
    ],
    ids=" ".join,
)
def test_options_may_stand_anywhere(path: Path, words: list[str]) -> None:
    """Before, between and behind the arguments."""
    memctl(path, "append", *words)

    shown = json.loads(memctl(path, "read", "support", "--key", "k", "-o", "json").stdout)
    assert [(one["role"], one["content"]) for one in shown["messages"]] == [("user", "hi")]


def test_append_takes_json_lines_of_any_number(path: Path) -> None:
    """More than one request can carry; empty lines are nothing."""
    lines = [json.dumps({"role": "user", "content": f"line {number}"}) + "\n\n" for number in range(700)]
    appended = memctl(path, "append", "support", "--key", "long", "-o", "json", stdin="".join(lines))
    answer = json.loads(appended.stdout)

    assert [one["seq"] for one in answer["messages"]] == list(range(1, 701))
    assert answer["evicted"] == []
    assert appended.stderr == ""


def test_a_batch_that_fails_says_what_was_appended_before(path: Path) -> None:
    """All or none is true of a batch, not of the whole input."""
    lines = [json.dumps({"role": "user", "content": "x"})] * 500 + [json.dumps({"role": "robot", "content": "x"})]
    done = memctl(path, "append", *CASE, stdin="\n".join(lines))

    assert done.returncode == 1
    assert "the first 500 of 501 messages were appended" in done.stderr
    assert json.loads(memctl(path, "stats", *CASE, "-o", "json").stdout)["totals"]["messages"] == 500


def test_read_pages(path: Path) -> None:
    """Every option narrows, turns or extends the page."""
    lines = [
        json.dumps({"role": role, "content": f"{number}"}) for number, role in enumerate(["user", "assistant"] * 5)
    ]
    memctl(path, "append", *CASE, stdin="\n".join(lines))

    def seqs(*options: str) -> list[int]:
        answer = json.loads(memctl(path, "read", *CASE, "-o", "json", *options).stdout)
        return [message["seq"] for message in answer["messages"]]

    assert seqs("--limit", "3") == [1, 2, 3]
    assert seqs("--limit", "3", "--after", "4") == [5, 6, 7]
    assert seqs("--limit", "3", "--order", "desc") == [10, 9, 8]
    assert seqs("--limit", "3", "--order", "desc", "--before", "4") == [3, 2, 1]
    assert seqs("--limit", "3", "--all") == list(range(1, 11))
    assert seqs("--limit", "3", "--all", "--order", "desc") == list(range(10, 0, -1))
    assert seqs("--roles", "assistant") == [2, 4, 6, 8, 10]
    assert "more with --after 3, or --all" in memctl(path, "read", *CASE, "--limit", "3").stderr


def test_tool_calls_are_shown_by_name(path: Path) -> None:
    """A message without text is not an empty line."""
    call = {"id": "c1", "type": "function", "function": {"name": "track_parcel", "arguments": "{}"}}
    lines = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "in transit"},
    ]
    memctl(path, "append", *CASE, stdin="\n".join(map(json.dumps, lines)))

    shown = memctl(path, "read", *CASE).stdout

    assert "calls track_parcel" in shown
    assert "in transit" in shown


def test_json_and_yaml_say_the_same(path: Path) -> None:
    """Both are the sidecar's answer."""
    memctl(path, "append", *CASE, "user", "Größe: 3\n- nicht: YAML")

    as_json = json.loads(memctl(path, "read", *CASE, "-o", "json").stdout)
    assert yaml.safe_load(memctl(path, "read", *CASE, "-o", "yaml").stdout) == as_json
    assert as_json["messages"][0]["content"] == "Größe: 3\n- nicht: YAML"


def test_stats(path: Path) -> None:
    """How full, against which limit."""
    memctl(path, "append", *CASE, "user", "hello")
    shown = memctl(path, "stats", *CASE).stdout

    assert re.search(r"^messages: +1 of 1,000 \(0%\)$", shown, re.MULTILINE)
    assert re.search(r"^tokens: +\d+ of 200,000 \(\d%\)$", shown, re.MULTILINE)
    assert re.search(r"^roles: +1 user$", shown, re.MULTILINE)
    assert re.search(r"^expires at: +-$", shown, re.MULTILINE)
    assert re.search(r"^exists: +no$", memctl(path, "stats", "support", "--key", "none").stdout, re.MULTILINE)


def test_clear_and_delete(path: Path) -> None:
    """With --confirm nothing is asked; one message needs no confirmation."""
    for content in ("a", "b", "c"):
        memctl(path, "append", *CASE, "user", content)
    first = json.loads(memctl(path, "read", *CASE, "-o", "json").stdout)["messages"][0]["id"]

    assert memctl(path, "delete", *CASE, first).stdout == f"case-1: removed {first}\n"
    assert memctl(path, "clear", *CASE, "--confirm").stdout == "case-1: removed 2 messages\n"
    assert memctl(path, "delete", *CASE, "--instance", "--confirm").stdout == "case-1: deleted, with 0 messages\n"
    assert memctl(path, "delete", *CASE, "--instance", "--confirm").returncode == 1


def test_clear_on_a_terminal(path: Path) -> None:
    """It asks, with the numbers of the conversation in hand."""
    memctl(path, "append", *CASE, "user", "hello")

    screen, code = on_a_terminal(path, "clear", *CASE, typed=b"yes\n")

    assert code == 0
    assert "remove all messages of case-1: 1 message (" in screen
    assert "removed 1 message" in screen


def test_explain_key(path: Path) -> None:
    """The conversation that key and variables name, or which flag is missing."""
    explained = memctl(path, "explain-key", "teams", "--key", "7", "--var", "team=red")
    refused = memctl(path, "explain-key", "teams", "--key", "7")

    assert re.search(r"^key: +red-7$", explained.stdout, re.MULTILINE)
    assert re.search(r"^template: +\{\{ team \}\}-\{\{ key \}\}$", explained.stdout, re.MULTILINE)
    assert refused.returncode == 1
    assert "VariableMissing" in refused.stderr
    assert "--var NAME=VALUE" in refused.stderr


def test_a_missing_key_names_the_flag(path: Path) -> None:
    """A scope is never guessed."""
    done = memctl(path, "read", "support")

    assert done.returncode == 1
    assert "--key KEY" in done.stderr


def test_a_read_only_binding_refuses(path: Path) -> None:
    """The mode is the sidecar's to enforce."""
    done = memctl(path, "append", "teams", "--key", "7", "--var", "team=red", "user", "hello")

    assert done.returncode == 1
    assert "ReadOnlyBinding" in done.stderr


def readme_commands() -> list[list[str]]:
    """Return the memctl commands of client/README.md that need no file."""
    block = (REPOSITORY / "client/README.md").read_text().split("```console\n")[1].split("```")[0]
    lines = [line.removeprefix("$ memctl ") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if "<" not in line]


def test_the_commands_of_the_readme(path: Path) -> None:
    """They are understood and do something; the message is named by its real id, and clear is confirmed."""
    message_id = ""
    for words in readme_commands():
        arguments = [message_id if word == "MESSAGE-ID" else word for word in words]
        done = memctl(path, *arguments, *(["--confirm"] if words[0] == "clear" else []))
        assert done.returncode == 0, (words, done.stderr)
        if words[0] == "append":
            message_id = json.loads(memctl(path, "read", *words[1:4], "-o", "json").stdout)["messages"][0]["id"]
