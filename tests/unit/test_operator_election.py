"""Leader election as a state machine: who may take a lease, who must give it up, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from memory_operator.election import Election, LeaseRecord, Lost, Terms, Wait, Write

TERMS = Terms(duration=15, renew_deadline=10)


def elect(identity: str = "me") -> Election:
    """Return a replica's election."""
    return Election(identity=identity, terms=TERMS)


def record(holder: str = "other", *, transitions: int = 4, version: str = "1") -> LeaseRecord:
    """Return what a lease says."""
    return LeaseRecord(holder=holder, duration_seconds=15, transitions=transitions, version=version)


def leading(now: float = 0) -> Election:
    """Return the election of a leader in term 1."""
    election = elect()
    decision = election.next_write(None, now)
    assert isinstance(decision, Write)
    election.written(replace(decision.record, version="1"), asked_at=now)
    return election


def test_a_lease_that_does_not_exist_is_created_with_epoch_one() -> None:
    """An epoch is never 0."""
    election = leading()

    assert election.epoch == 1
    assert election.leads(9.9)


def test_a_candidate_waits_for_the_whole_duration_by_its_own_clock() -> None:
    """Times written by others are not compared with ours."""
    election = elect()

    assert election.next_write(record(), 100) == Wait()
    assert election.next_write(record(), 114.9) == Wait()
    decision = election.next_write(record(), 115)
    assert isinstance(decision, Write)
    assert (decision.record.holder, decision.record.transitions, decision.record.version) == ("me", 5, "1")


def test_every_renewal_starts_the_wait_again() -> None:
    """As long as the holder shows signs of life."""
    election = elect()
    for second in range(0, 60, 14):
        assert election.next_write(record(version=str(second)), second) == Wait()


def test_a_released_lease_is_taken_at_once_in_a_new_term() -> None:
    """That is how a rolling update loses no time."""
    decision = elect().next_write(record(holder=""), 0)

    assert isinstance(decision, Write)
    assert decision.record.transitions == 5


def test_a_restarted_process_takes_its_own_lease_at_once_in_a_new_term() -> None:
    """Nobody else bears the pod's name; the term is new, because the old process may have left writes behind."""
    decision = elect().next_write(record(holder="me"), 0)

    assert isinstance(decision, Write)
    assert decision.record.transitions == 5


def test_a_renewal_stays_in_the_term() -> None:
    """The epoch does not move."""
    election = leading()
    decision = election.next_write(election.held, 5)

    assert isinstance(decision, Write)
    assert (decision.record.transitions, decision.record.version) == (0, "1")
    election.written(decision.record, asked_at=5)
    assert election.leads(14.9)


def test_a_leader_stops_when_it_could_not_renew() -> None:
    """Before anybody else may take over."""
    election = leading(now=0)

    assert not election.leads(10)


def test_the_lead_counts_from_when_the_renewal_was_asked_for() -> None:
    """Not from its answer, which may have taken long."""
    election = leading(now=0)
    decision = election.next_write(election.held, 2)
    assert isinstance(decision, Write)
    election.written(decision.record, asked_at=2)

    assert election.leads(11.9)
    assert not election.leads(12)


@pytest.mark.parametrize("found", [record(holder="other"), record(holder=""), record(holder="me", transitions=9)])
def test_a_leader_that_finds_another_term_has_lost(found: LeaseRecord) -> None:
    """Even when the lease names it: that is another process of its name."""
    election = leading()

    assert election.next_write(found, 1) == Lost()
    assert not election.leads(1)


def test_a_leader_goes_on_when_its_lease_was_deleted() -> None:
    """It makes it anew and stays in its term."""
    election = leading()
    decision = election.next_write(None, 1)

    assert isinstance(decision, Write)
    assert (decision.record.version, decision.record.transitions) == ("", 0)


def test_a_release_can_raise_the_count_of_terms() -> None:
    """For a store that has seen higher epochs: the next term must be above them."""
    election = leading()
    released = election.release(minimum_transitions=41)

    assert (released.holder, released.transitions) == ("", 41)
    assert not election.leads(0)
    taken = elect("other").next_write(released, 0)
    assert isinstance(taken, Write)
    assert taken.record.transitions + 1 > 41


def test_the_deadline_must_be_shorter_than_the_lease() -> None:
    """Otherwise two could lead."""
    with pytest.raises(ValueError, match="shorter"):
        Election(identity="me", terms=Terms(duration=10, renew_deadline=10))


class Replicas(RuleBasedStateMachine):
    """Three replicas, one lease, one clock: whatever the order of looks, pauses and releases."""

    def __init__(self) -> None:
        super().__init__()
        self.lease: LeaseRecord | None = None
        self.version = 0
        self.now = 0.0
        self.replicas = [elect(name) for name in "abc"]
        self.epochs: list[int] = []

    number = st.integers(0, 2)

    def write(self, record: LeaseRecord) -> LeaseRecord:
        """Write as the API server does."""
        self.version += 1
        self.lease = replace(record, version=str(self.version))
        return self.lease

    @rule(number=number)
    def look(self, number: int) -> None:
        """A replica reads the lease and does what it decides."""
        replica = self.replicas[number]
        led = replica.leads(self.now)
        held = replica.held is not None
        decision = replica.next_write(self.lease, self.now)
        if isinstance(decision, Write):
            replica.written(self.write(decision.record), asked_at=self.now)
            if not held:
                self.epochs.append(replica.epoch)
        else:
            assert not (led and isinstance(decision, Wait))

    @rule(number=number)
    def restart(self, number: int) -> None:
        """A process dies and comes back under its name."""
        self.replicas[number] = elect("abc"[number])

    @rule(number=number)
    def release(self, number: int) -> None:
        """A leader ends in order."""
        if self.replicas[number].leads(self.now):
            self.write(self.replicas[number].release())

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def at_most_one_leads(self) -> None:
        """The point of it all."""
        assert sum(replica.leads(self.now) for replica in self.replicas) <= 1

    @invariant()
    def epochs_only_grow(self) -> None:
        """Each term has a higher one than all before."""
        assert self.epochs == sorted(set(self.epochs))


TestReplicas = Replicas.TestCase
