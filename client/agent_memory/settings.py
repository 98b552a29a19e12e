"""How a client behaves when the sidecar is slow or away, and what it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

SOCKET_VARIABLE = "AGENT_MEMORY_SOCKET"
DEFAULT_SOCKET = "/run/agentmemory/memory.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client may use. Every field bounds something."""

    timeout_seconds: float = 10.0
    """One call, retries and pauses included. After that the call raises what went wrong last."""

    attempt_seconds: float = 5.0
    """One attempt of a call. Longer than the sidecar waits for its store (2 s), so that its own answer comes first."""

    max_connections: int = 16
    """Connections open at once; further callers wait for one, within their time."""

    max_response_bytes: int = 64 * 1024 * 1024
    """One answer's body. A thousand messages of 64 KiB fit."""


def socket_path(given: str | os.PathLike[str] | None) -> str:
    """Return the path of the sidecar's socket: the given one, else AGENT_MEMORY_SOCKET, else where pods have it."""
    return os.fspath(given or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)
