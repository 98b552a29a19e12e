"""Reading pages, in both directions, with roles and gaps. Each test runs on every engine."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from memory_core.errors import StoreError
from memory_core.store.functions import Page, Totals
from support.conversations import Conversation, many, message

Limited = Callable[..., Conversation]

ROLES = ("system", "user", "assistant", "developer")


def sequence_numbers(page: Page) -> list[int]:
    """Return the sequence numbers of a page in its order."""
    return [msgspec.json.decode(entry)["seq"] for entry in page.entries]


async def pages(conversation: Conversation, *, descending: bool, **options: Any) -> list[list[int]]:
    """Go from page to page as a caller does, and return the sequence numbers of each."""
    found, place = [], {}
    while True:
        page = await conversation.read(descending=descending, **(options | place))
        found.append(sequence_numbers(page))
        if page.next is None:
            return found
        place = {"before" if descending else "after": page.next}


async def with_gaps(conversation: Conversation) -> list[dict[str, Any]]:
    """Write 40 messages of four roles, remove every third, and return what is left."""
    for number in range(40):
        await conversation.append(message(f"m{number}", role=ROLES[number % 4]))
    for number in range(0, 40, 3):
        await conversation.delete_message(f"m{number}")
    return await conversation.messages()


async def test_a_missing_conversation_reads_as_empty(conversation: Conversation) -> None:
    """Version 0 tells it from one that was emptied."""
    assert await conversation.read() == Page(0, Totals(0, 0, 0), None, [])


async def test_an_empty_conversation_has_a_version(conversation: Conversation) -> None:
    """Cleared is not missing."""
    await conversation.append(message())
    version = (await conversation.clear()).version

    assert await conversation.read() == Page(version, Totals(0, 0, 0), None, [])


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 26, 27, 100])
@pytest.mark.parametrize("roles", [(), ("user",), ("system", "developer"), ("tool",)], ids=str)
async def test_pages_add_up_to_the_conversation(
    conversation: Conversation, descending: bool, limit: int, roles: tuple[str, ...]
) -> None:
    """Whatever the page size, the direction and the roles: each message is on one page, in order, and none is empty."""
    stored = await with_gaps(conversation)
    wanted = [each["seq"] for each in stored if not roles or each["role"] in roles]
    if descending:
        wanted.reverse()

    found = await pages(conversation, descending=descending, limit=limit, roles=roles)

    assert [seq for page in found for seq in page] == wanted
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1] or not wanted


async def test_a_page_lies_between_after_and_before(conversation: Conversation) -> None:
    """Both bounds are exclusive, and may fall into a gap."""
    await conversation.append(*many(10))
    await conversation.delete_message("m4")

    assert sequence_numbers(await conversation.read(after=3, before=8)) == [5, 6, 7]
    assert sequence_numbers(await conversation.read(after=4, before=8, descending=True)) == [7, 6, 5]
    assert sequence_numbers(await conversation.read(after=10)) == []
    assert sequence_numbers(await conversation.read(before=1)) == []
    assert sequence_numbers(await conversation.read(after=7, before=8)) == []


async def test_the_cursor_of_a_bounded_page_stays_within_its_bounds(conversation: Conversation) -> None:
    """`next` goes on inside the range that was asked for, and ends with it."""
    await conversation.append(*many(10))

    first = await conversation.read(after=2, before=7, limit=2)
    second = await conversation.read(after=first.next, before=7, limit=2)

    assert (sequence_numbers(first), first.next) == ([3, 4], 4)
    assert (sequence_numbers(second), second.next) == ([5, 6], None)


async def test_what_is_appended_between_pages_comes_at_the_end(conversation: Conversation) -> None:
    """A reader that goes on sees messages that came meanwhile, once."""
    await conversation.append(*many(4))
    first = await conversation.read(limit=3)
    await conversation.append(message("late"))
    await conversation.delete_message("m1")

    second = await conversation.read(limit=3, after=first.next)

    assert sequence_numbers(first) == [1, 2, 3]
    assert sequence_numbers(second) == [4, 5]


async def test_a_page_looks_at_no_more_than_10000_messages(conversation: Conversation) -> None:
    """A rare role is searched in steps that keep the store free: a page may be empty and still have a next."""
    for start in range(0, 25_000, 1000):
        await conversation.append(*(message(f"m{start + number}") for number in range(1000)))
    await conversation.append(message("rare", role="system"))

    upward = await pages(conversation, descending=False, limit=50, roles=("system",))
    downward = await pages(conversation, descending=True, limit=50, roles=("system",))

    assert [seq for page in upward for seq in page] == [25_001]
    assert [seq for page in downward for seq in page] == [25_001]
    assert len(upward) == 3
    assert upward[:2] == [[], []]


async def test_a_page_holds_up_to_a_thousand_messages(conversation: Conversation) -> None:
    """The largest page is one call."""
    await conversation.append(*many(1000))
    await conversation.append(*many(10, prefix="n"))

    page = await conversation.read(limit=1000)

    assert sequence_numbers(page) == list(range(1, 1001))
    assert page.next == 1000


async def test_a_missing_body_is_an_error(conversation: Conversation) -> None:
    """When something else removed a part of the conversation, a reader is told and gets no half of it."""
    await conversation.append(*many(3))
    await conversation.store.call(b"HDEL", conversation.keys.messages, b"m2")

    with pytest.raises(StoreError, match="'m2' has no content"):
        await conversation.read()
