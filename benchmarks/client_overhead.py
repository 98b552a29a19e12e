"""What the Python client adds to a round trip over the Unix socket.

    python benchmarks/client_overhead.py [ROUNDS]

One append with a message of 135 words, against a peer that answers from memory, so that only the client differs:

- bytes: a prepared request, sent and received, nothing else: the socket's round trip
- raw: ten lines over a socket with json.dumps and json.loads, without timeouts, errors or framing
- client: MemoryClient.append
- asyncio: AsyncMemoryClient.append
- http.client: the standard library's HTTP client, for comparison

The variants alternate in one run; each figure is the median over rounds of a round's median. Ratios are to raw.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent_memory import AsyncMemoryClient, MemoryClient

CALLS = 1000
MESSAGE = {"role": "user", "content": "word " * 135}
BODY = {"key": "k", "messages": [MESSAGE], "idempotency_key": "0" * 32}
ANSWER = {
    "key": "k",
    "messages": [{"id": "01J00000000000000000000000", "seq": 1, "tokens": 140}],
    "version": 1,
    "totals": {"messages": 1, "tokens": 140, "bytes": 900},
    "evicted": [],
    "dropped": [],
    "flush_due": False,
    "durability": "stored",
}
HEAD = (
    "POST /v1/memories/m/messages HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


def serve(path: str) -> None:
    """Answer every request on the path with the same append's answer, until the parent kills this process."""
    body = json.dumps(ANSWER, separators=(",", ":")).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.received = transport, b""

        def data_received(self, data: bytes) -> None:
            self.received += data
            head, end, body = self.received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if end and len(body) == length:
                self.received = b""
                self.transport.write(answer)  # type: ignore[attr-defined]  # a Unix socket's transport writes

    async def run() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Peer, path)
        print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(run())


def connected(path: str) -> socket.socket:
    """Return a plain connection."""
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(path)
    return plain


def bytes_only(path: str) -> Callable[[], object]:
    """Return the round trip of a prepared request."""
    plain, body = connected(path), json.dumps(BODY).encode()
    request = (HEAD % len(body)).encode() + body

    def call() -> object:
        plain.sendall(request)
        return plain.recv(65536)

    return call


def raw(path: str) -> Callable[[], object]:
    """Return the shortest loop that sends a message and reads the answer."""
    plain = connected(path)

    def call() -> object:
        body = json.dumps(BODY).encode()
        plain.sendall((HEAD % len(body)).encode() + body)
        answer = plain.recv(65536)
        return json.loads(answer[answer.index(b"\r\n\r\n") + 4 :])

    return call


def standard_library(path: str) -> Callable[[], object]:
    """Return the same through http.client."""
    connection = http.client.HTTPConnection("m")
    connection.sock = connected(path)

    def call() -> object:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/memories/m/messages", json.dumps(BODY), headers)
        return json.loads(connection.getresponse().read())

    return call


def median_us(call: Callable[[], object]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


async def median_us_awaited(call: Callable[[], Awaitable[object]]) -> float:
    """Return the median time of an awaited call."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        await call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


async def asyncio_us(path: str) -> float:
    """Return the median time of an append through the asyncio client."""
    async with AsyncMemoryClient(path) as client:
        memory = client.memory("m", key="k")
        return await median_us_awaited(lambda: memory.append(MESSAGE))


def measure(path: str, rounds: int) -> dict[str, float]:
    """Return the median of each variant, alternated."""
    with MemoryClient(path) as client:
        memory = client.memory("m", key="k")
        calls = {"bytes": bytes_only(path), "raw": raw(path), "client": lambda: memory.append(MESSAGE)}
        calls["http.client"] = standard_library(path)
        results: dict[str, list[float]] = {name: [] for name in (*calls, "asyncio")}
        for _ in range(rounds):
            for name, call in calls.items():
                results[name].append(median_us(call))
            results["asyncio"].append(asyncio.run(asyncio_us(path)))
    return {name: statistics.median(figures) for name, figures in results.items()}


def main(rounds: int) -> None:
    """Start the peer, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "s")
        peer = subprocess.Popen([sys.executable, __file__, "--serve", path], stdout=subprocess.PIPE)
        try:
            assert peer.stdout is not None
            peer.stdout.readline()
            figures = measure(path, rounds)
        finally:
            peer.kill()
            peer.wait()
    print(f"{'variant':<14}{'p50 us':>9}{'over bytes us':>16}{'ratio to raw':>15}")
    for name, figure in sorted(figures.items(), key=lambda item: item[1]):
        print(f"{name:<14}{figure:>9.1f}{figure - figures['bytes']:>16.1f}{figure / figures['raw']:>15.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
