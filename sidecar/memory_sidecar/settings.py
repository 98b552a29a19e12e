"""Settings of the sidecar. The defaults suit a pod into which it was injected; a comment says why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memory_core.settings import address, level, optional_path, optional_text, positive, seconds, setting

_MAX_SOCKET_PATH_BYTES: Final = 107  # sockaddr_un holds 108, one of them the final zero


def _socket_path(text: str) -> Path:
    if len(text.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"a socket path may have {_MAX_SOCKET_PATH_BYTES} bytes: {text}")
    return Path(text)


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an octal file mode: write 0660 or 0666") from error
    if mode & ~0o777 or not mode & 0o600:
        raise ValueError(f"{text!r} is not a mode that lets a client in: write 0660 or 0666")
    return mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a sidecar can be told."""

    # In an emptyDir that the containers of the pod share.
    socket: Path = setting("/run/agentmemory/memory.sock", _socket_path, "path of the Unix socket")
    # The volume is private to the pod, so everybody in it may connect; 0660 with an fsGroup is stricter.
    socket_mode: int = setting("0666", _mode, "file mode of the socket: 0666, or 0660 with an fsGroup")
    # Where the downward API volume shows the pod's labels and annotations.
    podinfo: Path = setting("/etc/podinfo", Path, "folder with the pod's labels and annotations")
    # Beside the sidecar, which only suits a laptop: in a cluster it is always set.
    store_url: str = setting("redis://127.0.0.1:6379/0", str, "redis://HOST:PORT/DB, rediss://... or unix:///PATH")
    store_username: str | None = setting("", optional_text, "user of the store; empty: its default user")
    # A file, not a value: a mounted Secret can be rotated, and nobody reads it in the process list.
    store_password_file: Path | None = setting("", optional_path, "file with the store's password; empty: none")
    store_ca_file: Path | None = setting(
        "", optional_path, "authorities of the store's certificate; empty: public ones"
    )
    # Longer than any healthy answer, shorter than a caller's patience.
    store_timeout_seconds: float = setting("2s", seconds, "how long a command may stay unanswered")
    # On all addresses: the kubelet and Prometheus come from outside the pod.
    metrics_address: tuple[str, int] | None = setting(
        "0.0.0.0:9464", address, "HOST:PORT of /metrics, /healthz and /readyz; empty: off"
    )
    log_level: int = setting("info", level, "debug, info, warning or error")
    # Polling is behind a push and only heals what a lost message left; jittered by a third.
    poll_seconds: float = setting("30s", seconds, "how often configurations are read again")
    # Well below the 30 s that Kubernetes waits before it kills.
    grace_seconds: float = setting("5s", seconds, "how long requests in flight may take after SIGTERM")
    # Bounds on what clients can take; http/limits.py says what each of them holds back.
    max_body_bytes: int = setting("4194304", positive, "largest request body")
    max_connections: int = setting("16384", positive, "open connections at once")
    max_bytes_in_flight: int = setting("67108864", positive, "bodies and unread answers held at once")
    request_timeout_seconds: float = setting("10s", seconds, "how long a request may take to arrive")
