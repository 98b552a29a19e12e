"""Append: sequence numbers, totals, versions, ids. Each test runs on every engine."""

import asyncio
from collections.abc import Callable

import pytest

from memory_core.errors import (
    DuplicateMessageId,
    InstanceNotFound,
    LimitExceeded,
    MessageTooLarge,
    StaleConfiguration,
    VersionConflict,
)
from memory_core.store.functions import Totals
from support.conversations import Conversation, many, message

Limited = Callable[..., Conversation]


async def test_sequence_numbers_have_no_gap(conversation: Conversation) -> None:
    """Messages of one append and of the next are numbered from 1 without a gap."""
    first = await conversation.append(*many(3))
    second = await conversation.append(message("m4"), message("m5"))

    assert (first.first_seq, second.first_seq) == (1, 4)
    assert [(each["id"], each["seq"]) for each in await conversation.messages()] == [
        (f"m{number}", number) for number in range(1, 6)
    ]


async def test_a_message_is_read_as_it_was_encoded(conversation: Conversation) -> None:
    """The stored bytes are those of the encoder behind the sequence number."""
    encoded = message("m1", content="Grüße \N{WAVING HAND SIGN} \0 {}%", tokens=7)

    await conversation.append(encoded)

    page = await conversation.read()
    assert page.entries == [b'{"seq":1' + encoded.body]


async def test_totals_are_the_sums_over_the_messages(conversation: Conversation) -> None:
    """Messages, tokens and bytes are counted exactly, in the answer, in pages and in stats."""
    first = await conversation.append(message("m1", tokens=10, content="abc"), message("m2", tokens=5))
    second = await conversation.append(message("m3", tokens=100, content="é" * 1000))

    stored = await conversation.messages()
    expected = Totals(3, 115, sum(each["bytes"] for each in stored))
    assert first.totals == Totals(2, 15, sum(each["bytes"] for each in stored[:2]))
    assert second.totals == expected
    assert (await conversation.read()).totals == expected
    assert (await conversation.stats()).totals == expected


async def test_the_first_append_creates(conversation: Conversation) -> None:
    """The answer tells whether the conversation began with it."""
    assert (await conversation.append(message())).created
    assert not (await conversation.append(message())).created


async def test_without_permission_to_create_nothing_is_created(conversation: Conversation) -> None:
    """A writer learns that it must register the conversation first."""
    with pytest.raises(InstanceNotFound, match="it begins with its first message"):
        await conversation.append(message(), create=False)

    assert await conversation.lifetimes() == {}
    await conversation.append(message("m1"))
    assert (await conversation.append(message("m2"), create=False)).first_seq == 2


async def test_a_version_grows_with_each_change(conversation: Conversation) -> None:
    """Appends, removals and clear each make the version larger; reading does not."""
    versions = [(await conversation.append(*many(3))).version]
    versions.append((await conversation.append(message("x"))).version)
    versions.append((await conversation.delete_message("x")).version)
    versions.append((await conversation.clear()).version)

    assert versions == sorted(set(versions))
    assert (await conversation.read()).version == (await conversation.stats()).version == versions[-1]


async def test_the_expected_version_must_be_the_current_one(conversation: Conversation) -> None:
    """Another version is refused with the current one, and nothing is written."""
    version = (await conversation.append(message("m1"))).version
    appended = await conversation.append(message("m2"), expected_version=version)

    with pytest.raises(VersionConflict) as refused:
        await conversation.append(message("m3"), expected_version=version)

    assert refused.value.facts == {"version": appended.version}
    assert await conversation.ids() == ["m1", "m2"]


async def test_version_zero_means_that_the_conversation_must_not_exist(conversation: Conversation) -> None:
    """Of two writers that begin a conversation, the second is told."""
    appended = await conversation.append(message("m1"), expected_version=0)

    with pytest.raises(VersionConflict) as refused:
        await conversation.append(message("m2"), expected_version=0)
    assert refused.value.facts == {"version": appended.version}


async def test_a_version_is_not_met_again_after_deletion(conversation: Conversation) -> None:
    """A writer that knows the deleted conversation cannot take the new one for it."""
    versions = []
    for _ in range(20):
        versions.append((await conversation.append(message("m1"))).version)
        await conversation.delete()

    assert versions == sorted(set(versions))
    await conversation.append(message("m1"))
    with pytest.raises(VersionConflict):
        await conversation.append(message("m2"), expected_version=versions[-1])


async def test_an_expected_version_of_a_missing_conversation_is_a_conflict(conversation: Conversation) -> None:
    """A conversation that has expired is at version 0."""
    with pytest.raises(VersionConflict) as refused:
        await conversation.append(message(), expected_version=12)

    assert refused.value.facts == {"version": 0}


async def test_an_id_that_is_stored_is_refused(conversation: Conversation) -> None:
    """The whole append is refused, with the id."""
    await conversation.append(message("m1"), message("m2"))

    with pytest.raises(DuplicateMessageId, match="'m2'") as refused:
        await conversation.append(message("new"), message("m2"))

    assert refused.value.facts == {"id": "m2"}
    assert await conversation.ids() == ["m1", "m2"]


@pytest.mark.parametrize("stored", [0, 1], ids=["empty", "begun"])
async def test_an_id_that_is_sent_twice_is_refused(conversation: Conversation, stored: int) -> None:
    """Two messages of one append with the same id are refused, into an empty conversation as well."""
    if stored:
        await conversation.append(message("before"))

    with pytest.raises(DuplicateMessageId, match="'same'"):
        await conversation.append(message("same", content="one"), message("other"), message("same", content="two"))

    assert len(await conversation.messages()) == stored


