"""Every route over a real socket, against a real store: what it answers, and what it refuses and why."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_core.keys import MemoryRef
from support.conversations import configuration
from support.sidecars import Pod, encode_request, put_config
from support.store import StoreServer

MESSAGES = "/v1/memories/tickets/messages"
Serving = Callable[..., Pod]


def append_body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the body of an append to the conversation `a`."""
    return {"key": "a", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def test_a_message_is_remembered(serving: Serving):
    """What was appended is read back, with what the system added."""
    pod = serving()

    appended = pod.append("a", "My invoice is wrong").json
    read = pod.get(f"{MESSAGES}?key=a").json

    assert appended["messages"] == [{"id": read["messages"][0]["id"], "seq": 1, "tokens": read["totals"]["tokens"]}]
    assert appended["totals"] == read["totals"]
    assert appended["durability"] == "stored"
    assert (appended["evicted"], appended["dropped"], appended["flush_due"]) == ([], [], False)
    assert read["messages"][0].items() >= {"seq": 1, "role": "user", "content": "My invoice is wrong"}.items()
    assert (read["key"], read["next"], read["version"]) == ("a", None, appended["version"])


def test_a_framework_gets_back_what_it_stored(serving: Serving):
    """Payload and metadata survive byte for byte, tool calls and parts as they were."""
    pod = serving()
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"id": 7}'}}
    sent = [
        {"role": "assistant", "content": None, "tool_calls": [call], "payload": {"b": 1.0, "a": [None]}},
        {"role": "tool", "content": [{"type": "text", "text": "found"}], "tool_call_id": "c1", "name": "db"},
    ]

    answer = pod.request("POST", MESSAGES, append_body(*sent))

    assert answer.status == 200, answer.body
    for before, after in zip(sent, pod.read("a"), strict=True):
        assert after.items() >= {key: value for key, value in before.items() if value is not None}.items()


def test_pages_lead_from_one_end_to_the_other(serving: Serving):
    """`next` goes on in either direction, and is null at the end."""
    pod = serving()
    pod.append("a", *map(str, range(7)))

    def walk(order: str, name: str) -> list[str]:
        found, at = [], ""
        while at is not None:
            page = pod.get(f"{MESSAGES}?key=a&limit=3&order={order}{at}").json
            found += [each["content"] for each in page["messages"]]
            at = None if page["next"] is None else f"&{name}={page['next']}"
        return found

    assert walk("asc", "after") == list("0123456")
    assert walk("desc", "before") == list("6543210")


@pytest.mark.parametrize("roles", ["", "&roles=user"])
def test_a_page_of_large_messages_ends_early(serving: Serving, roles: str):
    """It holds at most 4 MiB, and at least one message; `next` leads to the rest."""
    pod = serving(max_message_bytes=4_194_304)
    sizes = [200_000] * 15 + [4_100_000] + [200_000] * 15
    for batch in (sizes[:15], sizes[15:16], sizes[16:]):
        pod.append("a", *("x" * size for size in batch))

    pages, after = [], 0
    while after is not None:
        page = pod.get(f"{MESSAGES}?key=a&limit=1000&after={after}{roles}")
        assert len(page.body) < 4 << 20
        pages.append([len(each["content"]) for each in page.json["messages"]])
        after = page.json["next"]

    assert [size for page in pages for size in page] == sizes
    assert [len(page) for page in pages] == [15, 1, 15]


def test_a_page_can_be_limited_to_roles(serving: Serving):
    """Only those that were asked for come."""
    pod = serving()
    roles = ["system", "user", "assistant", "developer"]
    pod.request("POST", MESSAGES, append_body(*({"role": role, "content": role} for role in roles)))

    page = pod.get(f"{MESSAGES}?key=a&roles=assistant,system").json

    assert [each["role"] for each in page["messages"]] == ["system", "assistant"]


def test_a_conversation_that_does_not_exist_reads_as_empty(serving: Serving):
    """Reading creates nothing."""
    pod = serving()

    assert pod.get(f"{MESSAGES}?key=new").json == {
        "key": "new", "messages": [], "next": None, "version": 0, "totals": {"messages": 0, "tokens": 0, "bytes": 0},
    }  # fmt: skip
    assert pod.get("/v1/memories/tickets/stats?key=new").json["exists"] is False


def test_a_tool_call_and_its_result_are_deleted_together(serving: Serving):
    """Deleting one names both."""
    pod = serving()
    call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    pod.request(
        "POST",
        MESSAGES,
        append_body(
            {"role": "user", "content": "?", "id": "q"},
            {"role": "assistant", "tool_calls": [call], "id": "call"},
            {"role": "tool", "tool_call_id": "c1", "content": "42", "id": "result"},
        ),
    )

    removed = pod.request("DELETE", f"{MESSAGES}/result?key=a").json

    assert sorted(removed["removed"]) == ["call", "result"]
    assert removed["totals"]["messages"] == 1
    assert [each["id"] for each in pod.read("a")] == ["q"]


