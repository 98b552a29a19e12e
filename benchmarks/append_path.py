"""What a memory operation costs through the sidecar, as ratios to a raw GET of the same store by the same C client.

    python benchmarks/append_path.py [ROUNDS [SECONDS]]

Starts a Valkey without persistence and a sidecar, and lets a load generator in C (uload.c, compiled now) play the
agent: one connection, one request on its way. Messages have 135 words, about 140 tokens and 900 bytes. All variants
alternate in each round; a figure is the median over rounds, a ratio the median of each round's ratio. A process of the
lowest priority spins on each processor and keeps it from halting: waking a virtual one costs more than a GET, and would
be all there is to see. The store's and the sidecar's own time for a request ("cpu us") depends less on what else runs.

Then 32 writers append to one conversation at once, and what the store holds afterwards is compared with what was
acknowledged: nothing lost, nothing twice, no gap in the sequence.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]  # for `support`

from agent_memory import MemoryClient  # noqa: E402
from memory_core.config import MemoryConfig, TokenizerConfig, encode_config  # noqa: E402
from memory_core.keys import InstanceKeys, MemoryKeys, MemoryRef  # noqa: E402
from memory_core.store import Store, StoreSettings, functions, library  # noqa: E402
from support.processes import Program, python_module, source_path  # noqa: E402
from support.store import StoreServer  # noqa: E402

SOURCE = Path(__file__).with_name("uload.c")
SIZES = (10, 1_000, 100_000)
DISTINCT = 256  # messages that are sent in turn, so that nothing profits from seeing the same text again
WRITERS = 32
VALUE = "v" * 300
TEXT = (
    "the customer reports that invoice number four was charged twice although her subscription had been cancelled in "
    "march and support confirmed it by email she would like the second payment returned to the same credit card before "
    "the end of this month and asks whether other accounts of the company could be affected as well please check the "
    "billing history forward the confirmation to accounting and keep the conversation open until somebody has answered"
)
COUNTER = "#" * 16  # the load generator puts the number of the request here

EXACT = TokenizerConfig(provider="openai", encoding="o200k_base", fallback="Reject")
ESTIMATE = TokenizerConfig(provider="openai", encoding=None, fallback="Estimate")


@dataclass(frozen=True)
class Variant:
    """One kind of request: where it goes, and the file that holds the requests."""

    name: str
    address: str
    requests: Path


@dataclass(frozen=True)
class Bench:
    """Everything that runs, and a folder for files."""

    folder: Path
    store: StoreServer
    sidecar: Program

    @property
    def uload(self) -> Path:
        """Return the compiled load generator."""
        return self.folder / "uload"

    @property
    def socket(self) -> str:
        """Return the sidecar's socket."""
        return str(self.folder / "memory.sock")

    def load(self, variant: Variant, connections: int, seconds: float) -> dict[str, float]:
        """Run the load generator and return its figures."""
        command = [str(self.uload), variant.address, str(variant.requests), str(connections), str(seconds)]
        before = [processor_microseconds(each.pid) for each in (self.sidecar, self.store.program)]
        figures: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        after = [processor_microseconds(each.pid) for each in (self.sidecar, self.store.program)]
        for name, start, end in zip(("sidecar_cpu_us", "store_cpu_us"), before, after, strict=True):
            figures[name] = (end - start) / figures["n"]
        return figures

    def requests(self, name: str, bodies: list[bytes]) -> Path:
        """Write a file of requests."""
        path = self.folder / f"{name}.requests"
        path.write_bytes(b"".join(b"%d\n%b" % (len(body), body) for body in bodies))
        return path


def processor_microseconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def config(name: str, tokenizer: TokenizerConfig, max_messages: int | None) -> MemoryConfig:
    """Return a memory that evicts at `max_messages`, or never."""
    return MemoryConfig(
        namespace="bench",
        name=name,
        description="",
        type="MessageCountBased",
        max_tokens=None,
        max_messages=max_messages,
        max_message_bytes=262_144,
        overflow="Evict",
        flush_threshold=0.8,
        key_template="{{ key }}",
        key_default=None,
        tokenizer=tokenizer,
        ttl_ms=86_400_000,
    )


