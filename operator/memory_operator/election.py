"""Leader election as a state machine without I/O; the algorithm of client-go's leaderelection with a Lease.

Two rules make it safe. A candidate takes a lease over only after it has itself watched the same record for the whole
lease duration, by its own monotonic clock: the clocks of pods are never compared. A leader gives up when it could not
renew for `renew_deadline`, which is shorter. Because a process may still be stopped in between, every term has an
epoch, and the store refuses writes of an older one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. `transitions` counts terms: it grows whenever somebody starts to lead."""

    holder: str
    duration_seconds: int
    transitions: int
    acquired_at: str = ""  # as written when the term began; empty: it begins now
    version: str = ""  # resource version, the guard of every update


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else leads; look again after a while."""


@dataclass(frozen=True, slots=True)
class Write:
    """Create or update the lease with this record; on conflict look again."""

    record: LeaseRecord


@dataclass(frozen=True, slots=True)
class Lost:
    """This process led, and somebody else does now."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Lengths of time in seconds; renew_deadline < duration."""

    duration: float
    renew_deadline: float


class Election:
    """One process's view of who leads."""

    def __init__(self, *, identity: str, terms: Terms) -> None:
        if not 0 < terms.renew_deadline < terms.duration:
            raise ValueError("the renew deadline must be shorter than the lease duration")
        self._identity = identity
        self._terms = terms
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._held: LeaseRecord | None = None
        self._renewed_at = 0.0

    @property
    def held(self) -> LeaseRecord | None:
        """Return the record under which this process leads, or None."""
        return self._held

    @property
    def epoch(self) -> int:
        """Return the number of the current term, at least 1. Only a leader has one."""
        if self._held is None:
            raise RuntimeError("only a leader has an epoch")
        return self._held.transitions + 1

    def leads(self, now: float) -> bool:
        """Whether this process may write: it holds the lease and renewed it within the deadline."""
        return self._held is not None and now - self._renewed_at < self._terms.renew_deadline

    def next_write(self, record: LeaseRecord | None, now: float) -> Wait | Write | Lost:
        """Decide, from the lease as it is (None: it does not exist), how to get or keep the lead."""
        if record is not None and record != self._seen:
            self._seen, self._seen_at = record, now
        if self._held is not None:
            return self._keep(self._held, record)
        if record is None:
            return Write(self._record(0, ""))
        # A holder of our own name is this pod before it restarted: nobody else bears its name.
        vacant = record.holder in {"", self._identity} or now - self._seen_at >= record.duration_seconds
        return Write(self._record(record.transitions + 1, record.version)) if vacant else Wait()

    def _keep(self, held: LeaseRecord, record: LeaseRecord | None) -> Write | Lost:
        if record is None:  # somebody deleted the lease; the term goes on under a new one
            return Write(self._record(held.transitions, ""))
        if record.holder != self._identity or record.transitions != held.transitions:
            self._held = None
            return Lost()
        return Write(replace(self._record(held.transitions, record.version), acquired_at=record.acquired_at))

    def written(self, record: LeaseRecord, *, asked_at: float) -> None:
        """Note that the API server accepted `record`. The term counts from when the write was begun."""
        self._held, self._renewed_at = record, asked_at
        self._seen, self._seen_at = record, asked_at

    def release(self, *, minimum_transitions: int = 0) -> LeaseRecord:
        """Return the record that gives the lead up at once.

        `minimum_transitions` raises the count of terms, for a store that has seen higher epochs than this lease.
        """
        held = self._held
        if held is None:
            raise RuntimeError("only a leader can release")
        self._held = None
        return replace(held, holder="", duration_seconds=1, transitions=max(held.transitions, minimum_transitions))

    def _record(self, transitions: int, version: str) -> LeaseRecord:
        return LeaseRecord(
            holder=self._identity,
            duration_seconds=max(1, round(self._terms.duration)),
            transitions=transitions,
            version=version,
        )
