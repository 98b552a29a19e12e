"""Deleting a memory: what stays, what goes, what survives a crash, and how an administrator gets out of a dead end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from memory_core.keys import InstallationKeys, InstanceKeys, MemoryKeys, MemoryRef
from support.operators import PATIENCE_SECONDS, Memories, Operators
from support.store import Persistence, StoreServer
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


def configured(store: StoreServer, ref: MemoryRef) -> bool:
    """Whether the configuration of a memory is in the store."""
    with store.client() as client:
        return bool(client.hexists(MemoryKeys(ref).config, "body"))  # type: ignore[arg-type]  # no bytes


def record_of(memories: Memories) -> str:
    """Return the key of the record of the operators of a test."""
    return InstallationKeys(memories.namespace, "memory-operator").memories.decode()


def recorded(store: StoreServer, memories: Memories) -> set[str]:
    """Return the names on record, of the namespace of a test."""
    with store.client() as client:
        refs = (MemoryRef.decode(word) for word in client.smembers(record_of(memories)))
        return {ref.name for ref in refs if ref.namespace == memories.namespace}


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

    assert not memories.exists()
    wait_until(lambda: not configured(valkey, memories.ref()), "the configuration is withdrawn")
    with valkey.client() as client:
        assert client.zcard(MemoryKeys(memories.ref()).instances) == 3  # type: ignore[arg-type]  # no bytes
    assert recorded(valkey, memories) == set()
    wait_until(lambda: ("Normal", "ConfigRemoved") in [event[:2] for event in memories.events()], "the event")

    memories.apply()
    memories.wait_ready()
    assert memories.get()["status"]["configRevision"] > revision


def test_what_was_deleted_while_no_operator_ran_is_withdrawn_at_the_next_start(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """The record in the store says what is left; what is still there, or there again, stays in effect."""
    operator = operators.leading()
    names = {"deleted", "made-anew", "kept"}
    for name in names:
        memories.apply(name)
        memories.wait_ready(name)
    assert recorded(valkey, memories) == names
    operator.program.kill()
    for name in ("deleted", "made-anew"):
        memories.delete(name)
        assert not memories.exists(name)
    memories.apply("made-anew")
    assert configured(valkey, memories.ref("deleted"))
    operator.program.start()
    wait_until(lambda: not configured(valkey, memories.ref("deleted")), "withdrawn", timeout_seconds=PATIENCE_SECONDS)
    memories.wait_ready("made-anew")

    assert recorded(valkey, memories) == {"made-anew", "kept"}
    assert operator.metric("config_removals_total") == 1
    assert configured(valkey, memories.ref("made-anew"))
    assert configured(valkey, memories.ref("kept"))


def test_what_was_deleted_while_the_store_was_away_is_withdrawn_when_it_is_back(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """The object does not wait for it; the event comes when it is true."""
    store = make_store(persistence=Persistence.ALWAYS)
    make_operators(store).leading()
    memories.apply()
    memories.wait_ready()
    store.kill()
    memories.delete()
    assert not memories.exists()
    time.sleep(3)  # longer than an absence that is just waited out
    assert "ConfigRemoved" not in [reason for _, reason, _ in memories.events()]
    store.start()
    assert configured(store, memories.ref())

    wait_until(lambda: not configured(store, memories.ref()), "withdrawn", timeout_seconds=PATIENCE_SECONDS)
    wait_until(lambda: "ConfigRemoved" in [reason for _, reason, _ in memories.events()], "the event")
    assert recorded(store, memories) == set()


def test_a_memory_that_vanished_unseen_is_withdrawn_with_the_resync(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """For instance between two terms: it is on record, and the cluster does not know it."""
    operators.leading(resync="1s")
    memories.apply()
    memories.wait_ready()
    gone = memories.ref("gone")
    with valkey.client() as client:
        client.hset(MemoryKeys(gone).config, mapping={"body": "{}", "epoch": 1})  # type: ignore[arg-type]  # no bytes
        client.sadd(record_of(memories), gone.encode())
    wait_until(lambda: not configured(valkey, gone), "withdrawn", timeout_seconds=PATIENCE_SECONDS)

    assert recorded(valkey, memories) == {"support"}
    assert configured(valkey, memories.ref())


def test_what_another_installation_wrote_or_another_namespace_holds_is_left_alone(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """They may share a store; their memories are in no cache here."""
    unserved = MemoryRef("a-namespace-that-is-not-served", "support")
    foreign = memories.ref("of-another-installation")
    theirs = InstallationKeys(memories.namespace, "another-lease").memories
    with valkey.client() as client:
        for ref, record in ((unserved, record_of(memories)), (foreign, theirs)):
            client.hset(MemoryKeys(ref).config, mapping={"body": "{}", "epoch": 1})  # type: ignore[arg-type]  # no bytes
            client.sadd(record, ref.encode())  # type: ignore[arg-type]  # likewise
        client.sadd(record_of(memories), memories.ref("gone").encode())
    operators.leading()
    wait_until(lambda: "gone" not in recorded(valkey, memories), "it has looked", timeout_seconds=PATIENCE_SECONDS)

    assert configured(valkey, unserved)
    assert configured(valkey, foreign)
    with valkey.client() as client:
        assert client.smembers(record_of(memories)) == {unserved.encode()}
        assert client.smembers(theirs) == {foreign.encode()}  # type: ignore[arg-type]  # likewise


def test_the_finalizer_follows_the_policy(operators: Operators, memories: Memories, valkey: StoreServer) -> None:
    """It comes with Delete, and goes with Retain; no event speaks of a deletion."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    memories.apply(deletionPolicy="Delete")
    wait_until(lambda: memories.get()["metadata"].get("finalizers") == ["agentmemory.io/cleanup"], "it is guarded")
    memories.apply(deletionPolicy="Retain")
    wait_until(lambda: "finalizers" not in memories.get()["metadata"], "it is released")
    memories.wait_ready()
    assert configured(valkey, memories.ref())
    assert {reason for _, reason, _ in memories.events()} == {"InEffect"}

    memories.apply(deletionPolicy="Delete")
    wait_until(lambda: memories.get()["metadata"].get("finalizers"), "it is guarded again")
    converse(valkey, memories.ref(), 5)
    memories.delete()
    memories.wait_gone()
    assert keys_of(valkey, memories.ref()) == set()
    wait_until(lambda: "Erased" in [reason for _, reason, _ in memories.events()], "the receipt")
    assert "ConfigRemoved" not in [reason for _, reason, _ in memories.events()]


def test_a_paused_memory_that_retains_goes_and_is_withdrawn(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """There is nothing left to pause."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    memories.annotate("agentmemory.io/paused=true")
    wait_until(lambda: memories.condition("Paused").get("status") == "True", "it is paused")
    memories.delete()

    assert not memories.exists()
    wait_until(lambda: not configured(valkey, memories.ref()), "the configuration is withdrawn")


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
    """Whatever its policy: it has no finalizer, because nothing of it is in the store."""
    operators.leading()
    memories.apply(
        deletionPolicy="Delete", limits={"maxContextRatio": 0.5}, tokenizer={"model": "a-model-nobody-knows"}
    )
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
