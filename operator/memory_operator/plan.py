"""Decides what to do about one memory, from what was observed; does nothing itself.

Level-triggered: the plan depends on the state alone, not on which event led here. Every step may be repeated, so that
a crash between two of them is mended by planning again.
"""

from __future__ import annotations

from dataclasses import dataclass

from memory_core.config import MemoryConfig
from memory_core.errors import AgentMemoryError
from memory_operator import verdicts
from memory_operator.memories import Memory
from memory_operator.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Guard an object whose deletion erases, before anything of it is in the store; the rest is planned again after it.

    An API server pays a third more for a status that follows at once: its cache lags, and it does the work twice.
    """


@dataclass(frozen=True, slots=True)
class PutConfig:
    """Write the configuration to the store, where it is missing or different."""

    config: MemoryConfig


@dataclass(frozen=True, slots=True)
class RemoveConfig:
    """Take the configuration out of the store, so that sidecars stop writing."""


@dataclass(frozen=True, slots=True)
class EraseInstances:
    """Erase a bounded number of conversations; planned again until none is left."""


@dataclass(frozen=True, slots=True)
class ReleaseFinalizer:
    """Stop guarding the object: its deletion is done, or erases nothing. `forced`: without having cleaned the store."""

    forced: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Say in the status what keeps the memory from being in effect."""

    verdict: Verdict


Step = AddFinalizer | PutConfig | RemoveConfig | EraseInstances | ReleaseFinalizer | Report


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a plan depends on."""

    memory: Memory
    config: MemoryConfig | None = None
    fault: str | None = None  # why the specification cannot be made effective
    store_error: AgentMemoryError | None = None  # why the store cannot be used


def plan(seen: Observation) -> tuple[Step, ...]:
    """Return the steps that bring the memory to its desired state, in order."""
    memory = seen.memory
    if memory.deleting and not memory.guarded:
        return ()
    if memory.deleting and memory.force_release and seen.store_error is not None:
        return (ReleaseFinalizer(forced=True),)
    if memory.paused:
        return (Report(verdicts.paused()),)
    if memory.deleting:
        return _plan_deletion(seen)
    return _plan_configuration(seen)


def _plan_deletion(seen: Observation) -> tuple[Step, ...]:
    if seen.store_error is not None:
        return (Report(verdicts.store_failed(seen.store_error, deleting=True)),)
    if seen.memory.erases_on_deletion:
        return (RemoveConfig(), EraseInstances(), ReleaseFinalizer())
    return (RemoveConfig(), ReleaseFinalizer())


def _plan_configuration(seen: Observation) -> tuple[Step, ...]:
    if seen.config is None:
        return (Report(verdicts.invalid(seen.fault or "")),)
    if seen.memory.erases_on_deletion and not seen.memory.guarded:
        return (AddFinalizer(),)
    if seen.store_error is not None:
        return (Report(verdicts.store_failed(seen.store_error, deleting=False)),)
    if seen.memory.guarded and not seen.memory.erases_on_deletion:
        return (PutConfig(seen.config), ReleaseFinalizer())  # the configuration is on record before nothing guards it
    return (PutConfig(seen.config),)
