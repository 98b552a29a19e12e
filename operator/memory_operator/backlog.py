"""Which memories are waiting to be reconciled: each at most once, each by at most one worker.

The rules of client-go's work queue, without its threads: an item that comes again while it waits is merged; one that
comes again while it is worked on waits until that is done. Two lanes: what somebody just changed goes before what is
only looked at again. Time is passed in, so that every rule can be tested without waiting.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Backoff(Generic[Item]):
    """Exponentially growing delays per item, with jitter so that failures do not march in step.

    Units: seconds. A delay lies between half of its nominal value and the whole.
    """

    def __init__(self, *, base: float, cap: float, random_unit: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._random_unit = random_unit
        self._failures: dict[Item, int] = {}

    def next_delay(self, item: Item) -> float:
        """Count a failure of `item` and return how long to leave it alone."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        nominal = min(self._cap, self._base * 2.0 ** min(failures, 32))
        return nominal * (0.5 + 0.5 * self._random_unit())

    def forget(self, item: Item) -> None:
        """Start again from the base delay."""
        self._failures.pop(item, None)


class Backlog(Generic[Item]):
    """A queue of distinct items. Invariant: an item is in at most one of waiting and delayed."""

    def __init__(self) -> None:
        self._lanes: tuple[dict[Item, float], dict[Item, float]] = ({}, {})  # item -> waiting since; dicts keep order
        self._delayed: dict[Item, float] = {}  # item -> due at
        self._heap: list[tuple[float, int, Item]] = []  # may hold entries that no longer count
        self._entries = 0
        self._busy: dict[Item, float] = {}  # item -> worked on since
        self._again: dict[Item, bool] = {}  # came back while busy -> urgent

    def __len__(self) -> int:
        """Return how many items are waiting, those with a delay not counted."""
        return len(self._lanes[0]) + len(self._lanes[1])

    def add(self, item: Item, *, now: float, urgent: bool) -> None:
        """Let `item` wait for a worker; a delay it had is void."""
        if item in self._busy:
            self._again[item] = urgent or self._again.get(item, False)
            return
        self._delayed.pop(item, None)
        first, second = self._lanes
        if urgent:
            first.setdefault(item, second.pop(item, now))
        elif item not in first:
            second.setdefault(item, now)

    def add_later(self, item: Item, *, due: float) -> None:
        """Let `item` wait from `due` on, unless it waits already or is due earlier."""
        if item in self._lanes[0] or item in self._lanes[1] or item in self._again:
            return
        if self._delayed.get(item, due + 1) <= due:
            return
        self._delayed[item] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, item))

    def take(self, now: float) -> Item | None:
        """Return the next item to work on, or None when nothing is due."""
        self._promote(now)
        for lane in self._lanes:
            if lane:
                item = next(iter(lane))
                del lane[item]
                self._busy[item] = now
                return item
        return None

    def done(self, item: Item, *, now: float) -> None:
        """Give `item` back after work; it waits again if it came back meanwhile."""
        del self._busy[item]
        if item in self._again:
            self.add(item, now=now, urgent=self._again.pop(item))

    def next_due(self) -> float | None:
        """Return when the next delayed item is due, or None when there is none."""
        while self._heap and self._delayed.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def oldest_wait(self, now: float) -> float:
        """Return for how many seconds the longest waiting item has waited."""
        return max((now - since for lane in self._lanes for since in (next(iter(lane.values()), now),)), default=0.0)

    def longest_work(self, now: float) -> float:
        """Return for how many seconds the slowest worker has been busy with one item."""
        return max((now - since for since in self._busy.values()), default=0.0)

    def _promote(self, now: float) -> None:
        due = self.next_due()
        while due is not None and due <= now:
            item = heapq.heappop(self._heap)[2]
            del self._delayed[item]
            self.add(item, now=now, urgent=False)
            due = self.next_due()
