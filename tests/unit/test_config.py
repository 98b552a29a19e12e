"""The compiled configuration as the store keeps it."""

import json
import re
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.config import (
    MemoryConfig,
    MemoryType,
    Overflow,
    TokenizerConfig,
    TokenizerFallback,
    decode_config,
    encode_config,
)
from memory_core.errors import StoreError

texts = st.text(st.characters(codec="utf-8"), max_size=20)
limits = st.none() | st.integers(1, 100_000_000)
tokenizers = st.builds(
    TokenizerConfig, provider=texts, encoding=st.none() | texts, fallback=st.sampled_from(get_args(TokenizerFallback))
)
configs = st.builds(
    MemoryConfig,
    namespace=texts,
    name=texts,
    description=texts,
    type=st.sampled_from(get_args(MemoryType)),
    max_tokens=limits,
    max_messages=limits,
    max_message_bytes=st.integers(256, 4_194_304),
    overflow=st.sampled_from(get_args(Overflow)),
    flush_threshold=st.floats(0.01, 1),
    key_template=texts,
    key_default=st.none() | texts,
    tokenizer=tokenizers,
    ttl_ms=st.integers(0, 10**14),
)


@given(configs)
def test_a_configuration_survives_the_store(config: MemoryConfig) -> None:
    """What is read is what was written."""
    assert decode_config(encode_config(config)) == config


@given(configs, configs)
def test_equal_configurations_have_equal_bytes(one: MemoryConfig, other: MemoryConfig) -> None:
    """The store compares bytes to tell whether a configuration has changed."""
    assert (encode_config(one) == encode_config(other)) == (one == other)


@given(configs)
def test_fields_of_a_newer_operator_are_ignored(config: MemoryConfig) -> None:
    """A sidecar reads the configuration of an operator that knows more fields."""
    newer = json.loads(encode_config(config)) | {"addedLater": {"deep": [1, 2]}}

    assert decode_config(json.dumps(newer).encode()) == config


@given(configs)
def test_members_are_spelled_as_in_manifests(config: MemoryConfig) -> None:
    """A person who looks into the store finds the names of the specification."""
    members = json.loads(encode_config(config))

    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*", name) for name in (*members, *members["tokenizer"]))
    assert members["maxTokens"] == config.max_tokens


@pytest.mark.parametrize(
    "blob",
    [b"", b"null", b"{}", b"not JSON", b'{"namespace": 1}', b'{"namespace": "\xff"}', b'{"deep": ' + b"[" * 100_000],
)
def test_what_somebody_else_wrote_is_a_clear_error(blob: bytes) -> None:
    """An unreadable configuration says that it is one, and what to do."""
    with pytest.raises(StoreError, match=r"cannot be read .*; delete it, the operator writes it again"):
        decode_config(blob)


@given(configs, st.sampled_from(MemoryConfig.__struct_fields__))
def test_a_missing_member_is_an_error(config: MemoryConfig, field: str) -> None:
    """Nothing is guessed: a configuration without one of its fields is unreadable."""
    members = msgspec.to_builtins(config)
    (encoded,) = (
        wire
        for name, wire in zip(config.__struct_fields__, config.__struct_encode_fields__, strict=True)
        if name == field
    )
    del members[encoded]

    with pytest.raises(StoreError, match=encoded):
        decode_config(msgspec.json.encode(members))


@given(configs)
def test_a_configuration_knows_its_memory(config: MemoryConfig) -> None:
    """The reference is made of namespace and name."""
    assert (config.ref.namespace, config.ref.name) == (config.namespace, config.name)
