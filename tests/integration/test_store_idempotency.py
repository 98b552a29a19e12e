"""Idempotency keys: a repeated request gets the first answer, whatever happened since."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from memory_core.errors import IdempotencyMismatch, LimitExceeded
from memory_core.store.functions import Idempotency
from support.conversations import Conversation, many, message

Limited = Callable[..., Conversation]

REQUEST = Idempotency("request-1", "fingerprint")


async def test_a_repetition_gets_the_first_answer(conversation: Conversation) -> None:
    """It is written once, and the answer has the ids of the first attempt: they are given anew each time."""
    first = await conversation.append(message("m1"), idempotency=REQUEST)

    again = await conversation.append(message("other"), idempotency=REQUEST)

    assert again == replace(first, repeated=True)
    assert [each.id for each in again.stored] == await conversation.ids() == ["m1"]


async def test_an_answer_with_evictions_is_repeated_in_full(limited: Limited) -> None:
    """Evicted ids are part of the answer."""
    conversation = limited(max_messages=2)
    await conversation.append(*many(2))

    first = await conversation.append(message("m3"), idempotency=REQUEST)

    assert first.evicted == ("m1",)
    assert await conversation.append(message("m3"), idempotency=REQUEST) == replace(first, repeated=True)


async def evict(conversation: Conversation) -> None:
    """Evict everything by a lower limit."""
    await conversation.under(max_messages=1, revision=conversation.limits.revision).append(message())


async def clear(conversation: Conversation) -> None:
    """Clear it."""
    await conversation.clear()


async def delete(conversation: Conversation) -> None:
    """Delete the message."""
    await conversation.delete_message("m1")


@pytest.mark.parametrize("change", [evict, clear, delete])
async def test_the_answer_outlives_its_messages(
    conversation: Conversation, change: Callable[[Conversation], asyncio.Future[None]]
) -> None:
    """A late repetition does not write again what was removed meanwhile."""
    first = await conversation.append(message("m1"), idempotency=REQUEST)
    await change(conversation)
    left = await conversation.ids()

    assert await conversation.append(message("m1"), idempotency=REQUEST) == replace(first, repeated=True)
    assert await conversation.ids() == left
    assert "m1" not in left


async def test_another_request_under_the_same_key_is_refused(conversation: Conversation) -> None:
    """A key that was used with other messages is a mistake of the caller; nothing is written."""
    await conversation.append(message("m1"), idempotency=REQUEST)

    with pytest.raises(IdempotencyMismatch, match="use a new key for a new request"):
        await conversation.append(message("m2"), idempotency=Idempotency(REQUEST.key, "another"))

    assert await conversation.ids() == ["m1"]


async def test_a_repetition_goes_before_every_check(limited: Limited) -> None:
    """The answer is repeated though the version, the configuration or the limit would refuse it by now."""
    conversation = limited(max_messages=1, overflow="Reject", revision=2)
    first = await conversation.append(message("m1"), expected_version=0, idempotency=REQUEST)

    again = await conversation.under(max_messages=1, overflow="Reject", revision=1).append(
        message("m1"), expected_version=0, create=False, idempotency=REQUEST
    )

    assert again == replace(first, repeated=True)


async def test_a_refused_request_may_be_tried_again(limited: Limited) -> None:
    """Only what was done is remembered: the same key passes once there is room."""
    conversation = limited(max_messages=1, overflow="Reject")
    await conversation.append(message("m1"))
    with pytest.raises(LimitExceeded):
        await conversation.append(message("m2"), idempotency=REQUEST)
    await conversation.clear()

    assert (await conversation.append(message("m2"), idempotency=REQUEST)).first_seq == 2


async def test_repetitions_in_parallel_write_once(conversation: Conversation) -> None:
    """Of many attempts at the same time one writes, and all get its answer."""
    answers = await asyncio.gather(
        *(conversation.append(message(f"attempt-{number}"), idempotency=REQUEST) for number in range(20))
    )

    assert sorted(answer.repeated for answer in answers) == [False] + [True] * 19
    assert len({answer.stored for answer in answers}) == 1
    assert len(await conversation.messages()) == 1


async def test_keys_are_those_of_one_conversation(limited: Limited) -> None:
    """The same key in another conversation is another request."""
    await limited("ada").append(message("m1"), idempotency=REQUEST)
    await limited("bob").append(message("m1"), idempotency=REQUEST)

    assert await limited("bob").ids() == ["m1"]


async def test_deletion_forgets_the_answers(conversation: Conversation) -> None:
    """A deleted conversation leaves nothing behind: a repetition begins a new one."""
    first = await conversation.append(message("m1"), idempotency=REQUEST)
    await conversation.delete()

    again = await conversation.append(message("m1"), idempotency=REQUEST)

    assert again.created
    assert again.version > first.version


@pytest.mark.parametrize("key", ["a b", "é\n\0", "x" * 256, "%s {} ''"])
async def test_a_key_may_hold_any_character(conversation: Conversation, key: str) -> None:
    """It is kept as it is."""
    first = await conversation.append(message("m1"), idempotency=Idempotency(key, "f"))

    assert await conversation.append(message("m2"), idempotency=Idempotency(key, "f")) == replace(first, repeated=True)


async def test_the_answer_of_the_day_before_is_found(conversation: Conversation) -> None:
    """Answers of even and odd days are kept apart; both are looked up, so that midnight makes no difference."""
    first = await conversation.append(message("m1"), idempotency=REQUEST)
    today, other = conversation.keys.idem0, conversation.keys.idem1
    if not await conversation.store.call(b"EXISTS", today):
        today, other = other, today
    await conversation.store.call(b"RENAME", today, other)

    assert await conversation.append(message("m2"), idempotency=REQUEST) == replace(first, repeated=True)
