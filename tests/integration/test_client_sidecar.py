"""The clients with a real sidecar and a real store: every call, and exactly-once over lost answers and crashes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_memory import AsyncMemoryClient, Memory, MemoryClient, Settings, errors
from memory_core.keys import MemoryRef
from support.canned import CannedServer, drops, forwards
from support.conversations import configuration
from support.pod import StartPod
from support.processes import REPOSITORY, Program
from support.store import StoreServer
from support.waiting import wait_until

SUPPORT = MemoryRef("helpdesk", "support")
TEAMS = MemoryRef("helpdesk", "teams")
SMALL = MemoryRef("helpdesk", "small")
PATIENT = Settings(timeout_seconds=30.0)

CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "in transit"}


@pytest.fixture
def sidecar(start_sidecar: StartPod, valkey: StoreServer) -> Program:
    """Return the sidecar of a pod with three memories."""
    return start_sidecar(
        valkey,
        {"memories": "[{memory: support}, {memory: teams}, {memory: small, mode: ReadWrite}]"},
        configuration(SUPPORT, description="one per case", ttl_ms=3_600_000),
        configuration(TEAMS, key_template="{{ team }}-{{ key }}"),
        configuration(SMALL, max_messages=2, overflow="Reject"),
    )


@pytest.fixture
def path(sidecar: Program, socket_folder: Path) -> Path:
    """Return the socket of the sidecar."""
    return socket_folder / "memory.sock"


@pytest.fixture
def client(path: Path) -> Generator[MemoryClient]:
    """Return a client of the sidecar."""
    with MemoryClient(path) as client:
        yield client


@pytest.fixture
def case(client: MemoryClient) -> Memory:
    """Return a conversation that does not exist yet."""
    return client.memory("support", key="case-1")


def texts(memory: Memory, **options: Any) -> list[str]:
    """Return the texts of a conversation."""
    return [message.text for message in memory.iterate(**options)]


def test_the_memories_of_the_pod(client: MemoryClient) -> None:
    """Bindings first, then the policy of one."""
    assert [(one.name, one.namespace, one.mode, one.ready) for one in client.memories()] == [
        ("support", "helpdesk", "ReadWrite", True),
        ("teams", "helpdesk", "ReadWrite", True),
        ("small", "helpdesk", "ReadWrite", True),
    ]
    description = client.memory("support").describe()
    assert (description.description, description.ttl_seconds) == ("one per case", 3600)
    assert description.key["template"] == "{{ key }}"
    assert client.memory("small").describe().limits["max_messages"] == 2


def test_an_appended_message_comes_back_whole(case: Memory) -> None:
    """What was appended, and what the system added."""
    message = {
        "id": "m-1",
        "role": "user",
        "content": [{"type": "text", "text": "Wo ist mein Päckchen? 📦"}],
        "name": "ada",
        "payload": {"any": [1, 2.5, None, {"deep": "x"}]},
        "metadata": {"channel": "mail"},
        "pinned": True,
    }
    appended = case.append(message)
    page = case.read()

    assert (appended.messages[0].id, appended.messages[0].seq) == ("m-1", 1)
    assert page.version == appended.version
    assert appended.durability == "stored"
    assert page.totals == appended.totals
    stored = page.messages[0]
    assert {name: stored.data[name] for name in message} == message
    assert (stored.seq, stored.role, stored.text) == (1, "user", "Wo ist mein Päckchen? 📦")
    assert stored.tokens == appended.messages[0].tokens


def test_a_missing_conversation_reads_as_empty(case: Memory) -> None:
    """Nothing has to be created first."""
    assert case.read().version == 0
    assert list(case.iterate()) == []
    assert not case.stats().exists


def test_pages_in_both_directions(case: Memory) -> None:
    """Every message once, whatever the size of a page; roles choose."""
    case.append([{"role": "user" if number % 2 else "assistant", "content": f"{number}"} for number in range(1, 26)])

    everything = [str(number) for number in range(1, 26)]
    assert texts(case, page_size=7) == everything
    assert texts(case, page_size=7, order="desc") == everything[::-1]
    assert texts(case, page_size=3, roles=["user"]) == everything[::2]
    page = case.read(after=20, limit=2)
    assert [message.seq for message in page.messages] == [21, 22]
    assert case.read(after=page.next).messages[0].seq == 23
    assert [message.seq for message in case.read(before=3, order="desc").messages] == [2, 1]


def test_a_tool_call_goes_with_its_result(case: Memory) -> None:
    """Removing one removes the unit; what is not there is named."""
    ids = [one.id for one in case.append([{"role": "user", "content": "where?"}, CALL, RESULT]).messages]

    removed = case.delete_message(ids[1])

    assert set(removed.removed) == {ids[1], ids[2]}
    assert removed.totals.messages == 1
    with pytest.raises(errors.MessageNotFound):
        case.delete_message(ids[1])


def test_clear_keeps_the_numbering_and_delete_ends_the_conversation(case: Memory) -> None:
    """A seq is never used again."""
    case.append([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])

    assert case.clear().removed == 2
    assert case.append({"role": "user", "content": "c"}).messages[0].seq == 3
    deleted = case.delete_instance()
    assert (deleted.deleted, deleted.messages) == (True, 1)
    with pytest.raises(errors.InstanceNotFound):
        case.delete_instance()


def test_stats_and_health(case: Memory) -> None:
    """Numbers of the conversation, probes of the memory."""
    appended = case.append([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    stats = case.stats()

    assert (stats.key, stats.exists, stats.version, stats.last_seq) == ("case-1", True, appended.version, 2)
    assert stats.roles == {"user": 1, "assistant": 1}
    assert stats.totals.messages == 2
    assert stats.created_at is not None
    assert stats.expires_at is not None
    assert stats.created_at <= stats.expires_at
    health = case.health()
    assert health.healthy
    assert health.checks["store"]["ok"]


def test_keys_and_variables_name_the_conversation(client: MemoryClient) -> None:
    """The handle's, the call's, and what the template makes of them."""
    team = client.memory("teams", variables={"team": "red"})
    team.append({"role": "user", "content": "hello"}, key="1")

    assert team.explain_key(key="1").key == "red-1"
    assert team.read(key="1").totals.messages == 1
    assert team.read(key="1", variables={"team": "blue"}).totals.messages == 0
    assert client.memory("teams", key="1").clear(variables={"team": "red"}).removed == 1


def test_a_scope_is_never_guessed(client: MemoryClient) -> None:
    """No key, half a key, an unknown variable: each is its own refusal."""
    with pytest.raises(errors.KeyRequired):
        client.memory("support").read()
    with pytest.raises(errors.VariableMissing):
        client.memory("teams", key="1").read()
    with pytest.raises(errors.VariableUnknown):
        client.memory("support", key="1", variables={"team": "red"}).read()
    with pytest.raises(errors.MemoryNotFound):
        client.memory("payroll", key="1").read()


def test_refusals_carry_their_facts(client: MemoryClient, case: Memory) -> None:
    """Enough to act upon without parsing a sentence."""
    version = case.append({"id": "x", "role": "user", "content": "a"}).version
    with pytest.raises(errors.VersionConflict) as conflict:
        case.append({"role": "user", "content": "b"}, expected_version=version - 1)
    assert conflict.value.facts["version"] == version
    with pytest.raises(errors.DuplicateMessageId):
        case.append({"id": "x", "role": "user", "content": "again"})
    with pytest.raises(errors.InvalidRequest):
        case.append({"role": "robot", "content": "beep"})

    small = client.memory("small", key="1")
    small.append([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])
    with pytest.raises(errors.LimitExceeded) as full:
        small.append({"role": "user", "content": "c"})
    assert full.value.facts["totals"]["messages"] == 2


def test_the_same_idempotency_key_is_the_same_append(case: Memory) -> None:
    """The first answer comes back; another body with it is a mistake."""
    first = case.append({"role": "user", "content": "a"}, idempotency_key="once")

    assert case.append({"role": "user", "content": "a"}, idempotency_key="once") == first
    with pytest.raises(errors.IdempotencyMismatch):
        case.append({"role": "user", "content": "b"}, idempotency_key="once")
    assert texts(case) == ["a"]


def test_lost_answers_and_lost_requests_double_nothing(path: Path, socket_folder: Path, case: Memory) -> None:
    """Connections break before the sidecar has a request, or after it was carried out: each message is there once."""
    chance = random.Random(7)
    ways = [drops, forwards(path, and_drops=True), forwards(path), forwards(path)]
    turns = [chance.choice(ways) for _ in range(200)]
    with (
        CannedServer(socket_folder / "lossy", *turns, forwards(path)) as lossy,
        MemoryClient(lossy.path, settings=PATIENT) as client,
    ):
        memory = client.memory("support", key="case-1")
        acknowledged = [memory.append({"role": "user", "content": f"{number}"}).messages[0] for number in range(60)]

    assert len(lossy.requests) > 100, "answers were lost"
    assert texts(case) == [f"{number}" for number in range(60)]
    assert [one.seq for one in acknowledged] == list(range(1, 61))


def test_an_append_given_up_can_be_continued(path: Path, socket_folder: Path, case: Memory) -> None:
    """The error's idempotency key makes a later attempt the same append."""
    with (
        CannedServer(socket_folder / "lossy", forwards(path, and_drops=True)) as lossy,
        MemoryClient(lossy.path, settings=Settings(timeout_seconds=0.3)) as client,
        pytest.raises(errors.ConnectionLost) as given_up,
    ):
        client.memory("support", key="case-1").append({"role": "user", "content": "a"})

    answer = case.append({"role": "user", "content": "a"}, idempotency_key=str(given_up.value.facts["idempotency_key"]))
    assert answer.messages[0].seq == 1
    assert texts(case) == ["a"]


