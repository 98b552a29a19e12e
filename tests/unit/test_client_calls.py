"""What the client's calls send, and how it reads their answers."""

import inspect
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory import Memory, errors
from agent_memory.async_client import AsyncMemory, AsyncMemoryClient
from agent_memory.calls import Call, MemoryCalls, list_memories
from agent_memory.client import MemoryClient
from agent_memory.wire import Response

MESSAGE = {"role": "user", "content": "hello"}
TOTALS = {"messages": 1, "tokens": 8, "bytes": 100}
APPENDED = {
    "key": "k",
    "messages": [{"id": "a", "seq": 1, "tokens": 8}],
    "version": 1,
    "totals": TOTALS,
    "evicted": ["z"],
    "dropped": [{"index": 1, "reason": "NonPersistableRole"}],
    "flush_due": False,
    "durability": "stored",
    "a_later_member": True,
}


def sent(call: Call[Any]) -> tuple[str, str, Any]:
    """Return method, target and body of a call."""
    head, _, body = call.request.partition(b"\r\n\r\n")
    method, target, _ = head.decode().split("\r\n")[0].split(" ")
    return method, target, json.loads(body) if body else None


def query(call: Call[Any]) -> dict[str, str]:
    """Return the query of a call."""
    return dict(parse_qsl(urlsplit(sent(call)[1]).query, keep_blank_values=True))


def answer(data: object, status: int = 200, **headers: str) -> Response:
    """Return an answer with a JSON body."""
    return Response(status, headers, json.dumps(data).encode(), reusable=True)


def test_every_append_has_an_idempotency_key_of_its_own() -> None:
    """Two appends of the same message are two messages."""
    memory = MemoryCalls("m")
    first, second = memory.append(MESSAGE), memory.append(MESSAGE)

    assert first.repeatable
    assert len(sent(first)[2]["idempotency_key"]) == 32
    assert sent(first)[2]["idempotency_key"] != sent(second)[2]["idempotency_key"]
    assert first.facts == {"idempotency_key": sent(first)[2]["idempotency_key"]}


def test_an_append_sends_one_message_or_several() -> None:
    """A single dict is a list of one."""
    method, target, body = sent(MemoryCalls("m", "k").append(MESSAGE, idempotency_key="i", expected_version=0))

    assert (method, target) == ("POST", "/v1/memories/m/messages")
    assert body == {"key": "k", "messages": [MESSAGE], "idempotency_key": "i", "expected_version": 0}
    assert sent(MemoryCalls("m").append(iter([MESSAGE, MESSAGE])))[2]["messages"] == [MESSAGE, MESSAGE]


