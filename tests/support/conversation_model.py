"""What a conversation should be, in plain Python: the judge of the function library in its state machine test.

Written from the documentation, not from the Lua code: a list of messages, and units found by looking at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from memory_core.errors import (
    AgentMemoryError,
    DuplicateMessageId,
    IdempotencyMismatch,
    InstanceNotFound,
    LimitExceeded,
    MessageNotFound,
    MessageTooLarge,
    StaleConfiguration,
    VersionConflict,
)
from memory_core.messages import EncodedMessage
from memory_core.store.functions import AppendResult, Idempotency, Totals
from memory_core.store.limits import AppendLimits

Refusal = type[AgentMemoryError]

_ROLES = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}


@dataclass
class Stored:
    """A message; `unit` is the sequence number of the call it belongs to, or its own."""

    id: str
    seq: int
    unit: int
    tokens: int
    size: int
    role: str
    critical: bool
    body: bytes


@dataclass
class Model:
    """A conversation that may not exist."""

    exists: bool = False
    version: int = 0
    seq: int = 0
    revision: int = 0
    messages: list[Stored] = field(default_factory=list)
    callers: dict[str, int] = field(default_factory=dict)  # sequence number of the newest call of an id
    answers: dict[str, tuple[str, AppendResult]] = field(default_factory=dict)
    newest_version: int = 0  # of all conversations of that name

    @property
    def totals(self) -> Totals:
        """Return the sums over the messages."""
        return Totals(len(self.messages), sum(m.tokens for m in self.messages), sum(m.size for m in self.messages))

    @property
    def entries(self) -> list[bytes]:
        """Return what a reader of everything gets."""
        return [b'{"seq":%d' % each.seq + each.body for each in self.messages]

    def newest(self, count: int) -> list[Stored]:
        """Return the messages of the last append."""
        return self.messages[-count:]

    def roles(self) -> dict[str, int]:
        """Return how many messages each role has."""
        return {role: sum(m.role == letter for m in self.messages) for letter, role in _ROLES.items()}

    def repeated(self, idempotency: Idempotency | None) -> AppendResult | Refusal | None:
        """Return the answer that was given before under a key, or the refusal of another request under it."""
        if idempotency is None or idempotency.key not in self.answers:
            return None
        fingerprint, answer = self.answers[idempotency.key]
        return answer if fingerprint == idempotency.fingerprint else IdempotencyMismatch

    def refusal(self, revision: int, *, expected: int | None = None, create: bool = False) -> Refusal | None:
        """Return why no change may be made."""
        if revision < self.revision:
            return StaleConfiguration
        if expected is not None and expected != self.version:
            return VersionConflict
        return None if self.exists or create else InstanceNotFound

    def append(self, messages: Sequence[EncodedMessage], limits: AppendLimits) -> tuple[str, ...] | Refusal:
        """Append, and return the ids that were evicted for it."""
        ids = [each.id for each in messages]
        if len(set(ids)) < len(ids) or not {m.id for m in self.messages}.isdisjoint(ids):
            return DuplicateMessageId
        before, seq, callers = list(self.messages), self.seq, dict(self.callers)
        for each in messages:
            self._add(each)
        new = self.messages[len(before) :]
        victims = self._victims(new, limits)
        if isinstance(victims, type):
            self.messages, self.seq, self.callers = before, seq, callers
            return victims
        gone = {each.seq for each in victims}
        self.messages = [each for each in self.messages if each.seq not in gone]
        return tuple(each.id for each in victims)

    def _add(self, encoded: EncodedMessage) -> None:
        tokens, size, kind, _ = encoded.header.decode().split(" ", 3)
        self.seq += 1
        caller = next((m for m in self.messages if m.seq == self.callers.get(encoded.answers)), None)
        self.callers |= dict.fromkeys(encoded.calls.split(), self.seq)
        self.messages.append(
            Stored(
                id=encoded.id,
                seq=self.seq,
                unit=self.seq if caller is None else caller.unit,
                tokens=int(tokens),
                size=int(size),
                role=kind[0],
                critical="c" in kind,
                body=encoded.body,
            )
        )

    def _victims(self, new: list[Stored], limits: AppendLimits) -> list[Stored] | Refusal:
        """Return who must go, oldest unit first: no critical member, none that the new messages belong to."""
        tokens, count = sum(each.tokens for each in new), len(new)
        if (limits.max_tokens and tokens > limits.max_tokens) or (limits.max_messages and count > limits.max_messages):
            return MessageTooLarge
        left, victims = list(self.messages), list[Stored]()
        units = sorted({each.unit for each in left} - {each.unit for each in new})
        while over(left, limits):
            if not (units and limits.evict):
                return LimitExceeded
            members = [each for each in left if each.unit == units[0]]
            if not any(each.critical for each in members):
                victims += members
                left = [each for each in left if each.unit != units[0]]
            del units[0]
        return victims

    def changed(self, revision: int, version: int) -> None:
        """Note a change."""
        self.exists, self.revision, self.version = True, revision, version
        self.newest_version = max(self.newest_version, version)

    def delete_message(self, name: str) -> tuple[str, ...] | Refusal:
        """Remove the unit of a message, and return its ids."""
        unit = next((each.unit for each in self.messages if each.id == name), None)
        if unit is None:
            return MessageNotFound
        removed = tuple(each.id for each in self.messages if each.unit == unit)
        self.messages = [each for each in self.messages if each.unit != unit]
        return removed

    def deleted(self) -> "Model":
        """Return what is left of it."""
        return replace(Model(), newest_version=self.newest_version)


def over(messages: Sequence[Stored], limits: AppendLimits) -> bool:
    """Tell whether messages pass a limit."""
    tokens = sum(each.tokens for each in messages)
    return bool(
        (limits.max_messages and len(messages) > limits.max_messages)
        or (limits.max_tokens and tokens > limits.max_tokens)
    )


def sequence_number(entry: bytes) -> int:
    """Return the sequence number of a message as a reader gets it."""
    return int(msgspec.json.decode(entry)["seq"])