CONFIGS = (
    config("exact", EXACT, None),
    config("estimate", ESTIMATE, None),
    *(config(f"full-{size}", EXACT, size) for size in SIZES),
)


def messages(count: int) -> list[dict[str, str]]:
    """Return messages of 135 words, all different, always the same ones."""
    dice, words = random.Random(7), TEXT.split()
    return [{"role": "user", "content": " ".join(dice.choices(words, k=135))} for _ in range(count)]


def post(memory: str, key: str, batch: list[dict[str, str]], **more: str) -> bytes:
    """Return an append as bytes."""
    body = json.dumps({"key": key, "messages": batch, **more}).encode()
    head = f"POST /v1/memories/{memory}/messages HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(memory: str, tail: str) -> bytes:
    """Return a GET as bytes."""
    return f"GET /v1/memories/{memory}/{tail} HTTP/1.1\r\nHost: m\r\n\r\n".encode()


async def configure(url: str) -> None:
    """Do what the operator does."""
    settings = StoreSettings(url=url)
    await library.ensure(settings)
    async with Store(settings) as store:
        await store.wait_connected(5)
        for each in CONFIGS:
            await functions.put_config(store, MemoryKeys(each.ref), epoch=1, blob=encode_config(each))


@contextmanager
def running() -> Iterator[Bench]:
    """Start the store and the sidecar, and keep the processors awake."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentmemory-bench-")))
        compiler = shutil.which("cc") or shutil.which("gcc") or sys.exit("benchmarks need a C compiler: install gcc")
        subprocess.run([compiler, "-O2", "-o", folder / "uload", SOURCE], check=True)
        store = stack.enter_context(StoreServer())
        asyncio.run(configure(store.url))
        (folder / "labels").write_text("")
        names = ",".join(each.name for each in CONFIGS)
        (folder / "annotations").write_text(f'agentmemory.io/memory="true"\nagentmemory.io/memories="{names}"\n')
        environment = {
            "POD_NAMESPACE": "bench",
            "AGENT_MEMORY_PODINFO": str(folder),
            "AGENT_MEMORY_SOCKET": str(folder / "memory.sock"),
            "AGENT_MEMORY_STORE_URL": store.url,
            "AGENT_MEMORY_METRICS_ADDRESS": "",
        }
        sidecar = stack.enter_context(
            Program(
                "sidecar",
                python_module("memory_sidecar"),
                log=folder / "sidecar.log",
                environment=source_path() | environment,
            )
        )
        sidecar.wait_until((folder / "memory.sock").exists, "the sidecar listens")
        for cpu in range(os.cpu_count() or 1):
            spinner = subprocess.Popen([folder / "uload", "spin", str(cpu)])
            stack.callback(spinner.wait)
            stack.callback(spinner.kill)
        yield Bench(folder, store, sidecar)


def resident_megabytes(bench: Bench) -> float:
    """Return the memory of the sidecar."""
    status = Path(f"/proc/{bench.sidecar.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def prefill(bench: Bench, size: int) -> None:
    """Fill a conversation up to its limit."""
    batch = messages(min(size, 1_000))
    with MemoryClient(bench.socket) as client:
        memory = client.memory(f"full-{size}", key="k")
        for _ in range(size // len(batch)):
            memory.append(batch)


def variants(bench: Bench) -> list[Variant]:
    """Return what is measured, the raw GET first."""
    with bench.store.client() as client:
        client.set("raw", VALUE)
    distinct = messages(DISTINCT)
    raw = Variant(
        "raw GET", f"127.0.0.1:{bench.store.port}", bench.requests("raw", [b"*2\r\n$3\r\nGET\r\n$3\r\nraw\r\n"])
    )

    def appends(name: str, memory: str, **more: str) -> Variant:
        bodies = [post(memory, "k", [each], **more) for each in distinct]
        return Variant(name, bench.socket, bench.requests(name.replace(" ", "-"), bodies))

    return [
        raw,
        Variant(
            "healthz, no store", bench.socket, bench.requests("healthz", [b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n"])
        ),
        appends("append, tiktoken", "exact"),
        appends("append, estimate", "estimate"),
        appends("append, idempotent", "exact", idempotency_key=COUNTER),
        Variant(
            "read 50", bench.socket, bench.requests("read", [get("full-1000", "messages?key=k&limit=50&order=desc")])
        ),
        *(appends(f"append at {size:,}", f"full-{size}") for size in SIZES),
    ]


def measure(bench: Bench, rounds: int, seconds: float) -> None:
    """Alternate all variants and print a table."""
    kinds = variants(bench)
    found: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            found[kind.name].append(bench.load(kind, 1, seconds))
    columns = ("p50_us", "p99_us", "per_second", "sidecar_cpu_us", "store_cpu_us")
    print(f"{'one connection':20}" + "".join(f"{name:>15}" for name in columns) + f"{'p50 / raw GET':>15}")
    for kind in kinds:
        runs = found[kind.name]
        figures = [statistics.median(run[name] for run in runs) for name in columns]
        pairs = zip(runs, found["raw GET"], strict=True)
        ratio = statistics.median(run["p50_us"] / raw["p50_us"] for run, raw in pairs)
        print(f"{kind.name:20}" + "".join(f"{figure:15.1f}" for figure in figures) + f"{ratio:15.2f}")


async def stored(url: str, key: str) -> list[dict[str, Any]]:
    """Read a conversation from the store itself."""
    keys = InstanceKeys(MemoryRef("bench", "exact"), key)
    found: list[dict[str, Any]] = []
    async with Store(StoreSettings(url=url)) as store:
        await store.wait_connected(5)
        revision = (await functions.read_config(store, MemoryKeys(keys.ref))).revision
        after: int | None = None
        while True:
            page = await functions.read(store, keys, revision=revision, after=after, limit=1000)
            found += [msgspec.json.decode(entry) for entry in page.entries]
            if page.next is None:
                return found
            after = page.next


def contend(bench: Bench, seconds: float) -> None:
    """Let many writers append to one conversation, and account for every message."""
    kind = Variant(
        "writers", bench.socket, bench.requests("writers", [post("exact", "w", [each]) for each in messages(DISTINCT)])
    )
    run = bench.load(kind, WRITERS, seconds)
    held = asyncio.run(stored(bench.store.url, "w"))
    acknowledged, ids = int(run["n"]), {each["id"] for each in held}
    in_order = [each["seq"] for each in held] == list(range(1, len(held) + 1))
    lost = max(acknowledged - len(held), 0)
    twice = len(held) - len(ids) + max(len(held) - acknowledged, 0)
    print(
        f"\n{WRITERS} writers on one conversation: {run['per_second']:.0f} op/s, p50 {run['p50_us']:.0f} us, ", end=""
    )
    print(f"p99 {run['p99_us']:.0f} us, {run['sidecar_cpu_us']:.1f} us of the sidecar's processor for each")
    print(f"{acknowledged} acknowledged, {lost} lost, {twice} twice, seq {'without a gap' if in_order else 'BROKEN'}")
    if acknowledged != len(held) or len(ids) != len(held) or not in_order:
        sys.exit("messages are not accounted for")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    with running() as bench:
        print(f"sidecar before the first count: {resident_megabytes(bench):.1f} MB RSS")
        for size in SIZES:
            prefill(bench, size)
        print(f"sidecar with o200k_base: {resident_megabytes(bench):.1f} MB RSS\n")
        measure(bench, rounds, seconds)
        contend(bench, max(3 * seconds, 1.0))


if __name__ == "__main__":
    main()
