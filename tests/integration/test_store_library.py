"""Loading and repairing the function library. Each test runs on every engine."""

from pathlib import Path

import pytest

from memory_core.errors import StoreError, StoreUnavailable
from memory_core.keys import InstanceKeys
from memory_core.store import Store, StoreSettings
from memory_core.store.library import SOURCE, Ensured, ensure
from support.conversations import MEMORY, Conversation, limits, message
from support.network import free_ports
from support.store import StoreServer


def settings(server: StoreServer) -> StoreSettings:
    """Return the settings of a connection to a store."""
    return StoreSettings(url=server.url)


async def test_a_missing_library_is_loaded_once(store_server: StoreServer) -> None:
    """The second look finds it."""
    assert await ensure(settings(store_server)) == Ensured(loaded=True)
    assert await ensure(settings(store_server)) == Ensured(loaded=False)


async def test_another_library_of_the_name_is_replaced(store_server: StoreServer) -> None:
    """An older version, or one that somebody changed, is made what it should be."""
    with store_server.client() as client:
        client.function_load(SOURCE + "\n-- changed\n")

        assert (await ensure(settings(store_server))).loaded

        (found,) = client.function_list(library="am1", withcode=True)
        assert SOURCE.encode() in found


async def test_libraries_of_others_are_left_alone(store_server: StoreServer) -> None:
    """The store may be shared."""
    with store_server.client() as client:
        client.function_load("#!lua name=theirs\nredis.register_function('theirs', function() return 1 end)")

        await ensure(settings(store_server))

        assert {entry[1] for entry in client.function_list()} == {b"theirs", b"am1"}


async def test_without_the_library_calls_ask_to_try_again(store_server: StoreServer) -> None:
    """A store that was flushed is repaired by the operator; until then callers are told that it will be."""
    async with Store(settings(store_server)) as store:
        await store.wait_connected(5)
        conversation = Conversation(store, InstanceKeys(MEMORY, "ada"), limits())
        with pytest.raises(StoreUnavailable, match="lacks the function library; the operator loads it"):
            await conversation.append(message())

        await ensure(settings(store_server))
        await conversation.append(message())


async def test_reading_functions_are_declared_as_such(store_server: StoreServer) -> None:
    """So that readers, and replicas, may call them and no others."""
    await ensure(settings(store_server))
    with store_server.client() as client:
        client.execute_command("HELLO", "3")
        (found,) = client.function_list(library="am1")

    functions = {each[b"name"].decode(): set(each[b"flags"]) for each in _as_map(found)[b"functions"]}
    assert {name for name, flags in functions.items() if b"no-writes" in flags} == {"am1_read", "am1_stats"}
    assert {name for name, flags in functions.items() if not flags} == {"am1_append", "am1_register_instance"}


def _as_map(entry: object) -> dict[bytes, list[dict[bytes, object]]]:
    """Return a reply as a map, whichever protocol it came in."""
    if isinstance(entry, dict):
        return entry
    assert isinstance(entry, list)
    pairs = dict(zip(entry[::2], entry[1::2], strict=True))
    pairs[b"functions"] = [
        each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=True))
        for each in pairs[b"functions"]
    ]
    return pairs


async def test_when_memory_is_short_appends_are_refused_and_removal_works(store_server: StoreServer) -> None:
    """What frees memory stays possible: otherwise nobody could mend it."""
    await ensure(settings(store_server))
    async with Store(settings(store_server)) as store:
        await store.wait_connected(5)
        conversation = Conversation(store, InstanceKeys(MEMORY, "ada"), limits())
        await conversation.append(message("m1"), message("m2"))
        await store.call(b"CONFIG", b"SET", b"maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable, match="cannot serve now: OOM"):
                await conversation.append(message("m3"))
            assert await conversation.ids() == ["m1", "m2"]
            await conversation.delete_message("m1")
            await conversation.clear()
            assert (await conversation.delete()).existed
        finally:
            await store.call(b"CONFIG", b"SET", b"maxmemory", 0)


async def test_an_unreachable_store_is_told() -> None:
    """With its address."""
    (port,) = free_ports(1)

    with pytest.raises(StoreUnavailable, match=rf"the store at 127\.0\.0\.1:{port} is not reachable: "):
        await ensure(StoreSettings(url=f"redis://127.0.0.1:{port}"))


async def test_a_refusal_is_told(store_server: StoreServer, tmp_path: Path) -> None:
    """A user without the right to load functions gets the store's words."""
    (tmp_path / "password").write_text("secret")
    with store_server.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=["+secret"], commands=["+hello", "+function|list"])
    try:
        login = StoreSettings(url=store_server.url, username="reader", password_file=tmp_path / "password")
        with pytest.raises(StoreError, match=r"refused the function library: .*permissions"):
            await ensure(login)
    finally:
        with store_server.client() as client:
            client.acl_deluser("reader")