def test_a_deleted_conversation_leaves_nothing_in_the_store(serving: Serving, valkey: StoreServer):
    """Not even the record that it existed."""
    pod = serving()
    pod.append("secret-name", "text", idempotency_key="once")

    deleted = pod.request("DELETE", "/v1/memories/tickets/instances?key=secret-name").json

    assert deleted == {"key": "secret-name", "deleted": True, "messages": 1}
    with valkey.client() as client:
        assert not [name for name in client.scan_iter() if b"secret" in name]
        assert client.zrange("am:1:{shop/tickets}:instances", 0, -1) == []
    assert pod.request("DELETE", "/v1/memories/tickets/instances?key=secret-name").reason == "InstanceNotFound"


def test_a_conversation_is_recorded_with_its_first_write(serving: Serving, valkey: StoreServer):
    """Cleaning up finds it."""
    pod = serving()
    pod.append("a", "text")

    with valkey.client() as client:
        assert client.zrange("am:1:{shop/tickets}:instances", 0, -1) == [b"a"]


def test_clearing_empties_and_goes_on_counting(serving: Serving):
    """Sequence numbers are never used again."""
    pod = serving()
    pod.append("a", "one", "two")

    cleared = pod.request("POST", "/v1/memories/tickets/clear", {"key": "a", "confirm": True}).json

    assert cleared["removed"] == 2
    assert pod.read("a") == []
    assert pod.append("a", "three").json["messages"][0]["seq"] == 3


def test_clearing_needs_a_confirmation(serving: Serving):
    """Nothing happens without it."""
    pod = serving()
    pod.append("a", "one")

    assert pod.request("POST", "/v1/memories/tickets/clear", {"key": "a"}).reason == "InvalidRequest"
    assert len(pod.read("a")) == 1


def test_stats_count_against_the_limits(serving: Serving):
    """Totals, shares of the limits, roles and times."""
    pod = serving(max_tokens=100, max_messages=4, ttl_ms=60_000)
    pod.append("a", "hello")

    stats = pod.get("/v1/memories/tickets/stats?key=a").json

    assert stats["utilization"] == {"tokens": stats["totals"]["tokens"] / 100, "messages": 0.25}
    assert stats["roles"] == {"user": 1}
    assert stats["last_seq"] == 1
    assert stats["created_at"] <= stats["updated_at"] < stats["expires_at"]
    assert stats["limits"]["max_tokens"] == 100


def test_the_oldest_make_room_and_the_answer_names_them(serving: Serving):
    """Eviction happens in the write that needs it; the flush is due before."""
    pod = serving(type="MessageCountBased", max_messages=3)

    first = pod.append("a", "1").json
    second = pod.append("a", "2", "3").json
    third = pod.append("a", "4").json

    assert (first["flush_due"], second["flush_due"]) == (False, True)
    assert third["evicted"] == [first["messages"][0]["id"]]
    assert third["totals"]["messages"] == 3


def test_a_full_conversation_refuses_with_totals_and_limits(serving: Serving):
    """429: the caller can see what is in the way."""
    pod = serving(max_messages=1, overflow="Reject")
    pod.append("a", "1")

    problem = pod.append("a", "2")

    assert problem.reason == "LimitExceeded"
    assert problem.json["totals"]["messages"] == 1
    assert problem.json["limits"] == {"tokens": None, "messages": 1}


def test_a_message_that_can_never_fit_is_refused(serving: Serving):
    """By tokens as by bytes."""
    pod = serving(max_tokens=10, max_message_bytes=300)

    assert pod.append("a", "word " * 20).reason == "MessageTooLarge"
    too_long = pod.append("a", "x" * 300)
    assert too_long.reason == "MessageTooLarge"
    assert too_long.json["limit_bytes"] == 300


def test_a_repeated_request_changes_nothing_and_gets_the_first_answer(serving: Serving):
    """The whole answer, ids included."""
    pod = serving()

    first = pod.append("a", "once", idempotency_key="k1")
    pod.append("a", "other")
    again = pod.append("a", "once", idempotency_key="k1")

    assert again.json == first.json
    assert len(pod.read("a")) == 2
    assert pod.append("a", "something else", idempotency_key="k1").reason == "IdempotencyMismatch"


def test_an_expected_version_protects_a_decision(serving: Serving):
    """0 means that there must be none yet."""
    pod = serving()

    version = pod.append("a", "1", expected_version=0).json["version"]
    conflict = pod.append("a", "2", expected_version=version + 1)

    assert conflict.reason == "VersionConflict"
    assert conflict.json["version"] == version
    assert pod.append("a", "2", expected_version=version).status == 200


