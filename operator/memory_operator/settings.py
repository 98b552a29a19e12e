"""All settings of the operator: one frozen value, read once from flags and environment.

A flag wins over its environment variable, which wins over the default. Each field says its unit, its default's reason,
and nothing reads the environment elsewhere.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from memory_core.durations import parse_duration_ms

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def seconds(text: str) -> float:
    """Read a duration such as `15s` as seconds."""
    return parse_duration_ms(text) / 1000


def names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list; empty text is the empty list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _own_namespace() -> str:
    mounted = _SERVICE_ACCOUNT / "namespace"
    return mounted.read_text().strip() if mounted.exists() else "default"


def _setting(env: str, default: str | Callable[[], str], text: str, parse: Callable[[str], Any] = str) -> Any:
    return field(metadata={"env": env, "default": default, "help": text, "parse": parse})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this replica of the operator runs."""

    kubeconfig: str = _setting("KUBECONFIG", "", "path of a kubeconfig; empty: the pod's service account")
    namespaces: tuple[str, ...] = _setting(
        "AGENT_MEMORY_NAMESPACES", "", "comma-separated namespaces to serve; empty: all of them", names
    )
    store_url: str = _setting(
        "AGENT_MEMORY_STORE_URL", "redis://127.0.0.1:6379/0", "address of the store, redis:// or rediss://"
    )
    store_username: str = _setting("AGENT_MEMORY_STORE_USERNAME", "", "user of the store; empty: its default user")
    store_password_file: str = _setting(
        "AGENT_MEMORY_STORE_PASSWORD_FILE", "", "file with the password, read at every connect; empty: no password"
    )
    identity: str = _setting(
        "POD_NAME", socket.gethostname, "name of this replica, unique among them and kept when its process restarts"
    )
    lease_name: str = _setting("AGENT_MEMORY_LEASE_NAME", "memory-operator", "name of the Lease that elects the leader")
    lease_namespace: str = _setting("POD_NAMESPACE", _own_namespace, "namespace of that Lease")
    lease_duration_seconds: float = _setting(
        "AGENT_MEMORY_LEASE_DURATION",
        "15s",  # what Kubernetes' own controllers use: rides out a restart of the API server
        "how long the lead of a replica that vanished stays reserved",
        seconds,
    )
    resync_seconds: float = _setting(
        "AGENT_MEMORY_RESYNC",
        "5m",  # a safety net only: events, reconnects and probes of the store come first
        "how often every memory is looked at again, plus up to a fifth at random",
        seconds,
    )
    probe_seconds: float = _setting(
        "AGENT_MEMORY_STORE_PROBE",
        "10s",  # three commands each time
        "how often the store is asked whether it lost the function library or configurations",
        seconds,
    )
    workers: int = _setting("AGENT_MEMORY_WORKERS", "16", "how many memories are reconciled at the same time", int)
    metrics_address: str = _setting(
        "AGENT_MEMORY_METRICS_ADDRESS", "0.0.0.0:8080", "HOST:PORT of /metrics, /healthz and /readyz"
    )
    log_level: str = _setting("AGENT_MEMORY_LOG_LEVEL", "info", "debug, info, warning or error", str.lower)

    @property
    def renew_deadline_seconds(self) -> float:
        """Return when a leader that cannot renew gives up: well before others may take over."""
        return self.lease_duration_seconds * 2 / 3

    @property
    def renew_interval_seconds(self) -> float:
        """Return how often a leader renews: several attempts fit before the deadline."""
        return self.lease_duration_seconds * 2 / 15


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a value that cannot be read ends the process with a sentence, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="memory-operator",
        description="Turns MemoryResource objects into configuration in the store. Durations are written as 90s or 5m.",
    )
    for setting in fields(Settings):
        meta = setting.metadata
        default = meta["default"]() if callable(meta["default"]) else meta["default"]
        parser.add_argument(
            "--" + setting.name.removesuffix("_seconds").replace("_", "-"),
            dest=setting.name,
            type=_readable(meta["parse"]),
            default=environment.get(meta["env"]) or default,
            help=f"{meta['help']} (environment: {meta['env']}, default: {default or 'empty'})",
            metavar="VALUE",
        )
    settings = Settings(**vars(parser.parse_args(arguments)))
    _check(parser, settings)
    return settings


def _check(parser: argparse.ArgumentParser, settings: Settings) -> None:
    host, _, port = settings.metrics_address.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--metrics-address must be HOST:PORT, not {settings.metrics_address!r}")
    if settings.workers < 1:
        parser.error("--workers must be at least 1")
    if settings.lease_duration_seconds < 1:
        parser.error("--lease-duration must be at least 1s")
    if settings.log_level not in {"debug", "info", "warning", "error"}:
        parser.error(f"--log-level must be debug, info, warning or error, not {settings.log_level!r}")


def _readable(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show the sentence of a ValueError."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
