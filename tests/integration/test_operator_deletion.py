"""Deleting a memory: what stays, what goes, what survives a crash, and how an administrator gets out of a dead end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memory_core.keys import InstanceKeys, MemoryKeys, MemoryRef
from support.operators import PATIENCE_SECONDS, Memories, Operators
from support.store import StoreServer
from support.waiting import wait_until

MakeStore = Callable[..., StoreServer]
MakeOperators = Callable[[StoreServer], Operators]


def converse(store: StoreServer, ref: MemoryRef, count: int) -> None:
    """Put keys of conversations into the store, many at a time; what is in them is of no account here."""
    with store.client() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            keys = InstanceKeys(ref, f"conversation {number}")
            for name in (keys.meta, keys.index, keys.messages, keys.units):
                pipeline.hset(name, "field", "value")  # type: ignore[arg-type]  # the client's stubs know no bytes
            pipeline.zadd(MemoryKeys(ref).instances, {keys.key: number + 1})  # type: ignore[arg-type]  # likewise
        pipeline.execute()


def keys_of(store: StoreServer, ref: MemoryRef) -> set[bytes]:
    """Return every key of a memory, by a look at the whole store."""
    memory = f"{{{ref.namespace}/{ref.name}".encode()
    with store.client() as client:
        return {key for key in client.scan_iter(count=1000) if memory + b"/" in key or memory + b"}" in key}


def test_retain_removes_the_configuration_and_keeps_the_conversations(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """A memory of the same name takes them up again, under a higher revision."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    revision = memories.get()["status"]["configRevision"]
    converse(valkey, memories.ref(), 3)
    memories.delete()
    memories.wait_gone()

    with valkey.client() as client:
        assert not client.hexists(MemoryKeys(memories.ref()).config, "body")  # type: ignore[arg-type]  # no bytes
        assert client.zcard(MemoryKeys(memories.ref()).instances) == 3  # type: ignore[arg-type]  # likewise
    assert ("Normal", "ConfigRemoved") in [(kind, reason) for kind, reason, _ in memories.events()]

    memories.apply()
    memories.wait_ready()
    assert memories.get()["status"]["configRevision"] > revision


def test_delete_erases_every_key_and_leaves_a_receipt(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """Registered or not; and nothing of a memory whose name begins alike."""
    operator = operators.leading()
    memories.apply(deletionPolicy="Delete")
    memories.apply("support-eu")
    memories.wait_ready()
    memories.wait_ready("support-eu")
    converse(valkey, memories.ref(), 250)
    converse(valkey, memories.ref("support-eu"), 2)
    stray = MemoryRef(memories.namespace, "support")
    with valkey.client() as client:
        client.set(InstanceKeys(stray, "lost").messages, "x")  # type: ignore[arg-type]  # the stubs know no bytes
    others = keys_of(valkey, memories.ref("support-eu"))
    memories.delete()
    memories.wait_gone()

    assert keys_of(valkey, memories.ref()) == set()
    assert keys_of(valkey, memories.ref("support-eu")) == others
    assert operator.metric("erased_instances_total") == 250
    receipt = wait_until(lambda: [text for _, reason, text in memories.events() if reason == "Erased"], "the receipt")
    assert receipt == ["Erased 250 conversations and 1 stray keys."]


@pytest.mark.parametrize("crashes", [1, 3])
def test_a_deletion_survives_crashes_of_the_operator(
    crashes: int, operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """kill -9 in the middle: the next process goes on, and its receipt counts all."""
    operator = operators.leading()
    memories.apply(deletionPolicy="Delete")
    memories.wait_ready()
    converse(valkey, memories.ref(), 40_000)
    memories.delete()
    for _ in range(crashes):
        before = len(keys_of(valkey, memories.ref()))
        wait_until(lambda: len(keys_of(valkey, memories.ref())) < before, "it erases")  # noqa: B023  # called at once
        operator.program.kill()
        assert keys_of(valkey, memories.ref())
        progress = memories.get()["status"].get("deletion", {})
        assert sum(progress.values()) in {0, 40_000}
        operator.program.start()
    wait_until(lambda: not memories.exists(), "the object goes", timeout_seconds=3 * PATIENCE_SECONDS)

    assert keys_of(valkey, memories.ref()) == set()
    receipt = wait_until(lambda: [text for _, reason, text in memories.events() if reason == "Erased"], "the receipt")
    assert receipt == ["Erased 40000 conversations and 0 stray keys."]


def test_the_status_shows_how_far_an_erasure_has_come(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """For as long as it takes."""
    operators.leading()
    memories.apply(deletionPolicy="Delete")
    memories.wait_ready()
    converse(valkey, memories.ref(), 40_000)
    memories.delete()

    status = memories.wait(
        lambda: memories.get()["status"],
        "progress",
        lambda found: found.get("deletion", {}).get("instancesErased", 0) > 0,
    )
    assert status["deletion"]["instancesErased"] + status["deletion"]["instancesRemaining"] == 40_000
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Ready": ("False", "Deleting"),
        "Reconciling": ("True", "Deleting"),
        "Stalled": ("False", "Deleting"),
    }
    wait_until(lambda: not memories.exists(), "the object goes", timeout_seconds=3 * PATIENCE_SECONDS)


def test_a_deletion_waits_for_the_store_and_says_so(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """The condition says what blocks and how to give up; when the store is back, the object goes."""
    store = make_store()
    make_operators(store).leading()
    memories.apply(deletionPolicy="Delete")
    memories.wait_ready()
    store.kill()
    memories.delete()

    ready = memories.wait(
        lambda: memories.condition("Ready"), "it waits", lambda found: "deletion waits" in found.get("message", "")
    )
    assert ready["reason"] == "StoreUnavailable"
    assert "agentmemory.io/force-remove-finalizer=true" in ready["message"]
    store.start()
    memories.wait_gone()


def test_an_administrator_can_release_a_memory_whose_store_is_gone(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """With a warning that nothing was cleaned."""
    store = make_store()
    make_operators(store).leading()
    memories.apply(deletionPolicy="Delete")
    memories.wait_ready()
    store.kill()
    memories.delete()
    memories.wait_reason("StoreUnavailable")
    memories.annotate("agentmemory.io/force-remove-finalizer=true")
    memories.wait_gone()

    wait_until(
        lambda: ("Warning", "FinalizerForced") in [(kind, reason) for kind, reason, _ in memories.events()], "the event"
    )


def test_a_deleted_memory_that_was_never_valid_goes_at_once(operators: Operators, memories: Memories) -> None:
    """It has no finalizer, because nothing of it is in the store."""
    operators.leading()
    memories.apply(limits={"maxContextRatio": 0.5}, tokenizer={"model": "a-model-nobody-knows"})
    memories.wait_reason("InvalidSpec")
    memories.delete()

    assert not memories.exists()


def test_a_paused_memory_is_not_deleted_until_it_goes_on(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """Paused means that nothing is written."""
    operators.leading()
    memories.apply(deletionPolicy="Delete")
    memories.wait_ready()
    converse(valkey, memories.ref(), 2)
    memories.annotate("agentmemory.io/paused=true")
    wait_until(lambda: memories.condition("Paused").get("status") == "True", "it is paused")
    memories.delete()
    wait_until(lambda: memories.get()["metadata"].get("deletionTimestamp"), "its deletion is asked for")
    assert len(keys_of(valkey, memories.ref())) > 2

    memories.annotate("agentmemory.io/paused-")
    memories.wait_gone()
    assert keys_of(valkey, memories.ref()) == set()
