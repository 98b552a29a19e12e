"""Words the events: what is worth telling of a change in a memory's status, and the receipt of a deletion."""

from __future__ import annotations

from typing import Final

from memory_operator.erasure import Slice
from memory_operator.memories import FORCE_RELEASE, Memory
from memory_operator.recorder import Note
from memory_operator.statuses import ready_reason
from memory_operator.verdicts import DELETING, Verdict

CONFIG_REMOVED: Final = "ConfigRemoved"
ERASED: Final = "Erased"
FINALIZER_FORCED: Final = "FinalizerForced"


def transition(before: Memory, verdict: Verdict) -> Note | None:
    """Return the event of a status change, None when only details changed."""
    same_reason = ready_reason(before.status) == verdict.reason
    same_revision = verdict.config_revision in {None, before.status.get("configRevision")}
    already_paused = verdict.phase == "Paused" and _is_paused(before)
    if already_paused or (same_reason and same_revision):
        return None
    harmless = verdict.phase in {"InEffect", "Paused"} or verdict.reason == DELETING
    return Note(before, "Normal" if harmless else "Warning", verdict.reason, "Reconcile", verdict.message)


def released(memory: Memory, *, erased: Slice | None, forced: bool) -> Note:
    """Return the event that says what a deletion left behind."""
    if forced:
        text = f"The finalizer was removed because of the annotation {FORCE_RELEASE}; the store was not cleaned."
        return Note(memory, "Warning", FINALIZER_FORCED, "Delete", text)
    if erased is None:
        return withdrawn(memory)
    text = f"Erased {erased.progress.instances_erased} conversations and {erased.stray_keys} stray keys."
    return Note(memory, "Normal", ERASED, "Delete", text)


def withdrawn(memory: Memory) -> Note:
    """Return the event that says that sidecars no longer serve a memory, which has left its conversations."""
    return Note(memory, "Normal", CONFIG_REMOVED, "Delete", "Configuration removed; conversations are retained.")


def _is_paused(memory: Memory) -> bool:
    conditions = memory.status.get("conditions")
    return isinstance(conditions, list) and any(condition["type"] == "Paused" for condition in conditions)