def test_an_id_is_taken_once(serving: Serving):
    """The second is refused and named."""
    pod = serving()
    body = append_body({"role": "user", "content": "x", "id": "m1"})
    pod.request("POST", MESSAGES, body)

    assert pod.request("POST", MESSAGES, body).json["id"] == "m1"
    assert pod.request("POST", MESSAGES, body).reason == "DuplicateMessageId"


def test_a_memory_is_listed_and_described(serving: Serving):
    """With the policy in effect."""
    pod = serving(description="Support tickets", max_tokens=500, ttl_ms=3_600_000, key_default="lobby")

    assert pod.get("/v1/memories").json == {
        "memories": [
            {
                "name": "tickets",
                "namespace": "shop",
                "mode": "ReadWrite",
                "description": "Support tickets",
                "ready": True,
            }
        ]
    }
    described = pod.get("/v1/memories/tickets").json
    assert described["limits"]["max_tokens"] == 500
    assert described["ttl_seconds"] == 3600
    assert described["key"] == {"template": "{{ key }}", "default": "lobby"}
    assert described["tokenizer"]["encoding"] == "o200k_base"


def test_a_key_is_explained(serving: Serving):
    """What it renders to, what is known of the pod, or why not."""
    pod = serving(key_template="{{ namespace }}/{{ pod.labels['app'] }}/{{ customer }}")

    explained = pod.get("/v1/memories/tickets/key?var.customer=c%207").json

    assert explained["key"] == "shop/helpdesk/c 7"
    assert explained["variables"].items() >= {"namespace": "shop", "pod.labels['app']": "helpdesk"}.items()
    assert pod.get("/v1/memories/tickets/key").reason == "VariableMissing"
    assert pod.get("/v1/memories/tickets/key?var.customer=c&var.other=1").reason == "VariableUnknown"


def test_variables_name_the_conversation_in_body_and_query(serving: Serving):
    """Both ways render the same key."""
    pod = serving(key_template="{{ customer }}:{{ key }}")
    body = {"key": "a", "variables": {"customer": "c7"}, "messages": [{"role": "user", "content": "hi"}]}

    appended = pod.request("POST", MESSAGES, body).json
    read = pod.get(f"{MESSAGES}?key=a&var.customer=c7").json

    assert appended["key"] == read["key"] == "c7:a"
    assert len(read["messages"]) == 1


def test_a_binding_may_pin_the_key(serving: Serving):
    """A request may leave it out, and cannot choose another."""
    pod = serving(annotations={"memory": "tickets", "memory_key": "lobby"})

    assert pod.get(f"{MESSAGES}").json["key"] == "lobby"
    assert pod.get(f"{MESSAGES}?key=other").reason == "KeyInvalid"


def test_a_missing_key_is_an_error_not_everything(serving: Serving):
    """No scope is never all."""
    pod = serving()

    assert pod.get(MESSAGES).reason == "KeyRequired"
    assert pod.request("DELETE", "/v1/memories/tickets/instances").reason == "KeyRequired"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", MESSAGES, append_body()),
        ("DELETE", f"{MESSAGES}/x?key=a", None),
        ("DELETE", "/v1/memories/tickets/instances?key=a", None),
        ("POST", "/v1/memories/tickets/clear", {"key": "a", "confirm": True}),
    ],
)
def test_a_read_only_binding_changes_nothing(serving: Serving, method: str, path: str, body: Any):
    """403 for every mutation; reading works."""
    pod = serving(annotations={"memories": '[{"memory": "tickets", "mode": "ReadOnly"}]'})

    assert pod.request(method, path, body).reason == "ReadOnlyBinding"
    assert pod.get(f"{MESSAGES}?key=a").status == 200


def test_an_unknown_memory_is_not_found_and_the_known_ones_are_named(serving: Serving):
    """A typing error is seen at once."""
    pod = serving()

    problem = pod.get("/v1/memories/ticket/messages?key=a")

    assert problem.reason == "MemoryNotFound"
    assert "tickets" in problem.json["detail"]


