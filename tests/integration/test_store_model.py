"""The function library against a model of a conversation, under any sequence of operations, on real servers.

After every step the whole conversation is read back: it must be what the model says, to the byte, and so must every
answer on the way. So nothing acknowledged is lost, doubled or reordered, units stay whole, limits hold after each
write, and totals are sums.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from memory_core.errors import AgentMemoryError
from memory_core.keys import InstanceKeys
from memory_core.messages import EncodedMessage
from memory_core.store import Store, StoreSettings, functions, library
from memory_core.store.functions import AppendResult, Idempotency, Removed, StoredMessage
from support.conversation_model import Model, Refusal, over, sequence_number
from support.conversations import MEMORY, Conversation, limits, message
from support.store import StoreServer

T = TypeVar("T")

CALLS = ("c1", "c 2")  # few, so that call ids are used again
names = st.integers(1, 300).map("m{}".format)
plain = st.builds(
    message,
    names,
    role=st.sampled_from(["user"] * 4 + ["assistant", "system", "developer"]),
    tokens=st.integers(0, 12),
    content=st.sampled_from(["a", "é" * 40, '"\\\n\0']),
    pinned=st.sampled_from([False] * 5 + [True]),
)
calling = st.builds(
    message, names, calls=st.lists(st.sampled_from(CALLS), min_size=1, unique=True), tokens=st.integers(0, 5)
)
answering = st.builds(message, names, answers=st.sampled_from(CALLS), tokens=st.integers(0, 5))
batches = st.lists(plain | calling | answering, min_size=1, max_size=4)
limit = st.none() | st.integers(1, 12)


class ConversationMachine(RuleBasedStateMachine):
    """Do what callers and configurations may do, to a conversation and to its model."""

    def __init__(self, server: StoreServer) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.runner.run(self._connect(server))
        self.model = Model()
        self.conversation = Conversation(self.store, InstanceKeys(MEMORY, "ada"), limits())

    async def _connect(self, server: StoreServer) -> Store:
        store = Store(StoreSettings(url=server.url))
        await store.start()
        await store.wait_connected(5)
        await store.call(b"FLUSHDB")
        return store

    def teardown(self) -> None:
        """Close the connection."""
        self.runner.run(self.store.close())
        self.runner.close()

    @property
    def grown_or_missing(self) -> bool:
        """Tell whether it is worth removing everything: most steps should meet a conversation with messages."""
        return not self.model.exists or self.model.seq > 8

    def attempt(self, work: Coroutine[Any, Any, T]) -> T | Refusal:
        """Return the answer, or the kind of refusal."""
        try:
            return self.runner.run(work)
        except AgentMemoryError as error:
            return type(error)

    @rule(
        messages=batches,
        create=st.sampled_from([True] * 4 + [False]),
        expected=st.none() | st.sampled_from(["current", "other"]),
        idempotency=st.none() | st.builds(Idempotency, st.sampled_from(["r1", "r2", "r3"]), st.sampled_from("ff2")),
    )
    def append(
        self, messages: Sequence[EncodedMessage], create: bool, expected: str | None, idempotency: Idempotency | None
    ) -> None:
        """Append under the newest configuration."""
        version = None if expected is None else self.model.version + (expected == "other")

        got = self.attempt(
            self.conversation.append(*messages, create=create, expected_version=version, idempotency=idempotency)
        )

        repeated = self.model.repeated(idempotency)
        if repeated is not None:
            assert got == repeated
            return
        refusal = self.model.refusal(self.conversation.limits.revision, expected=version, create=create)
        self._appended(got, refusal, messages)
        if idempotency is not None and isinstance(got, AppendResult):
            self.model.answers[idempotency.key] = (idempotency.fingerprint, replace(got, repeated=True))

    @rule(messages=batches)
    def append_without_conditions(self, messages: Sequence[EncodedMessage]) -> None:
        """Append as most callers do: often, so that conversations grow."""
        self.append(messages, create=True, expected=None, idempotency=None)

    def _appended(
        self, got: AppendResult | Refusal, refusal: Refusal | None, messages: Sequence[EncodedMessage]
    ) -> None:
        """Compare an append with that of the model."""
        existed, before, first = self.model.exists, self.model.version, self.model.seq + 1
        limits = self.conversation.limits
        evicted = refusal or self.model.append(messages, limits)
        if isinstance(evicted, type):
            assert got == evicted
            return
        assert isinstance(got, AppendResult)
        totals = self.model.totals
        due = (0 < limits.due_messages <= totals.messages) or (0 < limits.due_tokens <= totals.tokens)
        stored = tuple(StoredMessage(each.id, each.tokens) for each in self.model.newest(len(messages)))
        assert got == AppendResult(got.version, totals, first, not existed, due, evicted, stored, repeated=False)
        assert got.version == before + 1 if existed else got.version > self.model.newest_version
        assert not over(self.model.messages, limits)
        self.model.changed(limits.revision, got.version)

    @rule(
        messages=limit,
        tokens=limit,
        overflow=st.sampled_from(["Evict", "Evict", "Reject"]),
        ttl=st.sampled_from([0, 10**7]),
    )
    def configure(self, messages: int | None, tokens: int | None, overflow: str, ttl: int) -> None:
        """Use another configuration from now on."""
        changed = {"max_messages": messages, "max_tokens": tokens, "overflow": overflow, "ttl_ms": ttl}
        self.conversation = self.conversation.under(**changed, flush_threshold=0.5)

    @rule(messages=batches)
    @precondition(lambda self: self.conversation.limits.revision > 1)
    def append_with_an_old_configuration(self, messages: Sequence[EncodedMessage]) -> None:
        """Append as a sidecar does that has not heard of the newest configuration."""
        current = self.conversation
        self.conversation = current.under(revision=current.limits.revision - 1)
        self.append(messages, create=True, expected=None, idempotency=None)
        self.conversation = current

    @rule(data=st.data())
    def delete_message(self, data: st.DataObject) -> None:
        """Delete one that is there, or is not."""
        name = data.draw(st.sampled_from(["missing", *(each.id for each in self.model.messages)]))

        got = self.attempt(self.conversation.delete_message(name))

        revision = self.conversation.limits.revision
        removed = self.model.refusal(revision) or self.model.delete_message(name)
        if isinstance(removed, type):
            assert got == removed
            return
        assert got == Removed(self.model.version + 1, self.model.totals, removed)
        self.model.changed(revision, self.model.version + 1)

    @rule()
    @precondition(lambda self: self.grown_or_missing)
    def clear(self) -> None:
        """Remove all messages."""
        got = self.attempt(self.conversation.clear())

        revision = self.conversation.limits.revision
        refusal = self.model.refusal(revision)
        if refusal is not None:
            assert got == refusal
            return
        assert got == functions.Cleared(self.model.version + 1, len(self.model.messages))
        self.model.messages = []
        self.model.changed(revision, self.model.version + 1)

    @rule()
    @precondition(lambda self: self.grown_or_missing)
    def delete_instance(self) -> None:
        """Remove the conversation."""
        got = self.attempt(self.conversation.delete())

        assert got == functions.Deleted(self.model.exists, len(self.model.messages))
        self.model = self.model.deleted()

    @rule(
        after=st.none() | st.integers(0, 30),
        before=st.none() | st.integers(0, 30),
        size=st.integers(1, 5),
        descending=st.booleans(),
        roles=st.sampled_from([(), ("user",), ("assistant", "tool")]),
    )
    @precondition(lambda self: self.conversation.limits.revision >= self.model.revision)
    def read_a_page(
        self, after: int | None, before: int | None, size: int, descending: bool, roles: Sequence[str]
    ) -> None:
        """Read any page."""
        letters = {functions.ROLES[role] for role in roles}
        wanted = [
            b'{"seq":%d' % each.seq + each.body
            for each in self.model.messages
            if (after is None or each.seq > after)
            and (before is None or each.seq < before)
            and (not letters or each.role in letters)
        ]
        if descending:
            wanted.reverse()

        page = self._run(
            self.conversation.read(after=after, before=before, limit=size, descending=descending, roles=roles)
        )

        assert page.entries == wanted[:size]
        assert (page.next is None) == (len(wanted) <= size)
        if page.next is not None:  # between the last of this page and the first of the next
            last, following = (sequence_number(entry) for entry in wanted[size - 1 : size + 1])
            assert last >= page.next > following if descending else last <= page.next < following

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """Read everything back."""
        newest = self.conversation.under(revision=max(self.conversation.limits.revision, self.model.revision))
        page = self._run(newest.read(limit=1000))
        stats = self._run(_optional(functions.stats(self.store, self.conversation.keys)))
        lifetimes = self._run(newest.lifetimes())

        assert page.entries == self.model.entries
        assert (page.version, page.totals, page.next) == (self.model.version, self.model.totals, None)
        assert (stats is not None) == self.model.exists
        if stats is not None:
            assert (stats.totals, stats.last_seq) == (self.model.totals, self.model.seq)
            assert (stats.roles, stats.revision) == (self.model.roles(), self.model.revision)
            expiring = {left >= 0 for key, left in lifetimes.items() if not key.startswith("idem")}
            assert expiring == {stats.expires_at_ms > 0}


async def _optional(work: Awaitable[T]) -> T:
    return await work


def test_any_sequence_of_operations_does_what_the_model_says(store_server: StoreServer) -> None:
    """Bounded: 200 conversations of up to 30 steps for each engine."""
    asyncio.run(library.ensure(StoreSettings(url=store_server.url)))
    run_state_machine_as_test(
        lambda: ConversationMachine(store_server),
        settings=hypothesis.settings(max_examples=200, stateful_step_count=30, deadline=None),
    )
