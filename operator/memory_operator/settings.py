"""Settings of the operator. Each says its unit, its default and why."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memory_core.settings import address, level, names, optional_path, optional_text, positive, seconds, setting

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _own_namespace() -> str:
    mounted = _SERVICE_ACCOUNT / "namespace"
    return mounted.read_text().strip() if mounted.exists() else "default"


def _lease_duration(text: str) -> float:
    duration = seconds(text)
    if duration < 1:
        raise ValueError(f"{text} is too short for a lease, which is renewed over the network: write 1s or more")
    return duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this replica of the operator runs."""

    kubeconfig: str = setting("", str, "path of a kubeconfig; empty: the pod's service account", variable="KUBECONFIG")
    namespaces: tuple[str, ...] = setting("", names, "comma-separated namespaces to serve; empty: all of them")
    store_url: str = setting("redis://127.0.0.1:6379/0", str, "redis://HOST:PORT/DB, rediss://... or unix:///PATH")
    store_username: str | None = setting("", optional_text, "user of the store; empty: its default user")
    store_password_file: Path | None = setting(
        "", optional_path, "file with the store's password, read at every connect; empty: none"
    )
    store_ca_file: Path | None = setting(
        "", optional_path, "authorities of the store's certificate; empty: public ones"
    )
    # Kept when the process restarts, so that the same pod takes up its own lease at once.
    identity: str = setting(
        socket.gethostname, str, "name of this replica, unique among them; empty: the host's name", variable="POD_NAME"
    )
    lease_name: str = setting("memory-operator", str, "name of the Lease that elects the leader")
    lease_namespace: str = setting(
        _own_namespace, str, "namespace of that Lease; empty: the pod's own", variable="POD_NAMESPACE"
    )
    # What Kubernetes' own controllers use: rides out a restart of the API server.
    lease_duration_seconds: float = setting(
        "15s", _lease_duration, "how long the lead of a replica that vanished stays reserved"
    )
    # A safety net only: events, reconnects and probes of the store come first.
    resync_seconds: float = setting("5m", seconds, "how often every memory is looked at again, plus up to a fifth")
    # Three commands each time.
    store_probe_seconds: float = setting(
        "10s", seconds, "how often the store is asked whether it lost the function library or configurations"
    )
    workers: int = setting("16", positive, "how many memories are reconciled at the same time")
    metrics_address: tuple[str, int] | None = setting(
        "0.0.0.0:8080", address, "HOST:PORT of /metrics, /healthz and /readyz; empty: off"
    )
    log_level: int = setting("info", level, "debug, info, warning or error")

    @property
    def renew_deadline_seconds(self) -> float:
        """Return when a leader that cannot renew gives up: well before others may take over."""
        return self.lease_duration_seconds * 2 / 3

    @property
    def renew_interval_seconds(self) -> float:
        """Return how often a leader renews: several attempts fit before the deadline."""
        return self.lease_duration_seconds * 2 / 15