def test_a_sidecar_that_is_killed_again_and_again_loses_and_doubles_nothing(path: Path, sidecar: Program) -> None:
    """Eight writers on one conversation; what was acknowledged is there once, and each writer's order is kept."""
    acknowledged: list[tuple[str, int]] = []

    async def write(client: AsyncMemoryClient, writer: int) -> None:
        memory = client.memory("support", key="case-1")
        for number in range(60):
            answer = await memory.append({"role": "user", "content": f"{writer}:{number}"})
            acknowledged.append((f"{writer}:{number}", answer.messages[0].seq))

    async def write_all() -> None:
        async with (
            AsyncMemoryClient(path, settings=Settings(timeout_seconds=60)) as client,
            asyncio.TaskGroup() as group,
        ):
            for writer in range(8):
                group.create_task(write(client, writer))

    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(lambda: asyncio.run(write_all()))
        for goal in (40, 80, 120, 160, 200):
            wait_until(lambda goal=goal: len(acknowledged) >= goal, f"{goal} messages", timeout_seconds=60)
            sidecar.kill()
            sidecar.start()
    written.result()
    with MemoryClient(path, settings=PATIENT) as client:
        stored = [(message.text, message.seq) for message in client.memory("support", key="case-1").iterate()]

    assert [seq for _, seq in stored] == list(range(1, 481))
    assert sorted(stored) == sorted(acknowledged)
    for writer in range(8):
        texts_in_order = [text for text, _ in stored if text.startswith(f"{writer}:")]
        assert texts_in_order == [f"{writer}:{number}" for number in range(60)]


def test_a_restarted_sidecar_is_found_again(case: Memory, sidecar: Program) -> None:
    """Idle connections of before are no hindrance, not even for a clear."""
    case.append({"role": "user", "content": "a"})
    sidecar.stop()
    sidecar.start()

    assert case.clear().removed == 1


def readme_examples() -> list[str]:
    """Return the Python of client/README.md."""
    blocks = (REPOSITORY / "client/README.md").read_text().split("```python\n")[1:]
    return [block.split("```")[0] for block in blocks]


def test_the_examples_of_the_readme(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They run as they stand, one after the other, with the socket found through the environment."""
    monkeypatch.setenv("AGENT_MEMORY_SOCKET", str(path))
    for example in readme_examples():
        exec(compile(example, "client/README.md", "exec"), {"__name__": "__main__"})

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 messages, ")
    assert lines[1:4] == [
        "1 user My parcel is late.",
        "2 assistant Let me look that up.",
        "3 assistant It arrives tomorrow.",
    ]
    assert lines[4].startswith("somebody else wrote: the conversation is at version ")
    assert lines[5] == "3 of 3"
