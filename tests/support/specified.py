"""A memory as its specification makes it: compiled as the operator does, obeyed by a real sidecar, while it runs."""

import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memory_core.compile import compile_config, parse_spec
from support.processes import Program, source_path
from support.sidecars import Answer, Pod, put_config
from support.store import StoreServer
from support.waiting import wait_until

MEMORY = "/v1/memories/tickets"


@dataclass(frozen=True)
class SpecifiedMemory:
    """The memory `tickets` under changing specifications, and one conversation in it."""

    pod: Pod
    store: StoreServer
    key: str

    def apply(self, **specification: Any) -> None:
        """Put a specification into effect, and wait until the sidecar obeys it."""
        raw = {"type": "Buffer", "limits": {"maxTokens": 1000, "maxMessages": 100}} | specification
        config = compile_config("shop", "tickets", parse_spec(raw))
        revision = put_config(self.store, config)
        wait_until(lambda: self.describe().get("revision") == revision, "the sidecar obeys the specification")

    def describe(self) -> dict[str, Any]:
        """Return the policy in effect."""
        described: dict[str, Any] = self.pod.get(MEMORY).json
        return described

    def append(self, *contents: str, **more: Any) -> Answer:
        """Append messages of the user."""
        return self.pod.append(self.key, *contents, **more)

    def read(self) -> list[dict[str, Any]]:
        """Read the conversation."""
        return self.pod.read(self.key)

    def contents(self) -> list[str]:
        """Return the texts of the conversation."""
        return [message["content"] for message in self.read()]

    def stats(self) -> dict[str, Any]:
        """Return its counters."""
        found: dict[str, Any] = self.pod.get(f"{MEMORY}/stats?key={self.key}").json
        return found

    def clear(self) -> None:
        """Remove all messages."""
        assert self.pod.request("POST", f"{MEMORY}/clear", {"key": self.key, "confirm": True}).status == 200


@pytest.fixture(scope="session")
def _serving() -> Generator[tuple[Pod, StoreServer]]:
    """Run one sidecar and its store for all fields: specifications change while it runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentmemory-")))
        store = stack.enter_context(StoreServer())

        def run(name: str, command: list[str | Path], *, environment: Mapping[str, str] | None = None) -> Program:
            both = source_path() | dict(environment or {})
            return stack.enter_context(Program(name, command, log=folder / "sidecar.log", environment=both))

        pod = Pod(run, folder)  # type: ignore[arg-type]  # a function that is called as RunProgram says
        pod.start(store.url)
        yield pod, store


@pytest.fixture
def tickets(_serving: tuple[Pod, StoreServer], request: pytest.FixtureRequest) -> SpecifiedMemory:
    """Return the memory `tickets`, with a conversation that no other test has."""
    return SpecifiedMemory(*_serving, key=request.node.nodeid.rpartition("/")[2].replace(" ", "_")[:200])
