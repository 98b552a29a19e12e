"""The store fails in every way it can: what the status says, and that everything comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memory_core.keys import InstallationKeys, MemoryKeys
from support.operators import PATIENCE_SECONDS, Memories, Operators
from support.store import StoreServer
from support.waiting import wait_until

MakeStore = Callable[..., StoreServer]
MakeOperators = Callable[[StoreServer], Operators]


def has_config(store: StoreServer, memories: Memories, name: str = "support") -> bool:
    """Whether the configuration of a memory is in the store."""
    with store.client() as client:
        return bool(client.hexists(MemoryKeys(memories.ref(name)).config, "body"))  # type: ignore[arg-type]  # no bytes


def has_record(store: StoreServer, memories: Memories, name: str = "support") -> bool:
    """Whether the store knows that the configuration of a memory was written."""
    key = InstallationKeys(memories.namespace, "memory-operator").memories
    with store.client() as client:
        return bool(client.sismember(key, memories.ref(name).encode()))  # type: ignore[arg-type]  # no bytes


def has_library(store: StoreServer) -> bool:
    """Whether our function library is in the store."""
    with store.client() as client:
        return bool(client.function_list(library="am1"))


def test_a_store_that_is_away_at_the_start_is_waited_for(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """The condition says where it should be; when it comes, the memory becomes ready by itself."""
    store = make_store()
    store.kill()
    operator = make_operators(store).leading()
    memories.apply()

    ready = memories.wait_reason("StoreUnavailable")
    assert f"127.0.0.1:{store.port}" in ready["message"]
    assert (ready["status"], memories.condition("Reconciling")["status"]) == ("False", "True")
    assert operator.metric("store_connected") == 0
    assert operator.ask("/healthz")[0] == 200

    store.start()
    memories.wait_ready()
    assert has_config(store, memories)


def test_a_store_that_goes_away_is_reported_and_heals(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """Without any change to the object, and although the store comes back empty."""
    store = make_store()
    make_operators(store).leading()
    memories.apply()
    memories.wait_ready()
    store.kill()
    memories.wait_reason("StoreUnavailable")

    store.start()
    memories.wait_ready()
    assert has_config(store, memories)
    assert has_library(store)


def test_a_restart_of_the_store_loses_nothing_and_changes_no_status(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """A short absence is not worth a word."""
    store = make_store()
    operator = make_operators(store).leading()
    memories.apply()
    memories.wait_ready()
    store.kill()
    store.start()
    wait_until(lambda: has_config(store, memories), "the configuration is back", timeout_seconds=PATIENCE_SECONDS)

    assert operator.metric("library_repairs_total") == 2
    memories.wait_ready()
    assert "StoreUnavailable" not in [reason for _, reason, _ in memories.events()]


@pytest.mark.parametrize("loss", ["flushall", "config", "library"])
def test_what_the_store_lost_comes_back_within_a_probe(
    loss: str, operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """The connection stands all the while."""
    operator = operators.leading(store_probe="1s")
    memories.apply()
    memories.wait_ready()
    with valkey.client() as client:
        if loss == "library":
            client.function_flush("SYNC")
        elif loss == "flushall":
            client.flushall()
        else:
            client.delete(MemoryKeys(memories.ref()).config)  # type: ignore[arg-type]  # the stubs know no bytes
    wait_until(
        lambda: has_config(valkey, memories) and has_library(valkey) and has_record(valkey, memories),
        "repaired",
        timeout_seconds=PATIENCE_SECONDS,
    )

    memories.wait_ready()
    assert operator.program.running


def test_a_lost_configuration_comes_back_with_the_resync_as_well(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """The safety net below the probe."""
    operators.leading(resync="1s")
    memories.apply()
    memories.wait_ready()
    with valkey.client() as client:
        client.flushall()

    wait_until(lambda: has_config(valkey, memories), "the configuration is back", timeout_seconds=PATIENCE_SECONDS)
    wait_until(lambda: has_record(valkey, memories), "the record is back", timeout_seconds=PATIENCE_SECONDS)


def test_a_memory_applied_while_the_library_is_missing_becomes_ready(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """The first command that misses it has it loaded."""
    operators.leading()
    with valkey.client() as client:
        client.function_flush("SYNC")
    memories.apply()

    memories.wait_ready()
    assert has_library(valkey)


def test_a_store_that_refuses_is_reported_with_its_reason(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """A user without the rights it needs; when it gets them, the memory becomes ready."""
    store = make_store()
    operator = make_operators(store).leading()
    with store.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-fcall")
    memories.apply()

    ready = memories.wait_reason("StoreError")
    assert "NOPERM" in ready["message"]
    assert operator.metric('reconciles_total{outcome="retry"}') >= 1
    with store.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "+fcall")
    memories.wait_ready()


def test_the_operator_logs_in_with_the_password_from_a_file_and_never_shows_it(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """And follows when the file changes with the next connect."""
    store = make_store(password="first-secret")
    operators = make_operators(store)
    file = operators.folder / "password"
    file.write_text("wrong-secret")
    operator = operators.leading(store_password_file=str(file))
    memories.apply()
    memories.wait_reason("StoreUnavailable")
    file.write_text("first-secret\n")
    memories.wait_ready()

    told = operator.program.log + str(memories.get()) + str(memories.events())
    assert "first-secret" not in told
    assert "wrong-secret" not in told
