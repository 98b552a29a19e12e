"""A pod's sidecar as a process: annotations and configurations in, a socket out. No cluster and no operator."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agent_memory import MemoryClient, errors
from memory_core.config import MemoryConfig, encode_config
from memory_core.keys import MemoryKeys
from memory_core.store import Store, StoreSettings, functions, library
from support.processes import Program, python_module
from support.servers import RunProgram
from support.store import StoreServer

StartPod = Callable[..., Program]


async def _configure(settings: StoreSettings, configurations: tuple[MemoryConfig, ...]) -> None:
    """Do what the operator does: function library and configurations."""
    await library.ensure(settings)
    async with Store(settings) as store:
        await store.wait_connected(5)
        for each in configurations:
            await functions.put_config(store, MemoryKeys(each.ref), epoch=1, blob=encode_config(each))


@pytest.fixture
def start_sidecar(run_program: RunProgram, socket_folder: Path) -> StartPod:
    """Return a function that starts a pod's sidecar at `socket_folder / "memory.sock"` and waits until it is ready."""

    def start(store: StoreServer, annotations: Mapping[str, str], *configurations: MemoryConfig) -> Program:
        asyncio.run(_configure(StoreSettings(url=store.url), configurations))
        podinfo = socket_folder / "podinfo"
        podinfo.mkdir()
        (podinfo / "labels").write_text('app="helpdesk"\n')
        lines = [f"agentmemory.io/{name}={json.dumps(value)}\n" for name, value in annotations.items()]
        (podinfo / "annotations").write_text("".join(lines))
        socket = socket_folder / "memory.sock"
        environment = {
            "POD_NAMESPACE": configurations[0].namespace,
            "POD_NAME": "helpdesk-0",
            "POD_UID": "5f1c3f5e-7f0a-4f0e-9d7c-2f6f4a1d4711",
            "POD_SERVICE_ACCOUNT": "helpdesk",
            "AGENT_MEMORY_PODINFO": str(podinfo),
            "AGENT_MEMORY_SOCKET": str(socket),
            "AGENT_MEMORY_STORE_URL": store.url,
            "AGENT_MEMORY_METRICS_ADDRESS": "",
        }
        sidecar = run_program("sidecar", python_module("memory_sidecar"), environment=environment)
        sidecar.wait_until(lambda: is_ready(socket), "all memories are ready", ignore=(errors.SidecarUnreachable,))
        return sidecar

    return start


def is_ready(socket: Path) -> bool:
    """Tell whether the sidecar answers and has the configuration of all its memories."""
    with MemoryClient(socket) as client:
        return socket.exists() and all(each.ready for each in client.memories())
