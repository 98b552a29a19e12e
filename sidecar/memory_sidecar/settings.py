"""Settings of the process. Each says its unit, its default and why; each is a flag and an environment variable.

The flag of `store_url` is `--store-url`, its variable AGENT_MEMORY_STORE_URL; a flag wins over its variable.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

_MAX_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un holds 108, one of them the final zero


def _setting(default: object, parse: Callable[[str], Any], text: str) -> Any:  # noqa: ANN401 - a field of any type
    return field(default=default, metadata={"parse": parse, "help": text})


def _optional_path(text: str) -> Path | None:
    return Path(text) if text else None


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
    socket: Path = _setting(Path("/run/agentmemory/memory.sock"), _socket_path, "path of the Unix socket")
    # The volume is private to the pod, so everybody in it may connect; 0660 with an fsGroup is stricter.
    socket_mode: int = _setting(0o666, _mode, "file mode of the socket, octal: 0666, or 0660 with an fsGroup")
    # Where the downward API volume shows the pod's labels and annotations.
    podinfo: Path = _setting(Path("/etc/podinfo"), Path, "folder with the files labels and annotations of the pod")
    store_url: str = _setting("redis://127.0.0.1:6379/0", str, "redis://HOST:PORT/DB, rediss://... or unix:///PATH")
    store_username: str | None = _setting(None, lambda text: text or None, "user of the store; empty: its default user")
    # A file, not a value: a mounted Secret can be rotated, and nobody reads it in the process list.
    store_password_file: Path | None = _setting(None, _optional_path, "file that holds the store's password")
    store_ca_file: Path | None = _setting(None, _optional_path, "authorities that sign the store's certificate")
    # Longer than any healthy answer, shorter than a caller's patience.
    store_timeout_seconds: float = _setting(2.0, _seconds, "how long the store may leave a command unanswered")
    # On all addresses: the kubelet and Prometheus come from outside the pod.
    metrics_address: tuple[str, int] | None = _setting(
        ("0.0.0.0", 9464),  # noqa: S104 - see above
        _address,
        "HOST:PORT of /metrics, /healthz and /readyz; empty: off",
    )
    log_level: int = _setting(logging.INFO, _level, "debug, info, warning or error")
    # Polling is behind a push and only heals what a lost message left; jittered by a third.
    poll_seconds: float = _setting(30.0, _seconds, "how often configurations are read again")
    # Well below the 30 s that Kubernetes waits before it kills.
    grace_seconds: float = _setting(5.0, _seconds, "how long requests in flight may take after SIGTERM")
    # Bounds on what clients can take; see http/limits.py for what each of them holds back.
    max_body_bytes: int = _setting(4 * 1024 * 1024, _positive, "largest request body")
    max_connections: int = _setting(16_384, _positive, "open connections at once")
    max_bytes_in_flight: int = _setting(64 * 1024 * 1024, _positive, "bodies and unread answers held at once")
    request_timeout_seconds: float = _setting(10.0, _seconds, "how long a request may take to arrive")

    @classmethod
    def load(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
        """Read flags and environment; a value that cannot be read ends the process with a sentence."""
        parser = argparse.ArgumentParser("memory-sidecar", description="Serve a pod's memories on a Unix socket.")
        for each in fields(cls):
            parser.add_argument(f"--{each.name.replace('_', '-')}", type=each.metadata["parse"], **_words(each))
        given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not _ABSENT}
        for each in fields(cls):
            text = environment.get(variable_of(each.name))
            if each.name in given or text is None:
                continue
            try:
                given[each.name] = each.metadata["parse"](text)
            except argparse.ArgumentTypeError as error:
                parser.error(f"environment variable {variable_of(each.name)}: {error}")
        return cls(**given)


_ABSENT: Final = object()


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"AGENT_MEMORY_{name.upper()}"


def _words(each: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclasses.Field of any type, and argparse keywords
    return {
        "default": _ABSENT,
        "help": f"{each.metadata['help']} [{variable_of(each.name)}]",
        "metavar": each.name.rsplit("_", 1)[-1].upper(),
    }
