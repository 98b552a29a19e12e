"""The example's conversation while operator, sidecar and store are killed: nothing acknowledged is lost or doubled."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_memory import Appended, AsyncMemoryClient, Settings
from agents import Line, read_conversation, work_together
from stage import MANIFEST, MEMORY, NAMESPACE, is_ready, operator_program, sidecar_program
from support.cluster import Cluster
from support.processes import Program
from support.store import Persistence, StoreServer

KILLS = {10: "operator", 20: "sidecar", 30: "store"}  # after so many acknowledged messages
PATIENCE = Settings(timeout_seconds=60.0)  # a client waits for the pod's other container to come back


@pytest.fixture
def store(make_store: Callable[..., StoreServer]) -> StoreServer:
    """Return a store that writes every change to disk before it answers: appendfsync always."""
    return make_store(persistence=Persistence.ALWAYS)


@pytest.fixture
def socket(socket_folder: Path) -> Path:
    """Return where the sidecar listens."""
    return socket_folder / "memory.sock"


@pytest.fixture
def victims(
    cluster: Cluster, namespace: str, store: StoreServer, socket: Path, programs: list[Program]
) -> dict[str, Callable[[], None]]:
    """Start operator and sidecar with the example's memory, large enough for all; return how to crash each."""
    operator = operator_program(socket.parent, cluster, store, namespace=namespace)
    sidecar = sidecar_program(socket.parent, socket, store, namespace=namespace)
    programs += [operator, sidecar]
    operator.start()
    manifest = MANIFEST.read_text().replace(f"namespace: {NAMESPACE}", f"namespace: {namespace}")
    cluster.apply(manifest.replace("maxTokens: 1000", "maxTokens: 100000"))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=20s", f"mem/{MEMORY}", "--namespace", namespace)
    sidecar.start()
    sidecar.wait_until(lambda: is_ready(socket), "the sidecar is ready", timeout_seconds=20)

    def crash(victim: Program | StoreServer) -> Callable[[], None]:
        def kill_and_start() -> None:
            victim.kill()
            victim.start()

        return kill_and_start

    return {"operator": crash(operator), "sidecar": crash(sidecar), "store": crash(store)}


async def test_every_acknowledged_message_is_there_once(victims: dict[str, Callable[[], None]], socket: Path) -> None:
    """kill -9 of each process in the middle of the conversation leaves a whole conversation, in order."""
    acknowledged: dict[str, int] = {}

    async def note(line: Line, answer: Appended) -> None:
        assert answer.messages[0].id == line.id
        acknowledged[line.id] = answer.messages[0].seq
        victim = KILLS.get(len(acknowledged))
        if victim is not None:
            victims[victim]()  # on this thread: a program dies with the thread that started it

    async with AsyncMemoryClient(socket, settings=PATIENCE) as client:
        memory = client.memory(MEMORY)
        await work_together(read_conversation(), memory, note)
        stored = [message async for message in memory.iterate()]
        stats = await memory.stats()

    assert {message.id: message.seq for message in stored} == acknowledged
    assert [message.seq for message in stored] == list(range(1, len(read_conversation()) + 1))
    assert stats.totals.tokens == sum(message.tokens for message in stored)
