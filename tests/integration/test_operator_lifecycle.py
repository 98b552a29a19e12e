"""A memory's life: applied, edited, invalid, paused, looked at again."""

from __future__ import annotations

import time

from memory_core.config import decode_config
from memory_core.keys import MemoryKeys
from support.operators import Memories, Operators
from support.store import StoreServer
from support.waiting import wait_until

INVALID_FOR_THE_OPERATOR = {
    "limits": {"maxContextRatio": 0.5},
    "tokenizer": {"model": "a-model-nobody-knows"},
}


def stored_revision(store: StoreServer, memories: Memories) -> int:
    """Return the revision of the configuration in the store, 0 when there is none."""
    with store.client() as client:
        keys = MemoryKeys(memories.ref())
        if not client.hexists(keys.config, "body"):  # type: ignore[arg-type]  # the client's stubs know no bytes here
            return 0
        return int(client.hget(keys.config, "revision") or 0)  # type: ignore[arg-type]  # likewise


def test_an_applied_memory_becomes_ready_and_its_configuration_is_in_the_store(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """What kubectl wait waits for is what sidecars read."""
    operators.leading()
    memories.apply(description="Tickets")
    memories.wait_ready()

    body = memories.get()
    with valkey.client() as client:
        blob = client.hget(MemoryKeys(memories.ref()).config, "body")  # type: ignore[arg-type]  # stubs know no bytes
    assert isinstance(blob, bytes)
    assert decode_config(blob).description == "Tickets"
    assert body["status"]["configRevision"] == stored_revision(valkey, memories)
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
    assert "finalizers" not in body["metadata"]
    truths = {condition["type"]: condition["status"] for condition in body["status"]["conditions"]}
    assert truths == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}


def test_a_memory_that_existed_before_the_operator_becomes_ready(operators: Operators, memories: Memories) -> None:
    """Create and resume are one."""
    memories.apply()
    operators.leading()

    memories.wait_ready()


def test_an_edit_takes_effect_with_a_new_revision(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """Sidecars are told by a message on the memory's channel."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    before = stored_revision(valkey, memories)
    with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(MemoryKeys(memories.ref()).channel)  # type: ignore[arg-type]  # the stubs know no bytes
        channel.get_message(timeout=5)
        memories.apply(limits={"maxTokens": 9000})

        told = wait_until(lambda: channel.get_message(timeout=1), "the message to the sidecars")
        assert told
        assert int(told["data"]) == stored_revision(valkey, memories) > before
    memories.wait_ready()
    status = memories.get()["status"]
    assert status["configRevision"] == stored_revision(valkey, memories)


def test_a_specification_that_cannot_take_effect_stalls_with_a_sentence_and_recovers_when_edited(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """The API server cannot know which models have a known context window; the operator says it."""
    operators.leading()
    memories.apply(**INVALID_FOR_THE_OPERATOR)

    ready = memories.wait_reason("InvalidSpec")
    assert "set limits.contextWindow" in ready["message"]
    assert (memories.condition("Stalled")["status"], memories.condition("Reconciling")["status"]) == ("True", "False")
    assert stored_revision(valkey, memories) == 0

    memories.apply()
    memories.wait_ready()
    assert memories.condition("Stalled")["status"] == "False"


def test_an_invalid_edit_leaves_the_last_good_configuration_in_effect(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """A typing error does not stop agents."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    revision = stored_revision(valkey, memories)
    memories.apply(**INVALID_FOR_THE_OPERATOR)
    memories.wait_reason("InvalidSpec")

    assert stored_revision(valkey, memories) == revision


def test_a_paused_memory_is_left_alone_until_the_annotation_goes(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """What was in effect stays in effect; what was edited meanwhile takes effect afterwards."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    revision = stored_revision(valkey, memories)
    memories.annotate("agentmemory.io/paused=true")
    wait_until(lambda: memories.condition("Paused").get("status") == "True", "it is paused")
    memories.apply(annotations={"agentmemory.io/paused": "true"}, limits={"maxTokens": 9000})
    with valkey.client() as client:
        client.delete(MemoryKeys(memories.ref()).config)  # type: ignore[arg-type]  # the stubs know no bytes
    time.sleep(0.5)  # nothing is what must happen

    assert stored_revision(valkey, memories) == 0
    assert memories.condition("Ready")["observedGeneration"] == 1
    memories.annotate("agentmemory.io/paused-")
    wait_until(lambda: stored_revision(valkey, memories) > revision, "the edit takes effect")
    memories.wait_ready()
    assert memories.condition("Paused") == {}


def test_a_memory_paused_from_the_start_gets_no_finalizer(operators: Operators, memories: Memories) -> None:
    """Nothing is written but the condition."""
    operators.leading()
    memories.apply(annotations={"agentmemory.io/paused": "true"}, deletionPolicy="Delete")
    wait_until(lambda: memories.condition("Paused").get("status") == "True", "it is paused")

    assert "finalizers" not in memories.get()["metadata"]
    assert memories.condition("Ready")["status"] == "Unknown"


def test_looking_again_writes_nothing_when_nothing_has_changed(operators: Operators, memories: Memories) -> None:
    """Three resyncs later the object is the very same."""
    operator = operators.leading(resync="1s")
    memories.apply()
    memories.wait_ready()
    version = memories.get()["metadata"]["resourceVersion"]
    looks = operator.metric('reconciles_total{outcome="done"}')
    wait_until(lambda: operator.metric('reconciles_total{outcome="done"}') >= looks + 3, "three resyncs")

    assert memories.get()["metadata"]["resourceVersion"] == version
    assert operator.metric("status_patches_total") == 1
    assert operator.metric("config_writes_total") == 1


def test_events_tell_what_happened_once(operators: Operators, memories: Memories) -> None:
    """One for each transition, with its reason and sentence."""
    operators.leading()
    memories.apply()
    memories.wait_ready()
    memories.apply(**INVALID_FOR_THE_OPERATOR)
    memories.wait_reason("InvalidSpec")
    wait_until(lambda: len(memories.events()) >= 2, "both events")

    told = [(kind, reason) for kind, reason, _ in memories.events()]
    assert sorted(told) == [("Normal", "InEffect"), ("Warning", "InvalidSpec")]


def test_the_probes_and_metrics_tell_the_state(operators: Operators, memories: Memories) -> None:
    """Alive, ready, and what it did."""
    operator = operators.leading()
    memories.apply()
    memories.wait_ready()
    wait_until(lambda: operator.ask("/readyz")[0] == 200, "ready")

    assert operator.ask("/healthz") == (200, "watch: ok\nqueue: ok\nelection: ok\n")
    assert operator.metric('memories{reason="InEffect"}') == 1
    assert operator.metric("store_connected") == 1
    assert operator.metric("epoch") == 1
    assert operator.metric("config_writes_total") == 1
    wait_until(lambda: operator.metric("queue_depth") == 0, "the queue is empty")
    assert operator.metric("reconcile_seconds_count") >= 1


def test_many_memories_and_many_edits_all_take_effect(operators: Operators, memories: Memories) -> None:
    """The last state counts, whatever was merged in between."""
    operator = operators.leading()
    names = [f"memory-{number}" for number in range(20)]
    for limit in (1000, 2000, 3000):
        for name in names:
            memories.apply(name, limits={"maxTokens": limit})
    for name in names:
        memories.wait_ready(name)

    items = memories.cluster.get("mem", "--namespace", memories.namespace)["items"]
    assert {item["status"]["observedGeneration"] for item in items} == {3}
    assert operator.metric('memories{reason="InEffect"}') == 20