async def test_a_removed_id_may_be_used_again(conversation: Conversation) -> None:
    """Ids are unique among what is stored; sequence numbers go on."""
    await conversation.append(*many(2))
    await conversation.delete_message("m2")

    assert (await conversation.append(message("m2"))).first_seq == 3
    await conversation.clear()
    assert (await conversation.append(message("m1"), message("m2"))).first_seq == 4


async def test_a_stale_configuration_is_refused(limited: Limited) -> None:
    """Once a newer configuration was used, an older one changes and reads nothing."""
    old = limited(revision=3)
    await old.append(message("m1"))
    await old.under(revision=5).append(message("m2"))

    for change in (old.append(message("m3")), old.delete_message("m1"), old.clear(), old.read()):
        with pytest.raises(StaleConfiguration) as refused:
            await change
        assert refused.value.facts == {"revision": 5}
    assert await old.under(revision=5).ids() == ["m1", "m2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda newer: newer.append(message()),
        lambda newer: newer.delete_message("m1"),
        lambda newer: newer.clear(),
    ],
    ids=["append", "delete", "clear"],
)
async def test_each_change_remembers_its_configuration(
    limited: Limited, change: Callable[[Conversation], asyncio.Future[object]]
) -> None:
    """Whatever was done under a newer configuration, the older one is stale from then on."""
    old = limited(revision=3)
    await old.append(*many(2))

    await change(old.under(revision=4))

    with pytest.raises(StaleConfiguration):
        await old.append(message())


async def test_what_can_never_fit_is_too_large(limited: Limited) -> None:
    """An append that is larger than a limit is refused, though the conversation is empty and may evict."""
    conversation = limited(max_tokens=10, max_messages=2)

    with pytest.raises(MessageTooLarge, match="11 tokens") as refused:
        await conversation.append(message(tokens=11))
    assert refused.value.facts == {"messages": 1, "tokens": 11}
    with pytest.raises(MessageTooLarge, match=r"3 message\(s\)"):
        await conversation.append(*many(3))
    await conversation.append(*many(2, tokens=5))


async def test_a_limit_that_rejects_refuses_with_the_totals(limited: Limited) -> None:
    """At a limit, overflow Reject refuses the write and keeps everything."""
    conversation = limited(max_messages=3, overflow="Reject")
    appended = await conversation.append(*many(3))

    with pytest.raises(LimitExceeded, match="clear it, or raise the memory's limits") as refused:
        await conversation.append(message("m4"))

    totals = appended.totals
    assert refused.value.facts == {
        "version": appended.version,
        "totals": {"messages": totals.messages, "tokens": totals.tokens, "bytes": totals.bytes},
    }
    assert await conversation.ids() == ["m1", "m2", "m3"]


async def test_a_refused_append_changes_nothing(limited: Limited) -> None:
    """After each kind of refusal, every key of the conversation is as it was."""
    conversation = limited(max_messages=3, overflow="Reject", revision=2)
    version = (await conversation.append(*many(3))).version
    before = [await conversation.store.call(b"DUMP", key) for key in conversation.keys.all]
    refused = (
        conversation.append(message("m4")),
        conversation.append(message("m1")),
        conversation.append(*many(4, prefix="new")),
        conversation.append(message("m4"), expected_version=version - 1),
        conversation.under(revision=1).append(message("m4")),
    )
    for change in refused:
        with pytest.raises((LimitExceeded, DuplicateMessageId, MessageTooLarge, VersionConflict, StaleConfiguration)):
            await change

    assert [await conversation.store.call(b"DUMP", key) for key in conversation.keys.all] == before


@pytest.mark.parametrize(("kind", "due_from"), [("TokenBased", 8), ("MessageCountBased", 4), ("Buffer", 4)])
async def test_the_answer_says_when_a_flush_is_due(limited: Limited, kind: str, due_from: int) -> None:
    """From the threshold's share of the limit that the type counts, and on."""
    conversation = limited(type=kind, max_messages=8, max_tokens=16, flush_threshold=0.5)

    due = [(await conversation.append(message(tokens=1))).flush_due for _ in range(8)]

    assert due == [number >= due_from for number in range(1, 9)]


async def test_writers_in_parallel_lose_and_double_nothing(limited: Limited) -> None:
    """32 writers on one conversation: each message is there once, numbered without a gap, each writer's in order."""
    conversation = limited()

    async def writer(name: int) -> list[int]:
        return [(await conversation.append(message(f"{name}:{number}"))).first_seq for number in range(50)]

    given = await asyncio.gather(*(writer(name) for name in range(32)))

    stored = await conversation.messages()
    assert [each["seq"] for each in stored] == list(range(1, 1601))
    assert sorted(seq for sequence in given for seq in sequence) == list(range(1, 1601))
    assert all(sequence == sorted(sequence) for sequence in given)
    assert {each["id"]: each["seq"] for each in stored} == {
        f"{name}:{number}": seq for name, sequence in enumerate(given) for number, seq in enumerate(sequence)
    }
    assert (await conversation.stats()).totals.messages == 1600


async def test_a_thousand_messages_in_one_append(conversation: Conversation) -> None:
    """The largest request is one append."""
    appended = await conversation.append(*many(1000, calls=["call"]))

    assert appended.totals.messages == 1000
    assert len(await conversation.messages()) == 1000
