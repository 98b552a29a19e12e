"""What the operator may ask of the Kubernetes API: the one table its role is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one resource. `own_namespace`: only in the namespace of the operator, not where memories live."""

    group: str
    resource: str
    verbs: frozenset[str]
    own_namespace: bool = False


PERMISSIONS: Final = (
    Permission("agentmemory.io", "memoryresources", frozenset({"list", "watch", "patch"})),
    Permission("agentmemory.io", "memoryresources/status", frozenset({"patch"})),
    Permission("events.k8s.io", "events", frozenset({"create"})),
    Permission("coordination.k8s.io", "leases", frozenset({"get", "create", "update"}), own_namespace=True),
)
