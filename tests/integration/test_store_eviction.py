"""Eviction: room is made oldest first, critical messages stay, and units stay whole. Each test runs on every engine."""

from collections.abc import Callable

import pytest

from memory_core.errors import LimitExceeded
from memory_core.store.functions import Idempotency
from support.conversations import Conversation, many, message

Limited = Callable[..., Conversation]


async def test_the_oldest_make_room(limited: Limited) -> None:
    """At the limit, as many of the oldest go as come; the answer names them, oldest first."""
    conversation = limited(max_messages=3)
    await conversation.append(*many(3))

    appended = await conversation.append(message("new1"), message("new2"))

    assert appended.evicted == ("m1", "m2")
    assert appended.totals.messages == 3
    assert await conversation.ids() == ["m3", "new1", "new2"]


async def test_tokens_make_room_for_tokens(limited: Limited) -> None:
    """As many of the oldest go as free the tokens that are missing, and no more."""
    conversation = limited(max_tokens=100)
    await conversation.append(message("a", tokens=30), message("b", tokens=30), message("c", tokens=40))

    appended = await conversation.append(message("d", tokens=31))

    assert appended.evicted == ("a", "b")
    assert appended.totals.tokens == 71


async def test_both_limits_hold(limited: Limited) -> None:
    """The eviction goes on until the stricter limit is met."""
    conversation = limited(max_tokens=100, max_messages=3)
    await conversation.append(message("a", tokens=1), message("b", tokens=1), message("c", tokens=98))

    by_messages = await conversation.append(message("d", tokens=1))
    by_tokens = await conversation.append(message("e", tokens=50))

    assert by_messages.evicted == ("a",)
    assert by_tokens.evicted == ("b", "c")


@pytest.mark.parametrize("critical", [{"role": "system"}, {"role": "developer"}, {"pinned": True}])
async def test_critical_messages_stay(limited: Limited, critical: dict[str, object]) -> None:
    """System, developer and pinned messages are never evicted, however old."""
    conversation = limited(max_messages=3)
    await conversation.append(message("keep", **critical), *many(2))

    assert (await conversation.append(message("m3"))).evicted == ("m1",)
    assert (await conversation.append(*many(2, prefix="n"))).evicted == ("m2", "m3")
    assert await conversation.ids() == ["keep", "n1", "n2"]


async def test_when_only_critical_messages_are_left_the_write_is_refused(limited: Limited) -> None:
    """What may not be evicted is not, and nothing is removed in vain."""
    conversation = limited(max_messages=3)
    await conversation.append(message("s1", role="system"), message("s2", role="system"), message("m1"))

    with pytest.raises(LimitExceeded):
        await conversation.append(*many(2, prefix="n"))

    assert await conversation.ids() == ["s1", "s2", "m1"]


async def test_critical_messages_count(limited: Limited) -> None:
    """A critical message makes room like any other when it comes, and is refused when there is none."""
    conversation = limited(max_messages=2)
    await conversation.append(*many(2))

    assert (await conversation.append(message("s1", role="system"))).evicted == ("m1",)
    assert (await conversation.append(message("s2", role="system"))).evicted == ("m2",)
    with pytest.raises(LimitExceeded):
        await conversation.append(message("s3", role="system"))


async def test_many_critical_messages_before_the_one_to_evict(limited: Limited) -> None:
    """The search goes on behind any number of messages that stay."""
    conversation = limited(max_messages=700)
    await conversation.append(*many(650, prefix="s", role="system"))
    await conversation.append(*many(50))

    assert (await conversation.append(message("new"))).evicted == ("m1",)


async def test_a_lowered_limit_holds_from_the_next_append(limited: Limited) -> None:
    """A conversation above a new limit is brought below it by one append."""
    conversation = limited()
    await conversation.append(*many(900))

    appended = await conversation.under(max_messages=10).append(message("new"))

    assert appended.totals.messages == 10
    assert len(appended.evicted) == 891
    assert appended.evicted[:2] == ("m1", "m2")


async def test_a_tool_call_goes_with_its_results(limited: Limited) -> None:
    """A call and its results are one unit: more than needed goes rather than half of it."""
    conversation = limited(max_messages=5)
    await conversation.append(
        message("call", calls=["c1", "c2"]), message("r1", answers="c1"), message("r2", answers="c2")
    )
    await conversation.append(*many(2))

    appended = await conversation.append(message("new"))

    assert appended.evicted == ("call", "r1", "r2")
    assert await conversation.ids() == ["m1", "m2", "new"]


async def test_a_unit_is_whole_over_other_messages(limited: Limited) -> None:
    """Results that came later, between other messages and other units, go with their call."""
    conversation = limited(max_messages=7)
    await conversation.append(
        message("callA", calls=["a1", "a2"]),
        message("u1"),
        message("callB", calls=["b1"]),
        message("rA1", answers="a1"),
        message("u2"),
        message("rB1", answers="b1"),
        message("rA2", answers="a2"),
    )

    first = await conversation.append(message("new1"))
    second = await conversation.append(*many(4, prefix="n"))

    assert first.evicted == ("callA", "rA1", "rA2")
    assert second.evicted == ("u1", "callB", "rB1")
    assert await conversation.ids() == ["u2", "new1", "n1", "n2", "n3", "n4"]


