"""Deleting a message, clearing and deleting a conversation, and the counters. Each test runs on every engine."""

from collections.abc import Callable

import pytest

from memory_core.errors import InstanceNotFound, MessageNotFound
from memory_core.keys import InstanceKeys, MemoryRef
from memory_core.store import functions
from memory_core.store.functions import Deleted, Idempotency, Totals
from support.conversations import Conversation, many, message

Limited = Callable[..., Conversation]


async def test_a_message_is_deleted_alone(conversation: Conversation) -> None:
    """Totals and version follow."""
    await conversation.append(message("m1", tokens=1), message("m2", tokens=10), message("m3", tokens=100))
    size = {each["id"]: each["bytes"] for each in await conversation.messages()}

    removed = await conversation.delete_message("m2")

    assert removed.ids == ("m2",)
    assert removed.totals == Totals(2, 101, size["m1"] + size["m3"])
    assert await conversation.ids() == ["m1", "m3"]
    assert removed.version == (await conversation.stats()).version


@pytest.mark.parametrize("asked", ["call", "r1", "r2"])
async def test_a_unit_is_deleted_as_a_whole(conversation: Conversation, asked: str) -> None:
    """Whichever member is named, the call and all its results go."""
    await conversation.append(message("call", calls=["c1", "c2"]), message("r1", answers="c1"), *many(1))
    await conversation.append(message("r2", answers="c2"))

    removed = await conversation.delete_message(asked)

    assert removed.ids == ("call", "r1", "r2")
    assert removed.totals.messages == 1
    assert set(await conversation.lifetimes()) == {"meta", "index", "messages"}


async def test_a_result_of_a_deleted_call_does_not_join_an_older_one(conversation: Conversation) -> None:
    """Where a call id was used again, and the newer call is gone, a late result of it stands alone."""
    await conversation.append(message("older", calls=["c"]), message("newer", calls=["c"]))
    await conversation.delete_message("newer")
    await conversation.append(message("late", answers="c"))

    assert (await conversation.delete_message("late")).ids == ("late",)


async def test_a_critical_message_may_be_deleted(conversation: Conversation) -> None:
    """Pinned means never evicted; who names it may remove it."""
    await conversation.append(message("keep", pinned=True))

    assert (await conversation.delete_message("keep")).ids == ("keep",)


async def test_a_result_that_comes_after_its_call_was_deleted_stands_alone(conversation: Conversation) -> None:
    """It does not bring back anything of the unit."""
    await conversation.append(message("call", calls=["c"]))
    await conversation.delete_message("call")
    await conversation.append(message("late", answers="c"))

    assert (await conversation.delete_message("late")).ids == ("late",)


async def test_a_message_that_is_not_there_cannot_be_deleted(conversation: Conversation) -> None:
    """Neither in a missing conversation, nor in another, nor twice."""
    with pytest.raises(InstanceNotFound):
        await conversation.delete_message("m1")
    await conversation.append(message("m1"), message("m2"))
    with pytest.raises(MessageNotFound):
        await conversation.delete_message("m3")
    await conversation.delete_message("m1")
    with pytest.raises(MessageNotFound):
        await conversation.delete_message("m1")


async def test_the_last_message_may_be_deleted(conversation: Conversation) -> None:
    """The conversation stays, empty."""
    await conversation.append(message("m1"))

    assert (await conversation.delete_message("m1")).totals == Totals(0, 0, 0)
    assert (await conversation.append(message("m1"))).first_seq == 2


async def test_clear_removes_all_messages_and_keeps_the_count(conversation: Conversation) -> None:
    """Sequence numbers and version go on; critical messages go as well."""
    version = (await conversation.append(message("s", role="system"), message("call", calls=["c"]), *many(2))).version

    cleared = await conversation.clear()

    assert cleared.removed == 4
    assert cleared.version > version
    stats = await conversation.stats()
    assert (stats.totals, stats.last_seq, stats.version) == (Totals(0, 0, 0), 4, cleared.version)
    assert set(stats.roles.values()) == {0}
    assert set(await conversation.lifetimes()) == {"meta"}
    assert (await conversation.append(message("m1"))).first_seq == 5