@pytest.mark.parametrize(
    ("handle", "given_", "expected"),
    [
        ({}, {}, {}),
        ({}, {"key": "a"}, {"key": "a"}),
        ({"key": "a"}, {}, {"key": "a"}),
        ({"key": "a"}, {"key": "b"}, {"key": "b"}),
        ({"key": "a"}, {"key": ""}, {"key": ""}),
        ({"variables": {"t": "1"}}, {}, {"variables": {"t": "1"}}),
        ({"variables": {"t": "1", "u": "2"}}, {"variables": {"t": "3"}}, {"variables": {"t": "3", "u": "2"}}),
        ({"key": "a"}, {"variables": {"t": "1"}}, {"variables": {"t": "1", "key": "a"}}),
    ],
)
def test_a_call_names_the_conversation_over_its_handle(
    handle: dict[str, Any], given_: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The call's own key and variables win; nothing is invented. Body and query say the same."""
    memory = MemoryCalls("m", **handle)
    body = sent(memory.clear(**given_))[2]
    del body["confirm"]

    assert body == expected
    in_query = {name.removeprefix("var."): value for name, value in query(memory.stats(**given_)).items()}
    assert in_query == expected.get("variables", expected)


@given(name=st.text(min_size=1), key=st.text(), message_id=st.text(min_size=1))
def test_no_name_key_or_id_can_leave_its_place(name: str, key: str, message_id: str) -> None:
    """Whatever the text, it is one path segment or one query value, or is refused as text that cannot be sent."""
    try:
        call = MemoryCalls(name).delete_message(message_id, key=key)
    except errors.InvalidRequest:
        return
    assert sent(call)[1].split("?")[0].count("/") == 5
    assert query(call) == {"key": key}


def test_a_page_is_asked_for_by_place_size_order_and_roles() -> None:
    """What is not given is not sent: the sidecar has its defaults."""
    memory = MemoryCalls("m")

    assert sent(memory.read())[1] == "/v1/memories/m/messages"
    assert query(memory.read(before=9, limit=5, order="desc", roles=["user", "tool"])) == {
        "before": "9",
        "limit": "5",
        "order": "desc",
        "roles": "user,tool",
    }


def test_which_calls_may_be_sent_twice() -> None:
    """Reads and appends; never what removes."""
    memory = MemoryCalls("m")
    safe = [list_memories(), memory.append(MESSAGE), memory.read(), memory.stats(), memory.describe(), memory.health()]
    unsafe = [memory.clear(), memory.delete_message("a"), memory.delete_instance()]

    assert all(call.repeatable for call in [*safe, memory.explain_key()])
    assert not any(call.repeatable for call in unsafe)


@pytest.mark.parametrize("content", [object(), float("nan"), "\ud800", {1, 2}])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(content: object) -> None:
    """The error is the same as for a request that the sidecar finds malformed."""
    with pytest.raises(errors.InvalidRequest):
        MemoryCalls("m").append({"role": "user", "content": content})


def test_an_answer_is_read_and_unknown_members_are_ignored() -> None:
    """A newer sidecar may say more."""
    appended = MemoryCalls("m").append(MESSAGE).answer(answer(APPENDED))

    assert appended.messages[0].id == "a"
    assert appended.totals.tokens == 8
    assert appended.evicted == ("z",)
    assert (appended.dropped[0].index, appended.dropped[0].reason) == (1, "NonPersistableRole")


@pytest.mark.parametrize("name", [name for name in APPENDED if name != "a_later_member"])
def test_an_answer_that_lacks_a_member_is_a_protocol_error(name: str) -> None:
    """Better than an AttributeError far from here."""
    with pytest.raises(errors.ProtocolError, match=name):
        MemoryCalls("m").append(MESSAGE).answer(answer({key: APPENDED[key] for key in APPENDED if key != name}))


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"\xff", b"[" * 100_000])
def test_a_success_without_a_json_object_is_a_protocol_error(body: bytes) -> None:
    """Something else listens on the socket."""
    with pytest.raises(errors.ProtocolError):
        MemoryCalls("m").stats().answer(Response(200, {}, body, reusable=True))


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense"])
def test_a_failure_without_a_problem_keeps_its_status(body: bytes) -> None:
    """The status alone says enough to choose the class."""
    with pytest.raises(errors.Unavailable):
        MemoryCalls("m").stats().answer(Response(503, {}, body, reusable=True))


@pytest.mark.parametrize(("header", "seconds"), [("2", 2.0), ("", None), ("soon", None), ("²", None)])
def test_retry_after_is_read_as_seconds(header: str, seconds: float | None) -> None:
    """A date or garbage counts as absent."""
    problem = answer({"reason": "Overloaded", "detail": "later"}, 503, **{"retry-after": header})

    with pytest.raises(errors.Overloaded) as raised:
        MemoryCalls("m").stats().answer(problem)

    assert raised.value.retry_after_seconds == seconds


def test_bad_health_is_an_answer_and_a_problem_is_not() -> None:
    """Health answers 503 with its checks; a 503 with a reason comes from before the route."""
    call = MemoryCalls("m").health()

    assert not call.answer(answer({"healthy": False, "checks": {"store": {"ok": False}}}, 503)).healthy
    with pytest.raises(errors.Overloaded):
        call.answer(answer({"reason": "Overloaded", "detail": "later"}, 503))


def test_a_message_keeps_everything_and_names_what_every_message_has() -> None:
    """Text is the text of the parts; nothing else is touched."""
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}]
    data = {"id": "x", "seq": 3, "role": "user", "content": parts, "tokens": 5, "payload": {"any": [1, None]}}
    page = {"key": "k", "messages": [data], "next": None, "version": 3, "totals": TOTALS}

    message = MemoryCalls("m").read().answer(answer(page)).messages[0]

    assert message.data == data
    assert (message.id, message.seq, message.role, message.tokens) == ("x", 3, "user", 5)
    assert (message.content, message.text) == (parts, "ab")


@pytest.mark.parametrize(("blocking", "awaited"), [(Memory, AsyncMemory), (MemoryClient, AsyncMemoryClient)])
def test_both_clients_offer_the_same(blocking: type, awaited: type) -> None:
    """Same methods, same parameters, same words."""
    methods = {name for name, _ in inspect.getmembers(blocking, inspect.isfunction) if not name.startswith("_")}
    assert methods == {name for name, _ in inspect.getmembers(awaited, inspect.isfunction) if not name.startswith("_")}

    for name in methods:
        ours, theirs = getattr(blocking, name), getattr(awaited, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name
        assert ours.__doc__ == theirs.__doc__, name
