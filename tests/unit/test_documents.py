"""Reading foreign JSON: what is wrong is said in words of the document, and nothing else comes out of it."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.documents import decode, read_object, request_fingerprint
from memory_core.errors import InvalidRequest
from memory_core.messages import Message


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request as a route may declare it."""

    messages: list[Message]
    key: str | None = None
    count: int = 0
    ratio: float = 0.0


DECODER = msgspec.json.Decoder(Body)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "JSON is malformed: it is cut short, or ends in half a surrogate pair"),
        (b'{"messages":[],"key":"', "JSON is malformed: it is cut short, or ends in half a surrogate pair"),
        (b"{messages}", "JSON is malformed: object keys must be strings (byte 1)"),
        (b'{"messages":[]} x', "JSON is malformed: trailing characters (byte 17)"),
        (b"[]", "expected an object, got a list"),
        (b"{}", "missing required field 'messages'"),
        (b'{"messages":{}}', "messages: expected a list, got an object"),
        (b'{"messages":[],"colour":1}', "contains unknown field 'colour'"),
        (b'{"messages":[],"key":7}', "key: expected a string or null, got a whole number"),
        (b'{"messages":[],"count":"x"}', "count: expected a whole number, got a string"),
        (b'{"messages":[],"ratio":true}', "ratio: expected a number, got true or false"),
        (b'{"messages":[],"ratio":1e999}', "ratio: number out of range"),
        (b'{"messages":["hi"]}', "messages[0]: expected an object, got a string"),
        (b'{"messages":[{}]}', "messages[0]: missing required field 'role'"),
        (
            b'{"messages":[{"role":"robot"}]}',
            "messages[0].role: invalid enum value 'robot', write system, developer, user, assistant or tool",
        ),
        (b'{"messages":[],"key":"\xff"}', "not UTF-8"),
        (
            rb'{"messages":[],"key":"\ud83d and so on"}',
            "JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 28)",
        ),
        (b'{"messages":[{"role":"user","payload":' + b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(raw: bytes, detail: str) -> None:
    """No word of the parser, of Python or of a class gets out."""
    with pytest.raises(InvalidRequest) as refusal:
        decode(DECODER, raw)

    assert refusal.value.detail == detail


@given(st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_document_or_a_refusal_comes_out(raw: bytes) -> None:
    """Whatever goes in."""
    with suppress(InvalidRequest):
        assert isinstance(decode(DECODER, raw), Body)


@given(ANYTHING, st.integers(1, 6))
def test_an_object_is_read_up_to_its_allowed_depth(value: Any, max_depth: int) -> None:
    """Objects and lists count; the object itself is the first level."""
    raw = msgspec.Raw(json.dumps(value).encode())
    allowed = isinstance(value, dict) and depth(value) <= max_depth

    if allowed:
        assert read_object(raw, "here", max_depth=max_depth) == value
    else:
        with pytest.raises(InvalidRequest, match=r"^here: "):
            read_object(raw, "here", max_depth=max_depth)


def depth(value: Any) -> int:
    """Return how many containers are around the innermost one, itself included."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((depth(member) for member in (value.values() if isinstance(value, dict) else value)), default=0)


@given(st.lists(st.dictionaries(st.text(max_size=8), ANYTHING, max_size=4), max_size=4))
def test_a_retry_has_the_same_fingerprint_however_it_is_written(messages: list[dict[str, Any]]) -> None:
    """Order of members, white space, escapes, and what else is in the body do not matter."""
    first = json.dumps({"messages": messages, "expected_version": 1})
    turned = [dict(reversed(message.items())) for message in messages]
    again = json.dumps({"key": "k", "messages": turned}, indent=2, ensure_ascii=False)

    assert request_fingerprint(first.encode()) == request_fingerprint(again.encode())


def test_other_messages_have_another_fingerprint() -> None:
    """The order of messages matters, and so does every member."""
    bodies = [
        b'{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}',
        b'{"messages":[{"role":"user","content":"b"},{"role":"user","content":"a"}]}',
        b'{"messages":[{"role":"user","content":"a"}]}',
        b'{"messages":[{"role":"user","content":"a","pinned":true}]}',
        b'{"messages":[{"role":"user","content":"a","id":"x"}]}',
    ]

    fingerprints = {request_fingerprint(body) for body in bodies}

    assert len(fingerprints) == len(bodies)
    assert all(len(fingerprint) == 32 for fingerprint in fingerprints)


def test_a_fingerprint_of_nonsense_is_refused() -> None:
    """It is taken of the raw body, which may be anything."""
    with pytest.raises(InvalidRequest, match="it is cut short"):
        request_fingerprint(b'{"messages":')
    with pytest.raises(InvalidRequest, match="messages: not UTF-8"):
        request_fingerprint(b'{"messages":["\xff"]}')
