"""Expiry: every key of a conversation lives as long as its configuration says, counted from the last write."""

import asyncio
import time
from collections.abc import Callable

import pytest

from memory_core.store.functions import Idempotency
from support.conversations import Conversation, many, message
from support.waiting import eventually

Limited = Callable[..., Conversation]

HOUR = 3_600_000
SLACK = 1_000  # renewed at most this much later than necessary, so that the usual append renews nothing
DATA = {"meta", "index", "messages", "units"}


def within(lifetimes: dict[str, int], ttl: int) -> bool:
    """Tell whether every key lives for `ttl`, perhaps a little longer, never shorter than what has passed since."""
    return all(ttl - 500 <= left <= ttl + SLACK for left in lifetimes.values())


async def fill(conversation: Conversation) -> None:
    """Append so that every kind of data exists."""
    await conversation.append(*many(3), message("call", calls=["c"]), message("result", answers="c"))


async def test_every_key_expires_from_the_first_append_on(limited: Limited) -> None:
    """The append that makes a key sets its time."""
    conversation = limited(ttl_ms=HOUR)

    await fill(conversation)

    lifetimes = await conversation.lifetimes()
    assert set(lifetimes) == DATA
    assert within(lifetimes, HOUR)


async def test_without_a_time_to_live_nothing_expires(limited: Limited) -> None:
    """No key of such a conversation has a time, and stats say so."""
    conversation = limited()

    await fill(conversation)

    assert set((await conversation.lifetimes()).values()) == {-1}
    assert (await conversation.stats()).expires_at_ms == 0


async def empty_by_clear(conversation: Conversation) -> None:
    """Clear it."""
    await conversation.clear()


async def empty_by_deletion(conversation: Conversation) -> None:
    """Delete message after message."""
    for name in ("m1", "m2", "m3", "call"):
        await conversation.delete_message(name)


@pytest.mark.parametrize("empty", [empty_by_clear, empty_by_deletion])
async def test_keys_that_come_back_expire(
    limited: Limited, empty: Callable[[Conversation], asyncio.Future[None]]
) -> None:
    """A conversation that was emptied and is written again expires as a whole."""
    conversation = limited(ttl_ms=HOUR)
    await fill(conversation)
    await empty(conversation)
    emptied = await conversation.lifetimes()

    await fill(conversation)

    assert set(emptied) == {"meta"}
    assert within(emptied, HOUR)
    lifetimes = await conversation.lifetimes()
    assert set(lifetimes) == DATA
    assert within(lifetimes, HOUR)


async def test_keys_that_one_append_removes_and_makes_anew_expire(limited: Limited) -> None:
    """An append that evicts everything before it writes leaves no key without a time."""
    conversation = limited(ttl_ms=HOUR, max_messages=2)
    await conversation.append(message("call1", calls=["c"]), message("result1", answers="c"))

    appended = await conversation.append(message("call2", calls=["c"]), message("result2", answers="c"))

    assert appended.evicted == ("call1", "result1")
    lifetimes = await conversation.lifetimes()
    assert set(lifetimes) == DATA
    assert within(lifetimes, HOUR)


async def test_a_first_tool_call_expires_with_the_rest(limited: Limited) -> None:
    """The record of calls is a key that comes later than the others."""
    conversation = limited(ttl_ms=HOUR)
    await conversation.append(message("m1"))

    await conversation.append(message("call", calls=["c"]))

    assert within(await conversation.lifetimes(), HOUR)


async def test_each_write_starts_the_time_again(limited: Limited) -> None:
    """Appends, removals and clear all count as writes; the renewal is lazy, but never too late."""
    conversation = limited(ttl_ms=2_000)
    await fill(conversation)
    writes = [
        lambda: conversation.append(message()),
        lambda: conversation.delete_message("m1"),
        lambda: conversation.append(message()),
        conversation.clear,
    ]
    for write in writes:
        await asyncio.sleep(0.1)
        await write()
        asked = time.monotonic()
        lifetimes = await conversation.lifetimes()
        passed = (time.monotonic() - asked) * 1000 + 50
        assert all(left >= 2_000 - passed for left in lifetimes.values()), lifetimes


async def test_a_time_is_renewed_lazily(limited: Limited) -> None:
    """Appends that follow each other closely set no time: the one that is set has some room."""
    conversation = limited(ttl_ms=HOUR)
    first = await conversation.append(message("m1"))
    expires = (await conversation.stats()).expires_at_ms

    second = await conversation.append(message("m2"))

    assert second.version > first.version
    stats = await conversation.stats()
    assert stats.expires_at_ms == expires
    assert stats.updated_at_ms + HOUR <= expires <= stats.updated_at_ms + HOUR + SLACK


async def test_a_shorter_time_to_live_holds_from_the_next_write(limited: Limited) -> None:
    """A change of the configuration takes effect on all keys with the next write."""
    conversation = limited(ttl_ms=24 * HOUR)
    await fill(conversation)

    await conversation.under(ttl_ms=HOUR).append(message())

    assert within(await conversation.lifetimes(), HOUR)


async def test_a_longer_time_to_live_holds_from_the_next_write(limited: Limited) -> None:
    """It works in this direction as well."""
    conversation = limited(ttl_ms=HOUR)
    await fill(conversation)

    await conversation.under(ttl_ms=24 * HOUR).append(message())

    assert within(await conversation.lifetimes(), 24 * HOUR)


async def test_a_time_to_live_that_is_taken_away_ends_with_the_next_write(limited: Limited) -> None:
    """Keys that had a time lose it."""
    conversation = limited(ttl_ms=HOUR)
    await fill(conversation)

    await conversation.under().append(message())

    assert set((await conversation.lifetimes()).values()) == {-1}
    assert (await conversation.stats()).expires_at_ms == 0


async def test_a_time_to_live_that_is_added_holds_from_the_next_write(limited: Limited) -> None:
    """Keys that lived for ever get a time."""
    conversation = limited()
    await fill(conversation)

    await conversation.under(ttl_ms=HOUR).clear()
    await fill(conversation.under(ttl_ms=HOUR))

    assert within(await conversation.lifetimes(), HOUR)


async def test_stats_tell_when_it_expires(limited: Limited) -> None:
    """The time in stats is the time of the keys."""
    conversation = limited(ttl_ms=HOUR)
    await fill(conversation)

    stats = await conversation.stats()

    assert await conversation.store.call(b"PEXPIRETIME", conversation.keys.meta) == stats.expires_at_ms


async def test_answers_to_repeat_live_one_to_two_days(limited: Limited) -> None:
    """They outlive the conversation's own time, so that a retry within a day gets its answer."""
    conversation = limited(ttl_ms=1_000)

    await conversation.append(message(), idempotency=Idempotency("request", "f"))

    lifetimes = await conversation.lifetimes()
    (kept,) = (left for key, left in lifetimes.items() if key.startswith("idem"))
    assert 24 * HOUR - 500 <= kept <= 48 * HOUR


async def test_an_expired_conversation_begins_anew(limited: Limited) -> None:
    """After its time nothing is left, and the next append begins a conversation with a larger version."""
    conversation = limited(ttl_ms=50)
    before = await conversation.append(message("m1"), message("call", calls=["c"]))

    async def gone() -> bool:
        return await conversation.lifetimes() == {}

    await eventually(gone, "the conversation expires")
    after = await conversation.append(message("m1"))

    assert after.created
    assert after.first_seq == 1
    assert after.version > before.version
