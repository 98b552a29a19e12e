"""Keys of the store: no two names share one, a cluster keeps an instance together, patterns stay in their memory."""

import binascii
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memory_core.keys import (
    InstallationKeys,
    InstanceKeys,
    MemoryKeys,
    MemoryRef,
    instance_hash,
    parse_instance_key,
)

# Any text that UTF-8 can hold, with the separators of keys, patterns and hash tags more often than chance has them.
names = st.text(st.characters(codec="utf-8") | st.sampled_from("{}/:%*?[]\\ \n\0é"), max_size=12)
refs = st.builds(MemoryRef, names, names)
instances = st.builds(InstanceKeys, refs, names)

PATTERN_CHARACTERS = set(b"*?[]\\")


def every_key(instance: InstanceKeys) -> set[bytes]:
    """Return the keys of a conversation and of its memory."""
    memory = MemoryKeys(instance.ref)
    return {*instance.all, memory.config, memory.instances, memory.channel}


def slot(key: bytes) -> int:
    """Return the slot of a key, computed as the cluster specification says it."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % 16384


@given(instances, instances)
@example(InstanceKeys(MemoryRef("a", "b"), "c/d"), InstanceKeys(MemoryRef("a", "b/c"), "d"))
@example(InstanceKeys(MemoryRef("a", "b"), "%2F"), InstanceKeys(MemoryRef("a", "b"), "/"))
@example(InstanceKeys(MemoryRef("a", "b"), "c}:index"), InstanceKeys(MemoryRef("a", "b"), "c"))
def test_different_conversations_share_no_key(one: InstanceKeys, other: InstanceKeys) -> None:
    """Two conversations, of one memory or of two, have no key in common."""
    if (one.ref, one.key) != (other.ref, other.key):
        assert set(one.all).isdisjoint(other.all)


@given(refs, refs)
def test_different_memories_share_no_key(one: MemoryRef, other: MemoryRef) -> None:
    """The keys that belong to a memory as a whole are its own as well."""
    if one != other:
        assert set(memory_keys(one)).isdisjoint(memory_keys(other))


def memory_keys(ref: MemoryRef) -> tuple[bytes, ...]:
    """Return what belongs to a memory as a whole."""
    keys = MemoryKeys(ref)
    return (keys.config, keys.instances, keys.channel)


@given(refs)
def test_a_memory_in_a_set_is_found_again(ref: MemoryRef) -> None:
    """Whatever its name is made of."""
    assert MemoryRef.decode(ref.encode()) == ref


@given(refs, instances)
@example(MemoryRef("a", "b"), InstanceKeys(MemoryRef("operator", "a"), "b"))
def test_what_belongs_to_an_installation_belongs_to_no_memory(lease: MemoryRef, instance: InstanceKeys) -> None:
    """No key is the same, no pattern of a memory matches, and two installations share nothing."""
    key = InstallationKeys(lease.namespace, lease.name).memories

    assert key not in every_key(instance)
    assert not key.startswith(MemoryKeys(instance.ref).instance_pattern.removesuffix(b"*"))
    if instance.ref != lease:
        assert key != InstallationKeys(instance.ref.namespace, instance.ref.name).memories


@given(instances)
def test_keys_of_one_conversation_are_all_different(instance: InstanceKeys) -> None:
    """Nine parts, nine keys: none is taken for another."""
    assert len(every_key(instance)) == 9


@given(instances)
def test_a_cluster_keeps_a_conversation_in_one_slot(instance: InstanceKeys) -> None:
    """A function may touch all keys of an instance, for the part in braces is the same, whatever the names hold."""
    assert len({slot(key) for key in instance.all}) == 1
    assert len({slot(key) for key in memory_keys(instance.ref)}) == 1


def test_conversations_spread_over_the_slots_of_a_cluster() -> None:
    """The conversation is part of what is hashed: those of one memory do not all sit on one node."""
    ref = MemoryRef("shop", "tickets")

    assert len({slot(InstanceKeys(ref, f"customer-{number}").meta) for number in range(100)}) > 90


@given(instances, refs)
def test_the_pattern_of_a_memory_matches_its_conversations_only(instance: InstanceKeys, other: MemoryRef) -> None:
    """The pattern is a literal beginning: it matches each key of the memory's conversations, and none of another."""
    literal = MemoryKeys(other).instance_pattern.removesuffix(b"*")

    assert PATTERN_CHARACTERS.isdisjoint(literal)
    assert all(key.startswith(literal) for key in instance.all) == (instance.ref == other)
    assert any(key.startswith(literal) for key in every_key(instance)) == (instance.ref == other)


@given(instances)
def test_a_key_tells_which_conversation_it_belongs_to(instance: InstanceKeys) -> None:
    """Parsing any key of an instance gives back the names it was spelled from."""
    for key in instance.all:
        assert parse_instance_key(key) == (instance.ref, instance.key)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"am:1:",
        b"am:1:{shop/tickets}:config",
        b"am:1:{shop/tickets/7/8}:meta",
        b"am:1:{shop/tickets/7",
        b"am:2:{shop/tickets/7}:meta",
        b"session:{shop/tickets/7}:meta",
    ],
)
def test_other_keys_are_not_taken_for_a_conversation(key: bytes) -> None:
    """What is not spelled as a key of an instance is refused with its name."""
    with pytest.raises(ValueError, match=re.escape(repr(key.decode()))):
        parse_instance_key(key)


def test_keys_are_spelled_as_documented() -> None:
    """The layout is what operators see in the store and grant in access rules: a change of it is a new version."""
    ref = MemoryRef("shop", "tickets")

    assert InstanceKeys(ref, "ada@example.org").meta == b"am:1:{shop/tickets/ada%40example.org}:meta"
    assert MemoryKeys(ref).config == b"am:1:{shop/tickets}:config"
    assert MemoryKeys(ref).instance_pattern == b"am:1:{shop/tickets/*"


@given(instances, instances)
def test_logs_tell_conversations_apart_without_naming_them(one: InstanceKeys, other: InstanceKeys) -> None:
    """The hash is 16 hexadecimal digits, the same for the same conversation and another for another."""
    digest = instance_hash(one.ref, one.key)

    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert (digest == instance_hash(other.ref, other.key)) == ((one.ref, one.key) == (other.ref, other.key))
