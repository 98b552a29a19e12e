"""What a reconciliation found out, in words for the status: reasons, sentences, and which conditions they make true.

The reasons are an interface: people alert on them. They are listed in one place, here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from memory_core.errors import AgentMemoryError
from memory_operator.memories import FORCE_RELEASE

IN_EFFECT: Final = "InEffect"
INVALID_SPEC: Final = "InvalidSpec"
DELETING: Final = "Deleting"
PAUSED: Final = "Paused"
# A store that fails contributes the reason of its error: StoreUnavailable or StoreError.

Phase = Literal["InEffect", "Progressing", "Stalled", "Paused"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """How far the erasure of a deleted memory has come."""

    instances_remaining: int
    instances_erased: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one reconciliation, as the status tells it."""

    phase: Phase
    reason: str
    message: str
    config_revision: int | None = None
    erasure: Erasure | None = None


def in_effect(revision: int) -> Verdict:
    """The configuration is in the store under `revision`."""
    message = f"Configuration revision {revision} is in the store."
    return Verdict("InEffect", IN_EFFECT, message, config_revision=revision)


def invalid(detail: str) -> Verdict:
    """The specification cannot be made effective; nothing happens until it is edited."""
    return Verdict("Stalled", INVALID_SPEC, detail)


def store_failed(error: AgentMemoryError, *, deleting: bool) -> Verdict:
    """The store did not answer or refused; it is tried again."""
    message = error.detail
    if deleting:
        message += f" The deletion waits for it; annotate {FORCE_RELEASE}=true to give the object up without cleaning."
    return Verdict("Progressing", error.reason, message)


def erasing(progress: Erasure) -> Verdict:
    """The memory is deleted and its conversations are being erased."""
    return Verdict("Progressing", DELETING, "Conversations are being erased from the store.", erasure=progress)


def paused() -> Verdict:
    """An annotation asks to leave the memory alone."""
    return Verdict("Paused", PAUSED, "Nothing is written while the annotation agentmemory.io/paused is true.")