def test_health_probes_everything(serving: Serving, valkey: StoreServer):
    """A store without the library is not healthy."""
    pod = serving()
    assert pod.get("/v1/memories/tickets/health").json["healthy"] is True

    with valkey.client() as client:
        client.function_flush("SYNC")
    health = pod.get("/v1/memories/tickets/health")

    assert health.status == 503
    assert health.headers["retry-after"] == "1"
    checks = health.json["checks"]
    assert (checks["store"]["ok"], checks["library"]["ok"], checks["configuration"]["ok"]) == (True, False, True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "InvalidRequest"),
        (b"[]", "InvalidRequest"),
        (b"\xff", "InvalidRequest"),
        (b"", "InvalidRequest"),
        ({"key": "a"}, "InvalidRequest"),
        ({"key": "a", "messages": []}, "InvalidRequest"),
        (append_body(surprise=1), "InvalidRequest"),
        (append_body({"role": "user", "content": "x", "surprise": 1}), "InvalidRequest"),
        (append_body({"role": "robot", "content": "x"}), "InvalidRequest"),
        (append_body({"role": "user", "content": "x", "id": "no blanks"}), "InvalidRequest"),
        (append_body({"role": "user"}), "InvalidRequest"),
        (append_body(*[{"role": "user", "content": "x"}] * 1001), "InvalidRequest"),
        (append_body(expected_version=-1), "InvalidRequest"),
        (append_body(idempotency_key=""), "InvalidRequest"),
        (append_body() | {"key": "\u0007"}, "KeyInvalid"),
        (append_body() | {"key": "k" * 513}, "KeyInvalid"),
        (append_body() | {"variables": {"other": "1"}}, "VariableUnknown"),
        (append_body() | {"key": "a", "variables": {"key": "b"}}, "InvalidRequest"),
        (append_body() | {"key": ""}, "KeyInvalid"),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(serving: Serving, body: Any, reason: str):
    """And the conversation is as it was."""
    pod = serving()

    problem = pod.request("POST", MESSAGES, body)

    assert problem.reason == reason
    assert len(problem.json["detail"]) > 10
    assert pod.read("a") == []


@pytest.mark.parametrize(
    "query",
    ["key=a&limit=0", "key=a&limit=1001", "key=a&limit=x", "key=a&order=up", "key=a&roles=robot", "key=a&surprise=1",
     "key=a&key=b", "key=a&after=5&before=5", "key=%FF", "key=a&after=-1"],
)  # fmt: skip
def test_a_bad_query_is_refused(serving: Serving, query: str):
    """What is not understood is not ignored."""
    pod = serving()

    assert pod.get(f"{MESSAGES}?{query}").reason == "InvalidRequest"


def test_only_json_is_read(serving: Serving):
    """A form or a compressed body is not guessed at."""
    pod = serving()
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert pod.request("POST", MESSAGES, b"key=a", headers=form).reason == "UnsupportedMediaType"
    assert pod.request("POST", MESSAGES, b"{}", headers={"Content-Encoding": "gzip"}).reason == "UnsupportedMediaType"
    assert pod.request("POST", MESSAGES, append_body(), headers={"Content-Type": "text/json"}).status == 415
    utf8 = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert pod.request("POST", MESSAGES, append_body(), headers=utf8).status == 200


def test_methods_and_paths_that_do_not_exist(serving: Serving):
    """404 and 405 say what there is; HEAD and OPTIONS work everywhere."""
    pod = serving()

    assert pod.get("/v2/memories").reason == "RouteNotFound"
    assert pod.get("/v1/memories/").reason == "RouteNotFound"
    not_allowed = pod.request("PUT", MESSAGES, {})
    assert not_allowed.reason == "MethodNotAllowed"
    assert not_allowed.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    options = pod.request("OPTIONS", MESSAGES)
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_a_key_may_be_any_printable_text(serving: Serving):
    """Names that contain separators, blanks and other scripts neither collide nor break."""
    pod = serving()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40), st.text(max_size=60))
    def holds(key: str, content: str) -> None:
        body = {"key": key, "messages": [{"role": "user", "content": content or "x"}]}
        answer = pod.request("POST", MESSAGES, body)
        assert (answer.status == 200 and answer.json["key"] == key) or answer.reason in {"InvalidRequest", "KeyInvalid"}

    holds()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["id", "role", "content", "name", "tool_calls", "tool_call_id", "payload", "metadata", "pinned", "x"]
)


def test_no_body_makes_it_fail(serving: Serving):
    """Whatever JSON, and whatever bytes: an answer or a refusal, never a fault, and the next request is served."""
    pod = serving()
    client = pod.connect()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.one_of(
            JSON.map(json.dumps).map(str.encode),
            st.binary(max_size=60),
            st.dictionaries(NAMES, JSON).map(lambda each: json.dumps({"key": "a", "messages": [each]}).encode()),
        )
    )
    def holds(body: bytes) -> None:
        client.send(encode_request("POST", MESSAGES, body))
        answer = client.answer()
        assert answer.status in {200, 400, 409, 413, 422}, answer.body

    holds()
    client.close()


def test_memories_are_separate(serving: Serving, valkey: StoreServer):
    """The same key in two memories names two conversations."""
    put_config(valkey, configuration(MemoryRef("shop", "notes")))
    pod = serving(annotations={"memory": "true", "memories": "tickets,notes"})

    pod.append("a", "in tickets")

    assert len(pod.read("a")) == 1
    assert pod.read("a", memory="notes") == []
