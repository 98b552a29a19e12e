"""What one append costs in the store, as a ratio to a raw GET over the same connection.

    python benchmarks/store_append.py [ROUNDS]

One blocking connection with one command under way; variants alternate within each round, so that a busy machine slows
all of them alike. Commands are packed beforehand: the client's part is one send and one receive. `server` is the
store's own account of its time in the command.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import hiredis

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from memory_core.keys import InstanceKeys, MemoryRef
from memory_core.messages import FunctionCall, Message, MessageEncoder, ToolCall
from memory_core.store import StoreSettings, library
from support.store import Engine, StoreServer, engines

OPERATIONS = 500  # of each variant in a round
TEXT = "The customer asks where the parcel is that was sent last week. " * 14  # 135 words, 882 bytes
GET = hiredis.pack_command((b"GET", b"value"))  # type: ignore[arg-type]  # its stub means a tuple of one

ENCODER = MessageEncoder()


@dataclass
class Variant:
    """One kind of command and what was measured of it."""

    name: str
    commands: Iterator[bytes]
    microseconds: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)  # a round each


class Connection:
    """A blocking connection to one server."""

    def __init__(self, server: StoreServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, packed: bytes) -> object:
        """Send one command and return its reply."""
        self._socket.sendall(packed)
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65_536))
        return reply


def message(**members: object) -> tuple[bytes | str, ...]:
    """Return the five arguments of one message of 129 tokens."""
    encoded = ENCODER.encode(Message(content=TEXT, **members), 129, "exact")  # type: ignore[arg-type]
    return (encoded.id, encoded.header, encoded.body, encoded.calls, encoded.answers)


def appends(
    key: str, *, max_messages: int = 0, batch: int = 1, idempotent: bool = False, linked: bool = False
) -> Iterator[bytes]:
    """Make append commands of one conversation, for ever."""
    keys = InstanceKeys(MemoryRef("bench", "memory"), key).all
    limits = (b"1", str(max_messages), b"0", b"E", b"604800000", b"0", b"0")
    number = 0
    while True:
        number += 1
        messages: list[bytes | str] = []
        for position in range(batch):
            messages += message(role="user") if not linked else _linked(position, f"call-{number}")
        retry = (f"request-{number}", "0" * 32) if idempotent else (b"", b"")
        yield hiredis.pack_command((b"FCALL", b"am1_append", b"6", *keys, *limits, b"1", b"", *retry, *messages))  # type: ignore[arg-type]


def _linked(position: int, call: str) -> tuple[bytes | str, ...]:
    """Return a message of a batch of two: a tool call, or its result."""
    if position == 0:
        return message(role="assistant", tool_calls=[ToolCall(id=call, function=FunctionCall("find", "{}"))])
    return message(role="tool", tool_call_id=call)


def variants() -> tuple[Variant, ...]:
    """Return what is measured; the first is what the others are compared with."""
    return (
        Variant("GET of 300 bytes", iter(lambda: GET, b"")),
        Variant("append", appends("plain")),
        Variant("append, idempotency key", appends("idempotent", idempotent=True)),
        Variant("append, evicting one", appends("evicting", max_messages=100)),
        Variant("append, evicting, idempotency key", appends("both", max_messages=100, idempotent=True)),
        Variant("append of call and result", appends("linked", batch=2, linked=True)),
        Variant("append of call and result, evicting", appends("unit", batch=2, linked=True, max_messages=100)),
        Variant("append of 10", appends("ten", batch=10)),
        Variant("append of 10, evicting 10", appends("ten-evicting", batch=10, max_messages=100)),
    )


def server_microseconds(server: StoreServer) -> tuple[int, int]:
    """Return the calls and microseconds of GET and FCALL since the last reset."""
    with server.client() as client:
        found = client.info("commandstats")
        client.config_resetstat()
    rows = [found[name] for name in ("cmdstat_get", "cmdstat_fcall") if name in found]
    return sum(row["calls"] for row in rows), sum(row["usec"] for row in rows)


def run(variant: Variant, connection: Connection, clock: Callable[[], int] = time.perf_counter_ns) -> None:
    """Measure one round of a variant."""
    for _ in range(OPERATIONS):
        packed = next(variant.commands)
        started = clock()
        reply = connection.call(packed)
        variant.microseconds.append((clock() - started) / 1000)
        if isinstance(reply, Exception):
            raise SystemExit(f"{variant.name}: {reply}")


def measure(engine: Engine, rounds: int) -> None:
    """Run all variants in alternation on one engine, and print the table."""
    measured = variants()
    with StoreServer(engine) as server, Connection(server) as connection:
        asyncio.run(library.ensure(StoreSettings(url=server.url)))
        connection.call(hiredis.pack_command((b"SET", b"value", b"x" * 300)))  # type: ignore[arg-type]
        for variant in measured:  # warm up, and fill the conversations that evict
            run(variant, connection)
            variant.microseconds.clear()
        for _ in range(rounds):
            for variant in measured:
                server_microseconds(server)
                run(variant, connection)
                calls, spent = server_microseconds(server)
                variant.server.append(spent / calls)
    base = statistics.median(measured[0].microseconds)
    print(f"\n{engine.name}: {rounds} rounds of {OPERATIONS}; raw GET p50 {base:.1f} us")
    print(f"{'':<38}{'p50 us':>9}{'p99 us':>9}{'x GET':>8}{'server us':>11}")
    for variant in measured:
        times = statistics.quantiles(variant.microseconds, n=100)
        row = (times[49], times[98], times[49] / base, statistics.median(variant.server))
        print(f"{variant.name:<38}{row[0]:>9.1f}{row[1]:>9.1f}{row[2]:>8.2f}{row[3]:>11.2f}")


if __name__ == "__main__":
    for installed in engines():
        measure(installed, int(sys.argv[1]) if len(sys.argv) > 1 else 10)
