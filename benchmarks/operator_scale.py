"""How long a cold start of the operator takes until every existing MemoryResource is Ready, on a real kube-apiserver.

    python benchmarks/operator_scale.py [COUNT]

Prints seconds from the start of the process, and their ratio to the bare cost of the same writes: one status patch per
object, sent by a minimal client with as many connections as the operator has workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import aiohttp

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]  # for `support`

from support.control_plane import ADMIN, ControlPlane  # noqa: E402
from support.network import free_ports  # noqa: E402
from support.processes import Program, python_module, source_path  # noqa: E402
from support.store import StoreServer  # noqa: E402

CRDS = Path(__file__).parents[1] / "crds"
PATH = "/apis/agentmemory.io/v1alpha1/namespaces/default/memoryresources"
IN_EFFECT = 'agentmemory_operator_memories{reason="InEffect"} '
WORKERS = 16  # the operator's default
SPEC = {"type": "TokenBased", "limits": {"maxTokens": 8000}}
CONDITION = {
    "status": "True",
    "reason": "InEffect",
    "message": "Configuration revision 1795445533296 is in the store.",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
STATUS = {
    "observedGeneration": 1,
    "configRevision": 1795445533296,
    "conditions": [{"type": kind, **CONDITION} for kind in ("Ready", "Reconciling", "Stalled")],
}


class Client:
    """Requests to the API server, with nothing around them."""

    def __init__(self, plane: ControlPlane) -> None:
        self._session = aiohttp.ClientSession(
            plane.url,
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=plane.certificate), limit=WORKERS),
            headers={"Authorization": f"Bearer {ADMIN.token}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """Return the parsed answer."""
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": kind}) as answer:
            answer.raise_for_status()
            return json.loads(await answer.read())

    async def patch(self, path: str, body: Any) -> None:
        """Merge `body` into an object."""
        await self.send("PATCH", path, body, "application/merge-patch+json")


async def in_parallel(count: int, work: Any) -> float:
    """Do `work(number)` for each number, WORKERS at a time; return the seconds it took."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return time.perf_counter() - started


async def create(client: Client, count: int, prefix: str) -> None:
    """Create memories that nobody has touched."""

    async def one(number: int) -> None:
        name = {"name": f"{prefix}-{number}", "namespace": "default"}
        body = {"apiVersion": "agentmemory.io/v1alpha1", "kind": "MemoryResource", "metadata": name, "spec": SPEC}
        await client.send("POST", PATH, body)

    await in_parallel(count, one)


async def bare_writes(client: Client, count: int) -> float:
    """Return the seconds that the writes alone take."""
    await create(client, count, "bare")

    async def one(number: int) -> None:
        await client.patch(f"{PATH}/bare-{number}/status", {"status": STATUS})

    seconds = await in_parallel(count, one)
    await client.send("DELETE", PATH)
    return seconds


async def ready_count(client: Client) -> int:
    """Return how many memories are Ready."""
    items = (await client.send("GET", f"{PATH}"))["items"]
    return sum(
        condition["type"] == "Ready" and condition["status"] == "True"
        for item in items
        for condition in item.get("status", {}).get("conditions", ())
    )


async def operator_writes(client: Client, count: int, operator: Program, metrics: str) -> float:
    """Return the seconds from the start of the operator until all memories are Ready."""
    await create(client, count, "memory")
    started = time.perf_counter()
    operator.start()
    while await announced_count(metrics) < count:
        await asyncio.sleep(0.2)
        if not operator.running:
            raise SystemExit(operator.tail())
    seconds = time.perf_counter() - started
    if await ready_count(client) != count:
        raise SystemExit("the operator's metric and the API server disagree")
    return seconds


async def announced_count(address: str) -> int:
    """Return how many memories are Ready by the operator's own metric, which costs the API server nothing to ask."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
            text = await answer.text()
    except aiohttp.ClientError:
        return 0  # not listening yet
    return int(float(text.partition(IN_EFFECT)[2].partition("\n")[0] or 0))


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


async def measure(count: int) -> None:
    """Run both, and print."""
    with ControlPlane() as plane, StoreServer() as store, tempfile.TemporaryDirectory() as folder:
        plane.admin.apply(CRDS)
        plane.admin.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", CRDS)
        metrics = f"127.0.0.1:{free_ports(1)[0]}"
        environment = source_path() | {
            "KUBECONFIG": str(plane.admin.kubeconfig),
            "AGENT_MEMORY_STORE_URL": store.url,
            "AGENT_MEMORY_METRICS_ADDRESS": metrics,
        }
        command = python_module("memory_operator")
        operator = Program("operator", command, log=Path(folder) / "operator.log", environment=environment)
        async with Client(plane) as client:
            await bare_writes(client, 100)  # warms the API server
            bare = await bare_writes(client, count)
            seconds = await operator_writes(client, count, operator, metrics)
        used = processor_seconds(operator.pid)
        memory = resident_megabytes(operator.pid)
        operator.stop()
    print(f"{count} memories Ready {seconds:.2f} s after the start of the operator's process")
    print(f"  {count / seconds:.0f} patches a second; the same patches alone took {bare:.2f} s")
    print(f"  ratio {seconds / bare:.2f}")
    print(f"  operator: {used:.2f} s of processor time, {memory} MB resident")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
