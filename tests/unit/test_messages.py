"""Messages: what is accepted, what is refused and with which words, and what the store is given."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.documents import decode
from memory_core.errors import InvalidRequest
from memory_core.messages import EncodedMessage, Message, MessageEncoder, check_messages
from memory_core.ulid import UlidGenerator


class Body(msgspec.Struct):
    """A request that carries messages."""

    messages: list[Message]


DECODER = msgspec.json.Decoder(Body)
NOON = 1_741_953_912_318_000_000  # 2025-03-14T12:05:12.318Z
ID = UlidGenerator(clock=lambda: NOON, entropy=bytes).next().encode()
CALL = {"id": "call_1", "type": "function", "function": {"name": "track", "arguments": '{"order": 48213}'}}


def read(raw: bytes) -> Message:
    """Read and check one message as the sidecar does."""
    body = decode(DECODER, b'{"messages":[' + raw + b"]}")
    check_messages(body.messages)
    return body.messages[0]


def message(**fields: Any) -> Message:
    """Read a message of these fields."""
    return read(json.dumps(fields).encode())


def encode(raw: bytes, tokens: int = 7) -> EncodedMessage:
    """Encode a message at a known time."""
    return MessageEncoder(clock=lambda: NOON, entropy=bytes).encode(read(raw), tokens, "exact")


def said(**fields: Any) -> dict[str, Any]:
    """Return a message as the test writes it."""
    return fields


@pytest.mark.parametrize(
    "fields",
    [
        said(role="system", content="Be brief."),
        said(role="developer", content="Be brief."),
        said(role="user", content="hi", id="a.b_c:d-9", name="Zoë Müller", pinned=True),
        said(role="user", content=[{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}]),
        said(role="user", content="a\x00b"),
        said(role="assistant", content=None, tool_calls=[CALL]),
        said(role="assistant", content="", tool_calls=[CALL]),
        said(role="assistant", tool_calls=[CALL]),
        said(role="tool", content="", tool_call_id="call_1"),
        said(role="user", content="hi", metadata={"a": [1, {"b": None}]}, payload={}),
        said(role="user", content="hi", metadata=None, payload=None, name=None, id=None, tool_calls=None),
    ],
)
def test_messages_that_agents_send_are_accepted(fields: dict[str, Any]) -> None:
    """Null means not given."""
    assert message(**fields).role == fields["role"]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (said(role="user"), "content: may be empty only beside tool_calls, and as the result of a tool"),
        (said(role="user", content=""), "content: may be empty only beside tool_calls, and as the result of a tool"),
        (said(role="user", content=[]), "content: may be empty only beside tool_calls, and as the result of a tool"),
        (
            said(role="tool", tool_call_id="x"),
            "content: may be empty only beside tool_calls, and as the result of a tool",
        ),
        (said(role="user", content="x", name="n" * 65), "name: at most 64 characters"),
        (said(role="user", content="x", name=""), "name: at least 1 character"),
        (said(role="user", content="x", name="a\n"), "name: expected text without control characters"),
        (said(role="user", content="x", id="a b"), "id: expected a string matching ^[A-Za-z0-9._:-]{1,128}$"),
        (said(role="user", content="x", id="a\n"), "id: expected a string matching ^[A-Za-z0-9._:-]{1,128}$"),
        (said(role="user", content="x", id="a" * 129), "id: expected a string matching ^[A-Za-z0-9._:-]{1,128}$"),
        (
            said(role="user", content="x", tool_calls=[CALL]),
            "tool_calls: only a message of role assistant has tool calls",
        ),
        (said(role="assistant", content="x", tool_calls=[]), "tool_calls: at least 1 entry"),
        (said(role="assistant", content="x", tool_calls=[CALL] * 129), "tool_calls: at most 128 entries"),
        (said(role="assistant", content="x", tool_calls=[CALL, CALL]), "tool_calls: an id is used twice"),
        (
            said(role="assistant", tool_calls=[{**CALL, "type": "magic"}]),
            "tool_calls[0].type: invalid enum value 'magic', write function",
        ),
        (said(role="assistant", tool_calls=[{**CALL, "id": "c" * 257}]), "tool_calls[0].id: at most 256 characters"),
        (said(role="tool", content="x"), "tool_call_id: needed in a message of role tool, and only there"),
        (
            said(role="user", content="x", tool_call_id="c"),
            "tool_call_id: needed in a message of role tool, and only there",
        ),
        (said(role="user", content=[{"text": "x"}]), "content[0].type: a string of 1 to 64 characters, such as text"),
        (said(role="user", content=[{"type": "text"}]), "content[0].text: a part of type text has a string here"),
        (said(role="user", content=["x"]), "content[0]: expected an object"),
        (said(role="user", content=[{"type": "text", "text": "x"}] * 257), "content: at most 256 entries"),
        (said(role="user", content="x", metadata=[]), "metadata: expected an object"),
        (said(role="user", content="x", metadata={"a": "x" * 16_384}), "metadata: at most 16384 bytes"),
        (said(role="user", content="x", metadata={"a": [[[[[[[[]]]]]]]]}), "metadata: at most 8 levels of nesting"),
        (said(role="user", content="x", payload="x"), "payload: expected an object"),
    ],
)
def test_a_refusal_names_the_field_and_what_is_allowed(fields: dict[str, Any], detail: str) -> None:
    """With the position of the message."""
    with pytest.raises(InvalidRequest) as refusal:
        message(**fields)

    assert refusal.value.detail == f"messages[0].{detail}"


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (rb'{"role":"user","content":"x","payload":{"a":"\ud800", "b": 1}}', "JSON is malformed"),
        (b'{"role":"user","content":"x","payload":{"a":"\xff"}}', "messages[0].payload: not UTF-8"),
        (b'{"role":"user","content":"x","payload":{"a":1e999}}', "messages[0].payload"),
        (b'{"role":"user","content":"x","payload":' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}", "at most 64 levels"),
        (rb'{"role":"user","content":[{"type":"text","text":"\udc00"}]}', "surrogate pair"),
    ],
)
def test_what_no_reader_could_read_is_not_kept(raw: bytes, detail: str) -> None:
    """Also not inside of what is kept byte for byte."""
    with pytest.raises(InvalidRequest) as refusal:
        read(raw)

    assert detail in refusal.value.detail


def test_a_request_carries_1_to_1000_messages() -> None:
    """All or none of which are stored."""
    with pytest.raises(InvalidRequest, match="messages: 1 to 1000 messages"):
        check_messages([])
    with pytest.raises(InvalidRequest, match="messages: 1 to 1000 messages"):
        check_messages([message(role="user", content="x")] * 1001)


def test_the_second_message_is_named_by_its_position() -> None:
    """Counted from zero, as in JavaScript, jq and Python."""
    with pytest.raises(InvalidRequest, match=r"^messages\[1\]\.tool_call_id: "):
        check_messages([message(role="user", content="x"), Message(role="tool", content="x")])


def test_the_store_gets_a_body_without_the_sequence_number() -> None:
    """It is put in front, and what a caller sent comes before what the system adds."""
    encoded = encode(b'{"content": "h\\u00e9llo", "role": "user", "name": "Ada"}')

    assert encoded.body == (
        b',"id":"' + ID + b'","role":"user","content":"h\xc3\xa9llo","name":"Ada"'
        b',"tokens":7,"counted":"exact","bytes":81,"kind":"message","created_at":"2025-03-14T12:05:12.318Z"}'
    )
    assert encoded.id == ID.decode()
    assert encoded.header == b"7 81 u " + ID
    assert (encoded.calls, encoded.answers) == ("", "")


def test_what_is_not_understood_is_kept_byte_for_byte() -> None:
    """Numbers as they were written, members in their order and even twice, white space."""
    kept = b'{ "b": 1.50e2,\n "a": 12345678901234567890123, "a": "\\u00e9" }'
    encoded = encode(b'{"role":"user","id":"x","content":[' + kept[:-1] + b',"type":"x"}],"payload":' + kept + b"}")

    assert encoded.body.count(kept[:-1]) == 2
    assert b'"payload":' + kept + b',"tokens"' in encoded.body


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        (said(role="system", content="x"), "sc"),
        (said(role="developer", content="x"), "dc"),
        (said(role="user", content="x"), "u"),
        (said(role="user", content="x", pinned=True), "uc"),
        (said(role="assistant", content="x"), "a"),
        (said(role="assistant", tool_calls=[CALL]), "ak"),
        (said(role="assistant", tool_calls=[CALL], pinned=True), "ack"),
        (said(role="tool", content="x", tool_call_id="c"), "tr"),
        (said(role="tool", content="x", tool_call_id="c", pinned=True), "tcr"),
    ],
)
def test_the_header_says_role_and_flags(fields: dict[str, Any], header: str) -> None:
    """c: never evicted; k: has tool calls; r: is the result of one."""
    encoded = encode(json.dumps({**fields, "id": "x"}).encode())

    assert encoded.header.split()[2:] == [header.encode(), b"x"]


def test_tool_calls_and_their_answers_find_each_other() -> None:
    """Under the same encoded id, in which a blank separates nothing."""
    odd = {**CALL, "id": "call 2;é"}

    made = encode(json.dumps(said(role="assistant", tool_calls=[CALL, odd])).encode())
    answered = encode(json.dumps(said(role="tool", content="x", tool_call_id="call 2;é")).encode())

    assert made.calls == "call_1 call%202%3B%C3%A9"
    assert answered.answers == "call%202%3B%C3%A9"


def test_ids_follow_the_order_of_encoding() -> None:
    """So that messages of one request sort as they were sent."""
    encoder = MessageEncoder()

    ids = [encoder.encode(message(role="user", content="x"), 1, "exact").id for _ in range(1000)]

    assert ids == sorted(set(ids))


def test_every_text_that_a_model_reads_is_counted() -> None:
    """Content parts, refusals, the name, and function names and arguments."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "refusal", "refusal": "b"}]

    assert message(role="user", content=parts, name="n").texts() == ["a", "b", "n"]
    assert message(role="assistant", tool_calls=[CALL]).texts() == ["track", '{"order": 48213}']


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
JSON_OBJECTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT), max_size=4)


@given(
    fields=st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": TEXT},
        optional={
            "id": st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True),
            "payload": JSON_OBJECTS,
            "metadata": JSON_OBJECTS,
            "pinned": st.just(True),
        },
    ),
    tokens=st.integers(0, 10**6),
)
def test_a_message_comes_back_as_it_was_sent(fields: dict[str, Any], tokens: int) -> None:
    """And `bytes` is the length of exactly that part."""
    encoded = encode(json.dumps(fields).encode(), tokens)

    stored = json.loads(b'{"seq":1' + encoded.body)
    system = {name: stored.pop(name) for name in ("seq", "tokens", "counted", "bytes", "kind", "created_at")}
    assert stored == {"id": encoded.id, **fields}
    assert (system["tokens"], system["kind"], system["counted"]) == (tokens, "message", "exact")
    assert system["bytes"] == encoded.body.index(b',"tokens":%d,"counted"' % tokens) + 1