async def test_a_pinned_result_keeps_its_unit(limited: Limited) -> None:
    """A unit with a critical member stays as a whole."""
    conversation = limited(max_messages=3)
    await conversation.append(message("call", calls=["c"]), message("result", answers="c", pinned=True), message("m1"))

    assert (await conversation.append(message("new"))).evicted == ("m1",)
    with pytest.raises(LimitExceeded):
        await conversation.append(*many(2))


async def test_a_call_is_not_evicted_by_its_own_result(limited: Limited) -> None:
    """The append of a result makes room elsewhere, though its call is the oldest."""
    conversation = limited(max_messages=3)
    await conversation.append(message("call", calls=["c"]), *many(2))

    appended = await conversation.append(message("result", answers="c"))

    assert appended.evicted == ("m1",)
    assert await conversation.ids() == ["call", "m2", "result"]


async def test_a_result_that_fits_only_without_its_call_is_refused(limited: Limited) -> None:
    """Half a unit is never stored to meet a limit."""
    conversation = limited(max_messages=2)
    await conversation.append(message("call", calls=["c1", "c2"]), message("r1", answers="c1"))

    with pytest.raises(LimitExceeded):
        await conversation.append(message("r2", answers="c2"))

    assert await conversation.ids() == ["call", "r1"]


async def test_a_call_id_that_is_used_again_means_the_newest_call(limited: Limited) -> None:
    """Some frameworks number calls anew in each turn: a result belongs to the call before it."""
    conversation = limited(max_messages=4)
    await conversation.append(message("old", calls=["c"]), message("old-result", answers="c"))
    await conversation.append(message("new", calls=["c"]), message("new-result", answers="c"))

    appended = await conversation.append(message("m1"))

    assert appended.evicted == ("old", "old-result")
    assert (await conversation.delete_message("new")).ids == ("new", "new-result")


async def test_a_turn_may_evict_an_older_one_with_the_same_call_id(limited: Limited) -> None:
    """Only the call that a result completes is protected, not an older one of the same id."""
    conversation = limited(max_messages=2)
    await conversation.append(message("old", calls=["c"]), message("old-result", answers="c"))

    appended = await conversation.append(message("new", calls=["c"]), message("new-result", answers="c"))

    assert appended.evicted == ("old", "old-result")
    assert (await conversation.delete_message("new-result")).ids == ("new", "new-result")


async def test_a_result_before_the_call_of_the_same_id_belongs_to_the_older(limited: Limited) -> None:
    """In one append, order decides which call a result completes."""
    conversation = limited(max_messages=3)
    await conversation.append(message("old", calls=["c"]), message("m1"))

    appended = await conversation.append(message("old-result", answers="c"), message("new", calls=["c"]), create=False)

    assert appended.evicted == ("m1",)
    assert (await conversation.delete_message("new")).ids == ("new",)
    assert (await conversation.delete_message("old")).ids == ("old", "old-result")


async def test_a_result_whose_call_is_gone_stands_alone(limited: Limited) -> None:
    """A result without a call in the conversation is kept, and removed, as a message of its own."""
    conversation = limited(max_messages=2)
    await conversation.append(message("call", calls=["c"]))
    await conversation.append(*many(2))

    await conversation.append(message("late", answers="c"))

    assert await conversation.ids() == ["m2", "late"]
    assert (await conversation.append(*many(2, prefix="n"))).evicted == ("m2", "late")


async def test_call_ids_may_hold_any_character(limited: Limited) -> None:
    """Blanks, separators and non-ASCII letters in a call id do not tear a unit apart."""
    conversation = limited(max_messages=3)
    odd = ["call one", "call;two", "é:unit:3"]
    await conversation.append(message("call", calls=odd))
    for number, call in enumerate(odd[:2]):
        await conversation.append(message(f"r{number}", answers=call))

    assert (await conversation.append(message("new"))).evicted == ("call", "r0", "r1")


async def test_nothing_is_left_of_an_evicted_unit(limited: Limited) -> None:
    """Records of calls go with the messages; a conversation without calls has none."""
    conversation = limited(max_messages=2)
    for number in range(20):
        await conversation.append(message(f"call{number}", calls=["same", f"own{number}"]), message(answers="same"))

    await conversation.append(*many(2))

    assert set(await conversation.lifetimes()) == {"meta", "index", "messages"}


async def test_a_limit_that_was_lowered_far_is_met_in_parts(limited: Limited) -> None:
    """One call evicts no more than 2,000, so that nobody waits for long; the answer names all that went."""
    conversation = limited()
    for batch in range(5):
        await conversation.append(*many(1000, prefix=f"b{batch}-"))
    before = await conversation.stats()
    lowered = conversation.under(max_messages=10)

    appended = await lowered.append(message("new"), expected_version=before.version)

    assert len(appended.evicted) == 4991
    assert (appended.evicted[0], appended.evicted[-1]) == ("b0-1", "b4-991")
    assert appended.totals.messages == 10
    assert appended.version == before.version + 3
    assert (await lowered.ids())[-2:] == ["b4-1000", "new"]


async def test_a_repetition_of_an_append_in_parts_gets_its_answer(limited: Limited) -> None:
    """It is one request, however many calls it took."""
    conversation = limited()
    for batch in range(3):
        await conversation.append(*many(1000, prefix=f"b{batch}-"))
    lowered, request = conversation.under(max_messages=1), Idempotency("request", "fingerprint")

    first = await lowered.append(message("new"), idempotency=request)
    again = await lowered.append(message("other"), idempotency=request)

    assert again.repeated
    assert (again.version, again.stored, again.first_seq) == (first.version, first.stored, first.first_seq)
    assert await lowered.ids() == ["new"]
