"""Settings of the process. Each says its unit, its default and why; each is a flag and an environment variable.

The flag of `store_url` is `--store-url`, its variable AGENT_MEMORY_STORE_URL; a flag wins over its variable.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

_MAX_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un holds 108, one of them the final zero


@dataclass(frozen=True, slots=True)
class Setting:
    """How a setting is read from text, and what it is for."""

    parse: Callable[[str], Any]
    help: str


def _optional_path(text: str) -> Path | None:
    return Path(text) if text else None


def _optional_text(text: str) -> str | None:
    return text or None


def _socket_path(text: str) -> Path:
    if len(text.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise argparse.ArgumentTypeError(f"a socket path may have {_MAX_SOCKET_PATH_BYTES} bytes: {text}")
    return Path(text)


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an octal file mode: write 0660 or 0666") from error
    if mode & ~0o777 or not mode & 0o600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a mode that lets a client in: write 0660 or 0666")
    return mode


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address: write HOST:PORT, or nothing to switch it off")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - probes come from outside the pod


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 3600")
    return seconds


def _level(text: str) -> int:
    level = logging.getLevelNamesMapping().get(text.upper())
    if level is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a log level: write debug, info, warning or error")
    return level


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process can be told. The defaults suit a pod into which the sidecar was injected."""

    # In an emptyDir that the containers of the pod share.
    socket: Annotated[Path, Setting(_socket_path, "path of the Unix socket")] = Path("/run/agentmemory/memory.sock")
    # The volume is private to the pod, so everybody in it may connect; 0660 with an fsGroup is stricter.
    socket_mode: Annotated[int, Setting(_mode, "file mode of the socket: 0666, or 0660 with an fsGroup")] = 0o666
    # Where the downward API volume shows the pod's labels and annotations.
    podinfo: Annotated[Path, Setting(Path, "folder with the pod's labels and annotations")] = Path("/etc/podinfo")
    # Beside the sidecar, which only suits a laptop: in a cluster it is always set.
    store_url: Annotated[str, Setting(str, "redis://HOST:PORT/DB, rediss://... or unix:///PATH")] = (
        "redis://127.0.0.1:6379/0"
    )
    store_username: Annotated[str | None, Setting(_optional_text, "user of the store; empty: its default user")] = None
    # A file, not a value: a mounted Secret can be rotated, and nobody reads it in the process list.
    store_password_file: Annotated[Path | None, Setting(_optional_path, "file with the store's password")] = None
    store_ca_file: Annotated[Path | None, Setting(_optional_path, "authorities of the store's certificate")] = None
    # Longer than any healthy answer, shorter than a caller's patience.
    store_timeout_seconds: Annotated[float, Setting(_seconds, "how long a command may stay unanswered")] = 2.0
    # On all addresses: the kubelet and Prometheus come from outside the pod.
    metrics_address: Annotated[
        tuple[str, int] | None, Setting(_address, "HOST:PORT of /metrics, /healthz and /readyz; empty: off")
    ] = ("0.0.0.0", 9464)  # noqa: S104 - see above
    log_level: Annotated[int, Setting(_level, "debug, info, warning or error")] = logging.INFO
    # Polling is behind a push and only heals what a lost message left; jittered by a third.
    poll_seconds: Annotated[float, Setting(_seconds, "how often configurations are read again")] = 30.0
    # Well below the 30 s that Kubernetes waits before it kills.
    grace_seconds: Annotated[float, Setting(_seconds, "how long requests in flight may take after SIGTERM")] = 5.0
    # Bounds on what clients can take; http/limits.py says what each of them holds back.
    max_body_bytes: Annotated[int, Setting(_positive, "largest request body")] = 4 * 1024 * 1024
    max_connections: Annotated[int, Setting(_positive, "open connections at once")] = 16_384
    max_bytes_in_flight: Annotated[int, Setting(_positive, "bodies and unread answers held at once")] = 64 * 1024 * 1024
    request_timeout_seconds: Annotated[float, Setting(_seconds, "how long a request may take to arrive")] = 10.0

    @classmethod
    def load(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
        """Read flags and environment; a value that cannot be read ends the process with a sentence."""
        settings = describe()
        parser = argparse.ArgumentParser("memory-sidecar", description="Serve a pod's memories on a Unix socket.")
        for name, setting in settings.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=setting.parse,
                default=_ABSENT,
                metavar=name.rpartition("_")[2].upper(),
                help=f"{setting.help} [{variable_of(name)}]",
            )
        given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not _ABSENT}
        for name, setting in settings.items():
            text = environment.get(variable_of(name))
            if name in given or text is None:
                continue
            try:
                given[name] = setting.parse(text)
            except argparse.ArgumentTypeError as error:
                parser.error(f"environment variable {variable_of(name)}: {error}")
        return cls(**given)


_ABSENT: Final = object()


def describe() -> dict[str, Setting]:
    """Return every setting by its name."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"AGENT_MEMORY_{name.upper()}"
