"""Renders a verdict as the status of a MemoryResource, and tells what of it is news.

The conditions follow kstatus, so that `kubectl wait`, `helm --wait`, Flux and Argo CD understand them: Ready always
present; Reconciling or Stalled true while the memory is not in effect. A status that says the same as before yields an
empty patch: what did not change is not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from memory_operator.memories import Memory
from memory_operator.verdicts import Phase, Verdict

# Phase -> status of (Ready, Reconciling, Stalled)
_TRUTH: Final[Mapping[Phase, tuple[str, str, str]]] = {
    "InEffect": ("True", "False", "False"),
    "Progressing": ("False", "True", "False"),
    "Stalled": ("False", "False", "True"),
    "Paused": ("Unknown", "False", "False"),
}
_TYPES: Final = ("Ready", "Reconciling", "Stalled")


def status_patch(memory: Memory, verdict: Verdict, now: datetime) -> dict[str, object]:
    """Return the merge patch of the status, empty when the object already says so."""
    return {name: value for name, value in _render(memory, verdict, now).items() if memory.status.get(name) != value}


def ready_reason(status: Mapping[str, Any]) -> str:
    """Return the reason of the Ready condition, empty when there is none yet."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            return str(condition["reason"])
    return ""


def _render(memory: Memory, verdict: Verdict, now: datetime) -> dict[str, object]:
    before: Sequence[dict[str, Any]] = memory.status.get("conditions") or ()  # type: ignore[assignment]  # raw JSON
    if verdict.phase == "Paused":
        return {"conditions": _paused(before, memory, verdict, now)}
    conditions = _conditions(memory, verdict)
    status: dict[str, object] = {
        "observedGeneration": memory.generation,
        "conditions": _keep_times(conditions, before, now),
    }
    if verdict.config_revision is not None:
        status["configRevision"] = verdict.config_revision
    if verdict.erasure is not None:
        status["deletion"] = {
            "instancesRemaining": verdict.erasure.instances_remaining,
            "instancesErased": verdict.erasure.instances_erased,
        }
    return status


def _conditions(memory: Memory, verdict: Verdict) -> list[dict[str, Any]]:
    truths = _TRUTH[verdict.phase]
    return [_condition(kind, truth, memory, verdict) for kind, truth in zip(_TYPES, truths, strict=True)]


def _condition(kind: str, truth: str, memory: Memory, verdict: Verdict) -> dict[str, Any]:
    return {
        "type": kind,
        "status": truth,
        "reason": verdict.reason,
        "message": verdict.message,
        "observedGeneration": memory.generation,
    }


def _paused(before: Sequence[dict[str, Any]], memory: Memory, verdict: Verdict, now: datetime) -> list[dict[str, Any]]:
    """Keep what was last known of the memory, and add that it is paused."""
    kept = [dict(condition) for condition in before if condition["type"] in _TYPES] or _conditions(memory, verdict)
    return _keep_times([*kept, _condition("Paused", "True", memory, verdict)], before, now)


def _keep_times(
    conditions: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Give each condition the time since when it has its status."""
    known = {(condition["type"], condition["status"]): condition["lastTransitionTime"] for condition in before}
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {**condition, "lastTransitionTime": known.get((condition["type"], condition["status"]), stamp)}
        for condition in conditions
    ]
