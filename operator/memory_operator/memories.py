"""A MemoryResource as the reconciler sees it: the few members that decide something, typed.

The raw body of the API is read here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NewType

from memory_core.keys import MemoryRef

GROUP: Final = "agentmemory.io"
VERSION: Final = "v1alpha1"
KIND: Final = "MemoryResource"
PLURAL: Final = "memoryresources"

FINALIZER: Final = f"{GROUP}/cleanup"
PAUSED: Final = f"{GROUP}/paused"
FORCE_RELEASE: Final = f"{GROUP}/force-remove-finalizer"

Uid = NewType("Uid", str)


@dataclass(frozen=True, slots=True)
class Memory:
    """One MemoryResource at one resource version."""

    ref: MemoryRef
    uid: Uid
    resource_version: str
    generation: int
    spec: Mapping[str, object]
    status: Mapping[str, object]
    finalizers: tuple[str, ...]
    deleting: bool
    paused: bool
    force_release: bool

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Memory:
        """Read an object as the API server sends it."""
        meta = body["metadata"]
        annotations = meta.get("annotations") or {}
        return cls(
            ref=MemoryRef(meta["namespace"], meta["name"]),
            uid=Uid(meta["uid"]),
            resource_version=meta["resourceVersion"],
            generation=meta.get("generation", 0),
            spec=body.get("spec") or {},
            status=body.get("status") or {},
            finalizers=tuple(meta.get("finalizers") or ()),
            deleting=meta.get("deletionTimestamp") is not None,
            paused=annotations.get(PAUSED) == "true",
            force_release=annotations.get(FORCE_RELEASE) == "true",
        )

    @property
    def guarded(self) -> bool:
        """Whether our finalizer keeps the object until its conversations are erased."""
        return FINALIZER in self.finalizers

    @property
    def erases_on_deletion(self) -> bool:
        """Whether deleting the object erases its conversations. A specification that cannot be read retains them."""
        return self.spec.get("deletionPolicy") == "Delete"

    def supersedes(self, other: Memory) -> bool:
        """Whether this is a later state than `other`.

        Resource versions grow as integers in every API server that stores in etcd; where they cannot be read so,
        whatever differs counts as later.
        """
        if self.uid != other.uid:
            return True
        mine, theirs = self.resource_version, other.resource_version
        if mine.isdigit() and theirs.isdigit():
            return int(mine) > int(theirs)
        return mine != theirs
