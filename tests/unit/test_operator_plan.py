"""What the operator decides to do about a memory, from what it sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from memory_operator import verdicts
from memory_operator.memories import FINALIZER, Memory, Uid
from memory_operator.plan import (
    AddFinalizer,
    EraseInstances,
    Observation,
    PutConfig,
    ReleaseFinalizer,
    RemoveConfig,
    Report,
    Step,
    plan,
)

from memory_core.compile import compile_config, parse_spec
from memory_core.errors import StoreUnavailable
from memory_core.keys import MemoryRef

SPEC = {"type": "TokenBased", "limits": {"maxTokens": 8000}}
CONFIG = compile_config("team", "support", parse_spec(SPEC))
MEMORY = Memory(
    ref=MemoryRef("team", "support"),
    uid=Uid("u"),
    resource_version="1",
    generation=1,
    spec=SPEC,
    status={},
    finalizers=(),
    deleting=False,
    paused=False,
    force_release=False,
)
ERASING = replace(MEMORY, spec={**SPEC, "deletionPolicy": "Delete"})  # its deletion erases
GUARDED = replace(ERASING, finalizers=("other.io/x", FINALIZER))
DELETING = replace(GUARDED, deleting=True)
AWAY = StoreUnavailable("the store is away")


def test_a_memory_whose_deletion_erases_is_guarded_before_anything_is_written() -> None:
    """Also while the store is away: what it may hold already is erased before the object goes."""
    assert plan(Observation(ERASING, config=CONFIG)) == (AddFinalizer(),)
    assert plan(Observation(ERASING, config=CONFIG, store_error=AWAY)) == (AddFinalizer(),)


def test_a_memory_that_retains_is_not_guarded() -> None:
    """Nothing irreversible happens when it goes; that spares the API server a write."""
    assert plan(Observation(MEMORY, config=CONFIG)) == (PutConfig(CONFIG),)


def test_a_memory_that_came_to_retain_is_released_once_its_configuration_is_on_record() -> None:
    """From then on the configuration is withdrawn whenever the object goes."""
    memory = replace(MEMORY, finalizers=GUARDED.finalizers)

    assert plan(Observation(memory, config=CONFIG)) == (PutConfig(CONFIG), ReleaseFinalizer())


def test_a_memory_is_written_again_each_time() -> None:
    """The write is idempotent; it is what repairs a store that lost data."""
    assert plan(Observation(GUARDED, config=CONFIG)) == (PutConfig(CONFIG),)


def test_an_invalid_specification_is_reported_and_changes_nothing() -> None:
    """The last good configuration stays in the store."""
    assert plan(Observation(GUARDED, fault="say what")) == (Report(verdicts.invalid("say what")),)


def test_an_absent_store_is_reported() -> None:
    """Nothing else can be done."""
    assert plan(Observation(GUARDED, config=CONFIG, store_error=AWAY)) == (
        Report(verdicts.store_failed(AWAY, deleting=False)),
    )


def test_an_invalid_specification_matters_more_than_an_absent_store() -> None:
    """A person can mend it meanwhile."""
    assert plan(Observation(GUARDED, fault="x", store_error=AWAY)) == (Report(verdicts.invalid("x")),)


def test_a_guarded_memory_that_retains_loses_only_its_configuration() -> None:
    """Its policy was switched just before; conversations stay for a memory of the same name."""
    assert plan(Observation(replace(DELETING, spec=SPEC))) == (RemoveConfig(), ReleaseFinalizer())


def test_delete_removes_the_configuration_before_the_conversations() -> None:
    """So that no sidecar writes while they are erased."""
    assert plan(Observation(DELETING)) == (RemoveConfig(), EraseInstances(), ReleaseFinalizer())


def test_a_deletion_waits_for_the_store_and_says_how_to_give_up() -> None:
    """A namespace must not hang without a word."""
    (step,) = plan(Observation(DELETING, store_error=AWAY))

    assert isinstance(step, Report)
    assert step.verdict.reason == "StoreUnavailable"
    assert "agentmemory.io/force-remove-finalizer=true" in step.verdict.message


def test_an_administrator_can_release_a_deletion_that_waits() -> None:
    """Only while the store fails."""
    memory = replace(DELETING, force_release=True)

    assert plan(Observation(memory, store_error=AWAY)) == (ReleaseFinalizer(forced=True),)
    assert plan(Observation(memory)) == (RemoveConfig(), EraseInstances(), ReleaseFinalizer())


def test_a_paused_memory_can_be_released_as_well() -> None:
    """Otherwise two annotations would lock the object up."""
    memory = replace(DELETING, force_release=True, paused=True)

    assert plan(Observation(memory, store_error=AWAY)) == (ReleaseFinalizer(forced=True),)


def test_nothing_is_written_for_a_paused_memory() -> None:
    """Neither in the store nor in its finalizers."""
    for memory in (MEMORY, ERASING, GUARDED, DELETING):
        assert plan(Observation(replace(memory, paused=True), config=CONFIG)) == (Report(verdicts.paused()),)


def test_what_others_guard_is_left_to_them() -> None:
    """A deleted object without our finalizer is none of our business any more."""
    assert plan(Observation(replace(DELETING, finalizers=("other.io/x",)))) == ()


@dataclass(frozen=True)
class World:
    """A store and an object, as far as plans are about them."""

    memory: Memory
    config_stored: bool = False
    instances: int = 0
    object_exists: bool = True

    def after(self, step: Step) -> World:
        """Return the world in which a step was applied."""
        match step:
            case AddFinalizer():
                return replace(self, memory=replace(self.memory, finalizers=(*self.memory.finalizers, FINALIZER)))
            case PutConfig():
                assert self.memory.guarded or not self.memory.erases_on_deletion
                return replace(self, config_stored=True)
            case RemoveConfig():
                return replace(self, config_stored=False)
            case EraseInstances():
                assert not self.config_stored
                return replace(self, instances=max(0, self.instances - 1))
            case ReleaseFinalizer():
                kept = tuple(name for name in self.memory.finalizers if name != FINALIZER)
                exists = bool(kept) or not self.memory.deleting
                return replace(self, memory=replace(self.memory, finalizers=kept), object_exists=exists)
            case Report():
                return self


def run(world: World, crash_after: int) -> World:
    """Apply a plan, but stop after some steps; erasing that is not finished ends the plan as the reconciler does."""
    for step in plan(Observation(world.memory, config=CONFIG))[:crash_after]:
        world = world.after(step)
        if isinstance(step, EraseInstances) and world.instances:
            break
    return world


crashes = st.lists(st.integers(min_value=0, max_value=3), max_size=8)


@given(crashes=crashes, stored=st.booleans(), guarded=st.booleans(), erase=st.booleans())
def test_configuration_converges_whatever_crashes_in_between(
    crashes: list[int], stored: bool, guarded: bool, erase: bool
) -> None:
    """From any state, after any crashes, two undisturbed runs end with a configured memory, guarded if it erases."""
    memory = replace(ERASING if erase else MEMORY, finalizers=GUARDED.finalizers if guarded else ())
    world = World(memory, config_stored=stored)

    for crash_after in crashes:
        world = run(world, crash_after)
    world = run(run(world, 3), 3)

    assert world.config_stored
    assert world.memory.guarded == erase
    assert run(world, 3) == world


@given(crashes=crashes, instances=st.integers(0, 5), stored=st.booleans(), erase=st.booleans())
def test_deletion_converges_and_never_releases_early(
    crashes: list[int], instances: int, stored: bool, erase: bool
) -> None:
    """The object goes only when what its policy says is done; with Retain the conversations stay."""
    spec = {**SPEC, "deletionPolicy": "Delete" if erase else "Retain"}
    memory = replace(DELETING, finalizers=(FINALIZER,), spec=spec)
    world = World(memory, config_stored=stored, instances=instances)

    for crash_after in [*crashes, *[3] * (instances + 1)]:
        world = run(world, crash_after)
        if not world.object_exists:
            break

    assert not world.object_exists
    assert not world.config_stored
    assert world.instances == (0 if erase else instances)
