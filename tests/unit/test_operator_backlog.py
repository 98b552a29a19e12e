"""The queue of memories that wait to be reconciled, and the delays of those that failed."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from memory_operator.backlog import Backlog, Backoff


def test_an_item_that_comes_again_while_it_waits_is_merged() -> None:
    """A burst of edits is one reconciliation."""
    backlog: Backlog[str] = Backlog()
    for _ in range(3):
        backlog.add("a", now=0, urgent=False)

    assert backlog.take(0) == "a"
    assert backlog.take(0) is None


def test_an_item_that_comes_again_while_it_is_worked_on_waits_until_that_is_done() -> None:
    """Two workers never have the same memory, and no change is lost."""
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0, urgent=False)
    backlog.take(0)
    backlog.add("a", now=1, urgent=False)

    assert backlog.take(1) is None
    backlog.done("a", now=2)
    assert backlog.take(2) == "a"


def test_what_somebody_just_changed_goes_first() -> None:
    """A resync of thousands does not delay an edit."""
    backlog: Backlog[str] = Backlog()
    for name in "abc":
        backlog.add(name, now=0, urgent=False)
    backlog.add("x", now=1, urgent=True)
    backlog.add("b", now=1, urgent=True)

    assert [backlog.take(1) for _ in range(4)] == ["x", "b", "a", "c"]


def test_a_delayed_item_comes_when_it_is_due() -> None:
    """Not before."""
    backlog: Backlog[str] = Backlog()
    backlog.add_later("a", due=5)

    assert (backlog.take(4.9), backlog.next_due(), backlog.take(5)) == (None, 5, "a")
    assert backlog.next_due() is None


def test_an_event_cuts_a_delay_short() -> None:
    """And the delay does not bring the item a second time."""
    backlog: Backlog[str] = Backlog()
    backlog.add_later("a", due=5)
    backlog.add("a", now=1, urgent=True)

    assert backlog.take(1) == "a"
    backlog.done("a", now=1)
    assert backlog.take(6) is None


def test_the_earlier_of_two_delays_counts() -> None:
    """A resync does not push a retry into the future."""
    backlog: Backlog[str] = Backlog()
    backlog.add_later("a", due=5)
    backlog.add_later("a", due=9)
    backlog.add_later("a", due=3)

    assert backlog.take(3) == "a"


def test_ages_tell_where_the_queue_is_stuck() -> None:
    """Waiting and worked on."""
    backlog: Backlog[str] = Backlog()
    backlog.add("a", now=0, urgent=False)
    backlog.add("b", now=1, urgent=False)
    assert (backlog.oldest_wait(4), backlog.longest_work(4)) == (4, 0)
    backlog.take(2)

    assert (backlog.oldest_wait(4), backlog.longest_work(4)) == (3, 2)


def test_delays_grow_with_jitter_up_to_a_bound_and_are_forgotten_after_success() -> None:
    """Between half of the nominal delay and the whole."""
    backoff: Backoff[str] = Backoff(base=1, cap=8, random_unit=lambda: 1.0)
    assert [backoff.next_delay("a") for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    assert backoff.next_delay("b") == 1
    backoff.forget("a")
    assert backoff.next_delay("a") == 1

    lowest: Backoff[str] = Backoff(base=1, cap=8, random_unit=lambda: 0.0)
    assert [lowest.next_delay("a") for _ in range(3)] == [0.5, 1, 2]


class Queue(RuleBasedStateMachine):
    """Whatever happens in whatever order: no item is lost, none is worked on twice at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog: Backlog[int] = Backlog()
        self.now = 0.0
        self.owed: dict[int, float] = {}  # item -> from when on it must come
        self.busy: set[int] = set()

    items = st.integers(0, 4)

    @rule(item=items, urgent=st.booleans())
    def add(self, item: int, urgent: bool) -> None:
        """Something changed."""
        self.backlog.add(item, now=self.now, urgent=urgent)
        self.owed[item] = self.now

    @rule(item=items, delay=st.integers(0, 5))
    def add_later(self, item: int, delay: int) -> None:
        """Something is to be looked at later."""
        self.backlog.add_later(item, due=self.now + delay)
        self.owed[item] = min(self.owed.get(item, self.now + delay), self.now + delay)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def take(self) -> None:
        """A worker is free: it gets something exactly when something is owed."""
        due = {item for item, at in self.owed.items() if at <= self.now} - self.busy
        item = self.backlog.take(self.now)
        assert (item in due) if due else item is None
        if item is not None:
            del self.owed[item]
            self.busy.add(item)

    @rule()
    def finish(self) -> None:
        """A worker is done."""
        if self.busy:
            self.backlog.done(self.busy.pop(), now=self.now)

    @invariant()
    def no_age_is_negative(self) -> None:
        """Ages are for the health check."""
        assert self.backlog.oldest_wait(self.now) >= 0


TestQueue = Queue.TestCase