async def test_clear_needs_a_conversation(conversation: Conversation) -> None:
    """There is nothing to clear; clearing twice removes nothing more."""
    with pytest.raises(InstanceNotFound):
        await conversation.clear()
    await conversation.append(message())
    await conversation.clear()
    assert (await conversation.clear()).removed == 0


async def test_a_call_before_clear_is_not_answered_after_it(conversation: Conversation) -> None:
    """A result that arrives after clear stands alone."""
    await conversation.append(message("call", calls=["c"]))
    await conversation.clear()
    await conversation.append(message("late", answers="c"))

    assert (await conversation.delete_message("late")).ids == ("late",)


async def test_deletion_leaves_nothing(limited: Limited) -> None:
    """Every key of the conversation goes, and no other: a scan of the store shows it."""
    conversation, other = limited("ada", ttl_ms=1_000_000), limited("bob")
    for each in (conversation, other):
        await each.append(
            *many(2), message("call", calls=["c"]), message(answers="c"), idempotency=Idempotency("request", "f")
        )
    kept = {key for key in other.keys.all if await other.store.call(b"EXISTS", key)}

    deleted = await conversation.delete()

    assert deleted == Deleted(existed=True, messages=4)
    assert set(await conversation.store.call(b"KEYS", b"*")) == kept
    assert len(kept) == 5
    assert await functions.stats(conversation.store, conversation.keys) is None


async def test_deleting_what_is_not_there_is_no_error(conversation: Conversation) -> None:
    """It says that there was nothing."""
    assert await conversation.delete() == Deleted(existed=False, messages=0)


async def test_stats_count_what_is_stored(conversation: Conversation) -> None:
    """Roles, totals, numbers and times are those of the messages that are there."""
    await conversation.append(
        message("s", role="system"),
        message("d", role="developer"),
        *many(3),
        message("call", calls=["c"]),
        message("r", answers="c"),
    )
    await conversation.delete_message("m1")

    stats = await conversation.stats()

    assert stats.roles == {"system": 1, "developer": 1, "user": 2, "assistant": 1, "tool": 1}
    assert stats.last_seq == 7
    assert stats.totals == (await conversation.read()).totals
    assert stats.revision == conversation.limits.revision
    seconds, micros = map(int, await conversation.store.call(b"TIME"))
    now = seconds * 1000 + micros // 1000
    assert now - 10_000 < stats.created_at_ms <= stats.updated_at_ms <= now


async def test_stats_tell_creation_from_change(conversation: Conversation) -> None:
    """The time of creation stays, the time of the last change follows."""
    await conversation.append(message())
    before = await conversation.stats()
    while (await conversation.stats()).updated_at_ms == before.updated_at_ms:
        await conversation.append(message())

    after = await conversation.stats()

    assert after.created_at_ms == before.created_at_ms
    assert after.updated_at_ms > before.updated_at_ms


async def test_a_memorys_pattern_finds_its_conversations_in_the_store(limited: Limited) -> None:
    """SCAN with the pattern of a memory returns every key of its conversations, odd names included, and no other."""
    store = limited().store
    ours = MemoryRef("shop", "tickets")
    names = ["ada", "a/b", "*", "[x]", "{y}", "é", "\\", "?"]
    for ref in (ours, MemoryRef("shop", "tickets2"), MemoryRef("shop2", "tickets"), MemoryRef("s*", "tickets")):
        for name in names:
            keys = InstanceKeys(ref, name)
            await Conversation(store, keys, limited().limits).append(message("m1"))

    _, found = await store.call(b"SCAN", 0, b"MATCH", functions.MemoryKeys(ours).instance_pattern, b"COUNT", 10_000)

    assert set(found) == {
        key
        for name in names
        for key in InstanceKeys(ours, name).all
        if key.endswith((b":meta", b":index", b":messages"))
    }
