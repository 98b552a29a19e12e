"""Configuration and registration of a memory in the store. Each test runs on every engine."""

import asyncio
import time

import pytest

from memory_core.config import encode_config
from memory_core.errors import ConfigurationUnavailable, FencedEpoch, StoreError
from memory_core.keys import MemoryKeys
from memory_core.store import Store
from memory_core.store.functions import (
    delete_config,
    list_instances,
    put_config,
    read_config,
    register_instance,
    registered_at,
    unregister_instance,
)
from support.conversations import configuration
from support.waiting import eventually

BLOB = encode_config(configuration(max_messages=10))
OTHER = encode_config(configuration(max_messages=20))


async def test_what_is_put_is_read(store: Store, memory: MemoryKeys) -> None:
    """A configuration comes back with the revision that the store gave it."""
    stored = await put_config(store, memory, epoch=1, blob=BLOB)

    read = await read_config(store, memory)

    assert stored.changed
    assert (read.revision, read.config) == (stored.revision, configuration(max_messages=10))


async def test_the_same_configuration_again_changes_nothing(store: Store, memory: MemoryKeys) -> None:
    """A resync of the operator keeps the revision, and a new leader as well."""
    first = await put_config(store, memory, epoch=1, blob=BLOB)

    for epoch in (1, 2):
        again = await put_config(store, memory, epoch=epoch, blob=BLOB)
        assert (again.revision, again.changed) == (first.revision, False)


async def test_a_revision_grows_with_each_change(store: Store, memory: MemoryKeys) -> None:
    """Also with many changes in one millisecond, and over removal and return."""
    revisions = []
    for number in range(10):
        revisions.append((await put_config(store, memory, epoch=1, blob=(BLOB, OTHER)[number % 2])).revision)
        if number % 3 == 0:
            await delete_config(store, memory, epoch=1)

    assert revisions == sorted(set(revisions))


async def test_a_revision_grows_though_the_store_lost_everything(store: Store, memory: MemoryKeys) -> None:
    """Sidecars that hold the configuration of before take the new one for newer."""
    before = (await put_config(store, memory, epoch=1, blob=BLOB)).revision
    await store.call(b"FLUSHALL")
    await asyncio.sleep(0.002)  # the first revision is the time in milliseconds

    assert (await put_config(store, memory, epoch=1, blob=BLOB)).revision > before


async def test_a_revision_is_a_time(store: Store, memory: MemoryKeys) -> None:
    """The first one is the store's clock in milliseconds."""
    revision = (await put_config(store, memory, epoch=1, blob=BLOB)).revision

    assert abs(revision / 1000 - time.time()) < 10


async def test_an_operator_whose_term_is_over_is_fenced(store: Store, memory: MemoryKeys) -> None:
    """Once a later leader has written, an earlier one changes and removes nothing, though the content is the same."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    await put_config(store, memory, epoch=5, blob=BLOB)

    for change in (
        put_config(store, memory, epoch=4, blob=OTHER),
        put_config(store, memory, epoch=4, blob=BLOB),
        delete_config(store, memory, epoch=4),
        delete_config(store, memory, epoch=4, purge=True),
    ):
        with pytest.raises(FencedEpoch, match="epoch 5") as refused:
            await change
        assert refused.value.facts == {"epoch": 5}
    assert (await read_config(store, memory)).config.max_messages == 10


async def test_a_removed_configuration_is_unavailable(store: Store, memory: MemoryKeys) -> None:
    """Readers are told; removing it twice is no error; the fence stays."""
    await put_config(store, memory, epoch=3, blob=BLOB)

    assert await delete_config(store, memory, epoch=3)
    assert not await delete_config(store, memory, epoch=3)
    with pytest.raises(ConfigurationUnavailable, match=r"shop/tickets .*the operator writes it"):
        await read_config(store, memory)
    with pytest.raises(FencedEpoch):
        await put_config(store, memory, epoch=2, blob=BLOB)


async def test_purge_leaves_nothing(store: Store, memory: MemoryKeys) -> None:
    """When no conversation is left, the memory's own key goes as well."""
    await put_config(store, memory, epoch=1, blob=BLOB)

    assert await delete_config(store, memory, epoch=1, purge=True)
    assert await store.call(b"DBSIZE") == 0
    assert not await delete_config(store, memory, epoch=1, purge=True)


