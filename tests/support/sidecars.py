"""A pod's sidecar as a process, spoken to in raw HTTP: for tests of the sidecar itself.

Every problem that comes back is checked against the table of routes: an undeclared reason fails the test.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memory_core.config import MemoryConfig, encode_config
from memory_core.keys import MemoryKeys, MemoryRef
from memory_core.store import Store, StoreSettings, functions, library
from memory_sidecar.errors import RouteNotFound
from memory_sidecar.problems import STATUS
from memory_sidecar.routes import EVERYWHERE, SOCKET_ROUTES
from support.conversations import configuration
from support.processes import Program, python_module
from support.servers import RunProgram
from support.store import StoreServer
from support.waiting import wait_until

POD = {
    "POD_NAMESPACE": "shop",
    "POD_NAME": "helpdesk-0",
    "POD_UID": "5f1c3f5e-7f0a-4f0e-9d7c-2f6f4a1d4711",
    "POD_SERVICE_ACCOUNT": "helpdesk",
}
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """Return the reason of a problem."""
        assert self.headers["content-type"] == PROBLEM, self.body
        return str(self.json["reason"])


class Client:
    """One keep-alive connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(15)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._stream = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """Read one answer."""
        status = self._stream.readline().split()
        assert status, "the sidecar closed the connection"
        headers = {}
        while (line := self._stream.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(status[1]), headers, self._stream.read(int(headers.get("content-length", 0))))

    def rest(self) -> bytes:
        """Read until the sidecar closes."""
        return self._stream.read()

    def close(self) -> None:
        """Close."""
        self._stream.close()
        self.socket.close()


def encode_request(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request as bytes; a body that is not bytes is sent as JSON."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    all_headers = {"Host": "memory", "Content-Length": str(len(content)), **(headers or {})}
    if body is not None:
        all_headers.setdefault("Content-Type", "application/json")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Pod:
    """A pod with a sidecar. `annotations` are written without their prefix."""

    def __init__(self, run_program: RunProgram, folder: Path) -> None:
        self._run_program = run_program
        self.folder = folder
        self.podinfo = folder / "podinfo"
        self.podinfo.mkdir()
        self.socket = folder / "memory.sock"
        self.program: Program
        self.annotate(memory="tickets")

    def annotate(self, **annotations: str) -> None:
        """Write the pod's annotations, as the kubelet does: a new file that replaces the old one."""
        lines = [f"agentmemory.io/{name.replace('_', '-')}={json.dumps(text)}\n" for name, text in annotations.items()]
        (self.podinfo / "labels").write_text('app="helpdesk"\n')
        fresh = self.folder / "annotations.new"
        fresh.write_text("".join(lines))
        fresh.rename(self.podinfo / "annotations")

    def start(self, store_url: str, **settings: str) -> Program:
        """Start the sidecar and wait until it answers; settings are environment variables without AGENT_MEMORY_."""
        environment = {
            "AGENT_MEMORY_PODINFO": str(self.podinfo),
            "AGENT_MEMORY_SOCKET": str(self.socket),
            "AGENT_MEMORY_STORE_URL": store_url,
            "AGENT_MEMORY_METRICS_ADDRESS": "",
            **{f"AGENT_MEMORY_{name.upper()}": value for name, value in settings.items()},
        }
        self.program = self._run_program("sidecar", python_module("memory_sidecar"), environment=POD | environment)
        self.program.wait_until(self.answers, "the sidecar answers", ignore=(OSError,))
        return self.program

    def answers(self) -> bool:
        """Tell whether the process serves."""
        return self.get("/healthz").status == 200

    def connect(self) -> Client:
        """Open a connection."""
        return Client(self.socket)

    def request(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own."""
        with closing(self.connect()) as client:
            client.send(encode_request(method, path, body, headers))
            answer = client.answer()
        check_declared(method, path, answer)
        return answer

    def get(self, path: str) -> Answer:
        """GET a path."""
        return self.request("GET", path)

    def append(self, key: str, *contents: str, memory: str = "tickets", **more: Any) -> Answer:
        """Append messages of the user."""
        messages = [{"role": "user", "content": content} for content in contents]
        return self.request("POST", f"/v1/memories/{memory}/messages", {"key": key, "messages": messages, **more})

    def read(self, key: str, memory: str = "tickets") -> list[dict[str, Any]]:
        """Read a whole conversation of up to 1000 messages."""
        messages: list[dict[str, Any]] = self.get(f"/v1/memories/{memory}/messages?key={key}&limit=1000").json[
            "messages"
        ]
        return messages

    def wait_ready(self) -> None:
        """Wait until every binding can be used."""
        wait_until(lambda: self.get("/readyz").status == 200, "the sidecar is ready")


def check_declared(method: str, path: str, answer: Answer) -> None:
    """Fail when a problem's reason is not declared for the route, or its status is not that of the reason."""
    if answer.headers.get("content-type") != PROBLEM:
        return
    reasons = {error.__name__: status for error, status in STATUS.items()}
    assert answer.status == reasons[answer.reason] == answer.json["status"]
    plain = path.partition("?")[0].split("/")
    for route in SOCKET_ROUTES:
        pattern = route.path.split("/")
        fits = len(plain) == len(pattern) and all(
            a == b or (a and b.startswith("{")) for a, b in zip(plain, pattern, strict=True)
        )
        if fits and route.method == method.replace("HEAD", "GET"):
            declared = {error.__name__ for error in (*EVERYWHERE, *route.reasons)}
            assert answer.reason in declared, f"{route.name} answers {answer.reason}, which it does not declare"
            return
    assert answer.reason in {RouteNotFound.__name__, *(error.__name__ for error in EVERYWHERE)}


def put_config(store: StoreServer, config: MemoryConfig) -> int:
    """Do what the operator does for one memory; return the revision."""

    async def put() -> int:
        settings = StoreSettings(url=store.url)
        await library.ensure(settings)
        async with Store(settings) as connection:
            await connection.wait_connected(5)
            stored = await functions.put_config(connection, MemoryKeys(config.ref), epoch=1, blob=encode_config(config))
            return stored.revision

    return asyncio.run(put())


def delete_config(store: StoreServer, ref: MemoryRef) -> None:
    """Withdraw a configuration as the operator does."""

    async def delete() -> None:
        async with Store(StoreSettings(url=store.url)) as connection:
            await connection.wait_connected(5)
            await functions.delete_config(connection, MemoryKeys(ref), epoch=1)

    asyncio.run(delete())


@pytest.fixture
def pod(run_program: RunProgram, socket_folder: Path) -> Pod:
    """Return a pod that binds the memory `tickets`; its sidecar is not started."""
    return Pod(run_program, socket_folder)


@pytest.fixture
def serving(pod: Pod, valkey: StoreServer) -> Callable[..., Pod]:
    """Return a function that configures the memory `tickets`, with some members changed, and starts the sidecar."""

    def start(
        *, annotations: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None, **changed: Any
    ) -> Pod:
        put_config(valkey, configuration(**changed))
        if annotations:
            pod.annotate(**annotations)
        pod.start(valkey.url, **(settings or {}))
        pod.wait_ready()
        return pod

    return start
