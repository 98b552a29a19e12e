"""Two replicas: one leads, another takes over, and nobody writes after its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from memory_core.keys import MemoryKeys
from support.operators import PATIENCE_SECONDS, Memories, Operator, Operators
from support.store import StoreServer
from support.waiting import wait_until

MakeStore = Callable[..., StoreServer]
MakeOperators = Callable[[StoreServer], Operators]


@pytest.fixture
def pair(operators: Operators) -> tuple[Operator, Operator]:
    """Return a leader, and a replica that stands by and knows the cluster."""
    leader = operators.leading("operator-0", lease_duration="4s")
    standby = operators.start("operator-1", lease_duration="4s")
    standby.program.wait_until(
        lambda: standby.ask("/readyz")[0] == 200, "the second is ready", timeout_seconds=PATIENCE_SECONDS
    )
    return leader, standby


def stored_epoch(store: StoreServer, memories: Memories) -> int:
    """Return the epoch under which the configuration was written."""
    with store.client() as client:
        return int(client.hget(MemoryKeys(memories.ref()).config, "epoch") or 0)  # type: ignore[arg-type]  # no bytes


def wait_until_leading(operator: Operator) -> float:
    """Return for how many seconds it took until this replica led."""
    started = time.monotonic()
    operator.program.wait_until(lambda: operator.leads, "it leads", timeout_seconds=PATIENCE_SECONDS)
    return time.monotonic() - started


def test_only_one_leads_and_both_are_alive(
    pair: tuple[Operator, Operator], memories: Memories, valkey: StoreServer
) -> None:
    """The other watches, and says that it is ready."""
    leader, standby = pair
    memories.apply()
    memories.wait_ready()

    assert (leader.leads, standby.leads) == (True, False)
    assert (standby.ask("/healthz")[0], standby.ask("/readyz")[0]) == (200, 200)
    assert standby.metric("status_patches_total") == 0
    assert stored_epoch(valkey, memories) == 1


def test_a_leader_that_is_stopped_hands_over_at_once(
    pair: tuple[Operator, Operator], memories: Memories, valkey: StoreServer
) -> None:
    """It releases the lease, so that nobody waits for it to expire; the next term has the next epoch."""
    leader, standby = pair
    memories.apply()
    memories.wait_ready()
    assert leader.program.stop() == 0
    seconds = wait_until_leading(standby)

    assert seconds < 4  # the lease duration; an idle machine takes half a second
    memories.apply(limits={"maxTokens": 9000})
    memories.wait_ready()
    assert stored_epoch(valkey, memories) == 2


def test_a_leader_that_is_killed_is_replaced_when_its_lease_expires(
    pair: tuple[Operator, Operator], memories: Memories
) -> None:
    """And what was changed in between takes effect."""
    leader, standby = pair
    leader.program.kill()
    memories.apply()
    wait_until_leading(standby)

    memories.wait_ready()


def test_a_replica_that_restarts_takes_its_own_lease_at_once(
    operators: Operators, memories: Memories, valkey: StoreServer
) -> None:
    """A crash costs the start of a process, not a lease duration; the epoch is new all the same."""
    operator = operators.leading(lease_duration="10m")
    operator.program.kill()
    operator.program.start()
    wait_until_leading(operator)
    memories.apply()
    memories.wait_ready()

    assert stored_epoch(valkey, memories) == 2


def test_a_leader_that_was_frozen_gives_up_when_it_wakes(
    pair: tuple[Operator, Operator], memories: Memories, valkey: StoreServer
) -> None:
    """It finds that another leads, writes nothing, and ends so that it is started anew."""
    leader, standby = pair
    memories.apply()
    memories.wait_ready()
    leader.program.pause()
    wait_until_leading(standby)
    memories.apply(limits={"maxTokens": 9000})
    memories.wait_ready()
    leader.program.resume()
    wait_until(lambda: not leader.program.running, "it ends", timeout_seconds=PATIENCE_SECONDS)

    assert leader.logged("stopping")[0]["reason"] == "LeadershipLost"
    assert standby.leads
    assert stored_epoch(valkey, memories) == 2


def test_an_operator_of_an_older_epoch_cannot_write_and_the_next_term_is_above(
    make_store: MakeStore, make_operators: MakeOperators, memories: Memories
) -> None:
    """A lease that was lost with its namespace starts counting anew; the store remembers, and the lease catches up."""
    store = make_store()
    operators = make_operators(store)
    operator = operators.leading()
    memories.apply()
    memories.wait_ready()
    with store.client() as client:
        client.hset(MemoryKeys(memories.ref()).config, "epoch", 41)  # type: ignore[arg-type]  # the stubs know no bytes
    memories.apply(limits={"maxTokens": 9000})
    wait_until(lambda: not operator.program.running, "it steps down", timeout_seconds=PATIENCE_SECONDS)
    assert "stepping down" in operator.program.log
    assert stored_epoch(store, memories) == 41

    operator.program.start()
    memories.wait_ready()
    assert stored_epoch(store, memories) > 41


def test_an_operator_waits_for_an_api_server_that_is_away_and_ends_when_its_lead_is_lost(
    operators: Operators,
) -> None:
    """Without access it neither leads nor pretends to."""
    config = operators.access.kubeconfig
    config.write_text(config.read_text().replace("https://127.0.0.1:", "https://127.0.0.2:1"))
    operator = operators.start()
    operator.program.wait_for_log("waiting for the Kubernetes API", timeout_seconds=PATIENCE_SECONDS)

    assert not operator.leads
    assert operator.ask("/readyz")[0] == 503
    assert operator.program.stop() == 0