async def test_purge_removes_what_an_earlier_removal_kept(store: Store, memory: MemoryKeys) -> None:
    """The revision that was kept for readers goes with the memory."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    await delete_config(store, memory, epoch=1)
    kept = await store.call(b"DBSIZE")

    await delete_config(store, memory, epoch=1, purge=True)

    assert (kept, await store.call(b"DBSIZE")) == (1, 0)


async def test_every_change_is_announced(store: Store, memory: MemoryKeys) -> None:
    """Subscribers get the revision at each change, 0 at removal, and nothing when nothing changed."""
    heard: list[int] = []
    store.subscribe(memory.channel, lambda payload: heard.append(int(payload)))

    first = await put_config(store, memory, epoch=1, blob=BLOB)
    await put_config(store, memory, epoch=1, blob=BLOB)
    second = await put_config(store, memory, epoch=1, blob=OTHER)
    await delete_config(store, memory, epoch=1)
    await delete_config(store, memory, epoch=1)
    third = await put_config(store, memory, epoch=1, blob=BLOB)

    async def all_heard() -> bool:
        return len(heard) >= 4

    await eventually(all_heard, "announcements arrive")
    assert heard == [first.revision, second.revision, 0, third.revision]


async def test_an_unreadable_configuration_is_told(store: Store, memory: MemoryKeys) -> None:
    """What somebody else wrote there is an error that says what to do."""
    await store.call(b"HSET", memory.config, b"revision", 1, b"body", b"{}")

    with pytest.raises(StoreError, match="cannot be read"):
        await read_config(store, memory)


async def test_a_conversation_is_registered_once(store: Store, memory: MemoryKeys) -> None:
    """Registering again moves it to the end of the list."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    first = await register_instance(store, memory, "ada")
    other = await register_instance(store, memory, "bob")

    again = await register_instance(store, memory, "ada")

    assert first < other < again
    assert await registered_at(store, memory, "ada") == again
    assert await list_instances(store, memory, limit=10) == [("bob", other), ("ada", again)]


async def test_a_memory_without_a_configuration_registers_nothing(store: Store, memory: MemoryKeys) -> None:
    """No conversation can begin in a memory that is being deleted, or does not exist."""
    with pytest.raises(ConfigurationUnavailable):
        await register_instance(store, memory, "ada")
    await put_config(store, memory, epoch=1, blob=BLOB)
    await delete_config(store, memory, epoch=1)
    with pytest.raises(ConfigurationUnavailable):
        await register_instance(store, memory, "ada")

    assert await list_instances(store, memory, limit=10) == []


async def test_a_deleted_conversation_is_unregistered(store: Store, memory: MemoryKeys) -> None:
    """Once, and only one that is registered."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    time_of_it = await register_instance(store, memory, "ada")

    assert await unregister_instance(store, memory, "ada", registered=time_of_it)
    assert not await unregister_instance(store, memory, "ada", registered=time_of_it)
    assert await registered_at(store, memory, "ada") is None


async def test_a_conversation_that_begins_anew_while_it_is_deleted_stays_registered(
    store: Store, memory: MemoryKeys
) -> None:
    """Who deletes knows the registration of before: a writer that came in between has registered later."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    seen_by_deletion = await register_instance(store, memory, "ada")
    by_writer = await register_instance(store, memory, "ada")

    assert not await unregister_instance(store, memory, "ada", registered=seen_by_deletion)
    assert await registered_at(store, memory, "ada") == by_writer


async def test_registrations_in_parallel_are_listed_in_parts_without_a_gap(store: Store, memory: MemoryKeys) -> None:
    """Each has a time of its own, so that a list that is read page by page misses none."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    names = [f"customer {number}/é" for number in range(200)]
    times = await asyncio.gather(*(register_instance(store, memory, name) for name in names))

    listed: list[tuple[str, int]] = []
    while page := await list_instances(store, memory, limit=7, after=listed[-1][1] if listed else 0):
        listed += page

    assert len(set(times)) == 200
    assert sorted(listed) == sorted(zip(names, times, strict=True))


async def test_a_clock_that_steps_back_hides_no_registration(store: Store, memory: MemoryKeys) -> None:
    """A registration is later than all before it, whatever the clock says."""
    await put_config(store, memory, epoch=1, blob=BLOB)
    tomorrow = await register_instance(store, memory, "ada") + 86_400_000_000
    await store.call(b"ZADD", memory.instances, tomorrow, b"registered before the step")

    late = await register_instance(store, memory, "bob")

    assert late == tomorrow + 1
    assert await list_instances(store, memory, limit=10, after=tomorrow) == [("bob", late)]
