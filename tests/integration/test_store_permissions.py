"""What the functions need: the keys they were given, a short list of commands, and for reading nothing that writes."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from memory_core.config import encode_config
from memory_core.errors import StoreError
from memory_core.keys import InstanceKeys, MemoryKeys
from memory_core.store import Store, StoreSettings, library
from memory_core.store.functions import (
    Idempotency,
    delete_config,
    put_config,
    read_config,
    register_instance,
    stats,
    unregister_instance,
)
from support.conversations import MEMORY, Conversation, configuration, limits, many, message
from support.store import Engine, StoreServer, engines
from support.waiting import wait_until

KEYS = InstanceKeys(MEMORY, "ada")
MEMORY_KEYS = MemoryKeys(MEMORY)
REQUEST = Idempotency("request", "f")


def commands(names: str) -> list[str]:
    """Return the rights to these commands."""
    return [f"+{name}" for name in names.split()]


WRITING = commands("fcall time get setrange hget hset hdel hexists zadd zrem zrange exists unlink pexpireat persist")
READING = commands("fcall_ro get zrange hmget")

Login = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture(params=engines(), ids=lambda engine: engine.name)
async def server(request: pytest.FixtureRequest, make_store: Callable[..., StoreServer]) -> StoreServer:
    """Return a store with the function library, whose users a test may change."""
    engine: Engine = request.param
    made = make_store(engine)
    await library.ensure(StoreSettings(url=made.url))
    return made


@pytest.fixture
def as_user(server: StoreServer, tmp_path: Path) -> Login:
    """Return a context manager that connects as a user with exactly the given rights."""
    password = tmp_path / "password"
    password.write_text("secret\n")

    @asynccontextmanager
    async def login(*rights: str | bytes) -> AsyncGenerator[Store]:
        with server.client() as administrator:
            administrator.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rights)
        async with Store(StoreSettings(url=server.url, username="app", password_file=password)) as store:
            await store.wait_connected(5)
            yield store

    return login


def only(*keys: bytes) -> list[bytes]:
    """Return the rights to exactly these keys; they hold no character that means something in a pattern."""
    return [b"~" + key for key in keys]


async def write_in_every_way(conversation: Conversation) -> None:
    """Append with creation, units, eviction, idempotency and a time to live that comes and goes."""
    await conversation.append(
        message("call", calls=["c"]), message("result", answers="c"), *many(3), idempotency=REQUEST
    )
    await conversation.append(message("again"), idempotency=REQUEST)
    limited = conversation.under(max_messages=2, ttl_ms=60_000)
    await limited.append(message("call2", calls=["c"]), message("result2", answers="c"))
    await limited.under().append(*many(2, prefix="n"))


async def remove_in_every_way(conversation: Conversation) -> None:
    """Delete a unit, and clear."""
    await conversation.delete_message("result2")
    await conversation.clear()


async def read_in_every_way(conversation: Conversation) -> None:
    """Read pages and counters."""
    for descending in (False, True):
        await conversation.read(descending=descending, limit=1, roles=("user",))
    await stats(conversation.store, conversation.keys)


async def delete_conversation(conversation: Conversation) -> None:
    """Delete it."""
    await conversation.delete()


@pytest.mark.parametrize(
    ("work", "keys", "rights"),
    [
        (write_in_every_way, KEYS.all, WRITING),
        (remove_in_every_way, KEYS.all[:4], WRITING),
        (read_in_every_way, KEYS.all[:3], READING),
        (delete_conversation, KEYS.all, WRITING),
    ],
)
async def test_functions_of_a_conversation_touch_the_keys_they_are_given(
    server: StoreServer,
    as_user: Login,
    work: Callable[[Conversation], Awaitable[None]],
    keys: tuple[bytes, ...],
    rights: list[str],
) -> None:
    """A user who may use nothing but these keys and commands can do it all."""
    async with Store(StoreSettings(url=server.url)) as administrator:
        await administrator.wait_connected(5)
        if work is not write_in_every_way:
            await write_in_every_way(Conversation(administrator, KEYS, limits()))
    async with as_user(*only(*keys), *rights) as store:
        await work(Conversation(store, KEYS, limits(revision=5)))


async def test_functions_of_a_memory_touch_the_keys_they_are_given(as_user: Login) -> None:
    """The same for configuration and registration, of which the operator's are announced on the memory's channel."""
    blob = encode_config(configuration())
    rights = commands("fcall time hmget hget hset hdel hexists del publish")
    channel = b"&" + MEMORY_KEYS.channel

    async with as_user(*only(MEMORY_KEYS.config), channel, *rights) as store:
        await put_config(store, MEMORY_KEYS, epoch=1, blob=blob)
        await put_config(store, MEMORY_KEYS, epoch=2, blob=blob)
        await delete_config(store, MEMORY_KEYS, epoch=2)
        await delete_config(store, MEMORY_KEYS, epoch=2, purge=True)
        await put_config(store, MEMORY_KEYS, epoch=1, blob=blob)
        await read_config(store, MEMORY_KEYS)
    both = only(MEMORY_KEYS.config, MEMORY_KEYS.instances)
    async with as_user(*both, *commands("fcall time hexists zadd zrange")) as store:
        registered = await register_instance(store, MEMORY_KEYS, "ada")
    async with as_user(*only(MEMORY_KEYS.instances), *commands("fcall zscore zrem")) as store:
        assert await unregister_instance(store, MEMORY_KEYS, "ada", registered=registered)


async def test_a_reader_reads_and_cannot_write(server: StoreServer, as_user: Login) -> None:
    """A user with read rights on the memory and the reading functions is refused every change."""
    async with Store(StoreSettings(url=server.url)) as administrator:
        await administrator.wait_connected(5)
        await Conversation(administrator, KEYS, limits()).append(*many(2))
        rights = (b"%R~" + MEMORY_KEYS.instance_pattern, *READING)

        async with as_user(*rights) as store:
            conversation = Conversation(store, KEYS, limits())
            assert await conversation.ids() == ["m1", "m2"]
            assert (await conversation.stats()).totals.messages == 2
            for change in (conversation.append(message()), conversation.clear(), conversation.delete()):
                with pytest.raises(StoreError, match="NOPERM"):
                    await change
        async with as_user(*rights, "+fcall", *WRITING) as store:  # commands alone do not help without keys
            conversation = Conversation(store, KEYS, limits())
            for change in (conversation.append(message()), conversation.clear(), conversation.delete()):
                with pytest.raises(StoreError, match="NOPERM"):
                    await change

        assert await Conversation(administrator, KEYS, limits()).ids() == ["m1", "m2"]


@pytest.mark.parametrize("function", ["append", "delete_message", "clear", "delete_instance"])
async def test_writing_functions_cannot_be_called_as_reading_ones(as_user: Login, function: str) -> None:
    """FCALL_RO refuses what is not declared as reading."""
    async with as_user("~*", "+@all") as store:
        with pytest.raises(StoreError, match="write"):
            await store.call(b"FCALL_RO", f"am1_{function}", 6, *KEYS.all)


async def test_a_user_of_one_memory_reaches_no_other(as_user: Login) -> None:
    """The pattern of a memory is the whole right of its users: a name that begins alike is another memory."""
    async with as_user(b"~" + MEMORY_KEYS.instance_pattern, *WRITING) as store:
        await Conversation(store, KEYS, limits()).append(message())
        for ref in ("tickets2", "ticket", "tickets/ada"):
            other = InstanceKeys(type(MEMORY)("shop", ref), "ada")
            with pytest.raises(StoreError, match="NOPERM"):
                await Conversation(store, other, limits()).append(message())


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
async def test_functions_stay_within_one_slot_of_a_cluster(
    engine: Engine, make_store: Callable[..., StoreServer]
) -> None:
    """A node of a cluster refuses a function that touches two slots: none does."""
    node = make_store(engine, settings={"cluster-enabled": "yes"})
    with node.client() as administrator:
        administrator.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in administrator.execute_command("CLUSTER", "INFO"), "it has all slots")
    await library.ensure(StoreSettings(url=node.url))
    async with Store(StoreSettings(url=node.url)) as store:
        await store.wait_connected(5)
        conversation = Conversation(store, KEYS, limits(revision=5))
        await put_config(store, MEMORY_KEYS, epoch=1, blob=encode_config(configuration()))
        registered = await register_instance(store, MEMORY_KEYS, "ada")
        for work in (write_in_every_way, remove_in_every_way, read_in_every_way, delete_conversation):
            await work(conversation)
            conversation = replace(conversation, limits=limits(revision=9))
        await unregister_instance(store, MEMORY_KEYS, "ada", registered=registered)
        await delete_config(store, MEMORY_KEYS, epoch=1, purge=True)

        assert await store.call(b"KEYS", b"*") == []


def test_the_documented_rights_are_those_that_suffice_here(repository: Path) -> None:
    """The reference page grants what these tests grant, no more and no less."""
    page = (repository / "docs/reference/store.md").read_text()

    for rights in (WRITING, READING):
        assert f"| `{' '.join(right.removeprefix('+') for right in rights)}` |" in page
