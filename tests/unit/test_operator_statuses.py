"""The status of a memory: conditions that kubectl, Helm and GitOps tools understand, written only when they change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from memory_operator import announcements, verdicts
from memory_operator.memories import Memory, Uid
from memory_operator.statuses import ready_reason, status_patch
from memory_operator.verdicts import Erasure, Verdict

from memory_core.errors import StoreUnavailable
from memory_core.keys import MemoryRef

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
AWAY = verdicts.store_failed(StoreUnavailable("away"), deleting=False)
MEMORY = Memory(
    ref=MemoryRef("team", "support"),
    uid=Uid("u"),
    resource_version="1",
    generation=3,
    spec={},
    status={},
    finalizers=(),
    deleting=False,
    paused=False,
    force_release=False,
)


def after(memory: Memory, verdict: Verdict, now: datetime = NOW) -> Memory:
    """Return the memory with the status that reports `verdict`."""
    return replace(memory, status={**memory.status, **status_patch(memory, verdict, now)})


def truths(memory: Memory) -> dict[str, str]:
    """Return the status of each condition."""
    conditions: Any = memory.status["conditions"]
    return {condition["type"]: condition["status"] for condition in conditions}


def test_each_verdict_has_its_conditions() -> None:
    """Ready, Reconciling and Stalled, as kstatus reads them."""
    assert truths(after(MEMORY, verdicts.in_effect(7))) == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
    assert truths(after(MEMORY, AWAY)) == {"Ready": "False", "Reconciling": "True", "Stalled": "False"}
    assert truths(after(MEMORY, verdicts.invalid("x"))) == {"Ready": "False", "Reconciling": "False", "Stalled": "True"}


def test_the_generation_seen_is_in_the_status_and_in_every_condition() -> None:
    """`kubectl wait` and Helm trust a condition only for the generation it was made for."""
    status: Any = after(MEMORY, verdicts.in_effect(7)).status

    assert status["observedGeneration"] == 3
    assert {condition["observedGeneration"] for condition in status["conditions"]} == {3}
    assert status["configRevision"] == 7


def test_what_is_said_already_is_not_written_again() -> None:
    """An empty patch means no request."""
    for verdict in (
        verdicts.in_effect(7),
        AWAY,
        verdicts.invalid("x"),
        verdicts.paused(),
        verdicts.erasing(Erasure(1, 2)),
    ):
        assert status_patch(after(MEMORY, verdict), verdict, LATER) == {}


def test_a_condition_keeps_the_time_since_when_it_has_its_status() -> None:
    """Another message or generation does not change it."""
    once = replace(after(MEMORY, verdicts.in_effect(7)), generation=4)
    times: Any = after(once, verdicts.in_effect(8), LATER).status["conditions"]
    assert {condition["lastTransitionTime"] for condition in times} == {"2026-01-02T03:04:05Z"}

    changed: Any = after(once, AWAY, LATER).status["conditions"]
    assert [condition["lastTransitionTime"][11:13] for condition in changed] == ["04", "04", "03"]


def test_a_pause_keeps_what_was_known() -> None:
    """Ready still speaks of the generation that is in effect; the pause is one condition more."""
    paused = after(replace(after(MEMORY, verdicts.in_effect(7)), generation=4), verdicts.paused(), LATER)

    assert truths(paused) == {"Ready": "True", "Reconciling": "False", "Stalled": "False", "Paused": "True"}
    assert paused.status["observedGeneration"] == 3


def test_a_memory_that_was_never_seen_before_its_pause_is_of_unknown_readiness() -> None:
    """No condition is left out."""
    assert truths(after(MEMORY, verdicts.paused()))["Ready"] == "Unknown"


def test_the_pause_leaves_no_trace_when_it_ends() -> None:
    """The condition goes away with the annotation."""
    assert "Paused" not in truths(after(after(MEMORY, verdicts.paused()), verdicts.in_effect(1)))


def test_the_progress_of_a_deletion_is_in_the_status() -> None:
    """Both what is left and what is done."""
    status = after(MEMORY, verdicts.erasing(Erasure(instances_remaining=5, instances_erased=2))).status

    assert status["deletion"] == {"instancesRemaining": 5, "instancesErased": 2}
    assert ready_reason(status) == "Deleting"


def test_events_tell_of_transitions_only() -> None:
    """A new reason or a new revision; not the same again."""
    ready = after(MEMORY, verdicts.in_effect(7))

    first = announcements.transition(MEMORY, verdicts.in_effect(7))
    assert first is not None
    assert (first.kind, first.reason) == ("Normal", "InEffect")
    assert announcements.transition(ready, verdicts.in_effect(7)) is None
    assert announcements.transition(ready, verdicts.in_effect(8)) is not None
    away = announcements.transition(ready, AWAY)
    assert away is not None
    assert (away.kind, away.reason) == ("Warning", "StoreUnavailable")
    assert announcements.transition(after(ready, AWAY), AWAY) is None
    assert announcements.transition(ready, verdicts.paused()) is not None
    assert announcements.transition(after(ready, verdicts.paused()), verdicts.paused()) is None
