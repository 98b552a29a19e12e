"""The OpenAPI document and the code say the same, in both directions."""

import re
from collections.abc import Callable

import msgspec
import pytest

from memory_core import errors as core
from memory_core.errors import AgentMemoryError
from memory_sidecar import errors as own
from memory_sidecar import openapi, problems, schemas
from memory_sidecar.routes import EVERYWHERE, OPENAPI, PORT_ROUTES, SOCKET_ROUTES
from memory_sidecar.routing import Route, Router
from support.sidecars import Pod

DOCUMENT = msgspec.json.decode(openapi.document(SOCKET_ROUTES))
OPERATIONS = [
    (path, method, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]

# Errors that never leave the sidecar as an answer: they belong to the operator, or are dealt with before.
INTERNAL = {
    core.StaleConfiguration,
    core.FencedEpoch,
    core.InvalidConfiguration,
    core.BindingInvalid,
    core.RequestError,
    core.UnavailableError,
}


def every_error() -> set[type[AgentMemoryError]]:
    """Return all kinds of errors that the sidecar can meet; the operator has more of its own."""
    members = [*vars(core).values(), *vars(own).values()]
    return {each for each in members if isinstance(each, type) and issubclass(each, AgentMemoryError)}


def documented_reasons(operation: dict) -> set[str]:
    """Return the reasons that an operation may be refused with."""
    found = set()
    for answer in operation["responses"].values():
        problem = answer["content"].get("application/problem+json")
        if problem is not None:
            found |= set(problem["schema"]["allOf"][1]["properties"]["reason"]["enum"])
    return found


def test_every_route_is_documented_and_nothing_else():
    """Method and path, both ways."""
    assert {(method.upper(), path) for path, method, _ in OPERATIONS} == {
        (route.method, route.path) for route in SOCKET_ROUTES
    }


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_what_is_documented_is_served(path: str, method: str, operation: dict):
    """A documented path leads to the route of that name."""
    concrete = re.sub(r"\{\w+\}", "some-name", path)

    route, _ = Router(SOCKET_ROUTES).find(method.upper().encode(), concrete.encode())

    assert route.name == operation["operationId"]


@pytest.mark.parametrize("route", SOCKET_ROUTES, ids=lambda route: route.name)
def test_reasons_are_documented_for_each_route(route: Route):
    """Those of the table and no others."""
    operation = DOCUMENT["paths"][route.path][route.method.lower()]

    assert documented_reasons(operation) == {error.__name__ for error in (*EVERYWHERE, *route.reasons)}


def test_every_reason_has_a_status_and_a_route():
    """An error without a status would be a 500; one without a route is documented nowhere."""
    answered = every_error() - INTERNAL - {AgentMemoryError}
    declared = {error for route in SOCKET_ROUTES for error in (*EVERYWHERE, *route.reasons)}

    assert set(problems.STATUS) == answered
    assert answered - declared == {own.RouteNotFound}  # it belongs to paths that are no routes


@pytest.mark.parametrize("error", problems.STATUS, ids=lambda error: error.__name__)
def test_a_problem_has_the_members_of_rfc_9457(error: type[AgentMemoryError]):
    """The same reason in the type and beside it, facts among the members, Retry-After where waiting helps."""
    response = problems.problem(error("what to do", allow="GET", seen=7))
    body = msgspec.json.decode(response.body)

    assert msgspec.convert(body, problems.Problem).detail == "what to do"
    assert body["type"] == f"urn:agentmemory:problem:{error.__name__}"
    assert (body["reason"], body["status"], body["seen"]) == (error.__name__, response.status, 7)
    assert ((b"Retry-After", b"1") in response.headers) == (response.status == 503)


def test_facts_cannot_hide_the_members_of_a_problem():
    """A fact that is called like a member gives way."""
    body = msgspec.json.decode(problems.problem(core.InvalidRequest("text", status=200, reason="None")).body)

    assert (body["status"], body["reason"]) == (400, "InvalidRequest")


def test_every_reference_resolves():
    """And no schema is left over."""
    text = msgspec.json.encode(DOCUMENT).decode()
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))

    assert used == set(DOCUMENT["components"]["schemas"])


def test_requests_refuse_what_they_do_not_know():
    """Also in the document, so that a generated client does not send it."""
    for _, _, operation in OPERATIONS:
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False


def test_the_query_of_each_route_is_documented():
    """Names and bounds, and the variables of the template where a conversation is named."""
    for route in SOCKET_ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        documented = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        known = set(route.query.__struct_fields__) if route.query else set()
        assert documented == known | ({"var.NAME"} if route.takes_variables else set())


def test_the_port_serves_nothing_about_memories():
    """Whoever reaches the pod's address learns nothing of a conversation."""
    assert {route.path for route in PORT_ROUTES} == {"/healthz", "/readyz", "/metrics"}


def test_the_document_is_served_as_it_is_generated(serving: Callable[..., Pod]):
    """Byte for byte; and what real answers look like is what it says."""
    pod = serving()
    assert pod.get(OPENAPI.path).body == openapi.document(SOCKET_ROUTES)

    pod.append("a", "text", "more")
    for path, shape in (
        ("/v1/memories", schemas.MemoryList),
        ("/v1/memories/tickets", schemas.MemoryDescription),
        ("/v1/memories/tickets/stats?key=a", schemas.StatsAnswer),
        ("/v1/memories/tickets/health", schemas.HealthAnswer),
        ("/v1/memories/tickets/key?key=a", schemas.KeyAnswer),
        ("/v1/memories/tickets/messages?key=a", schemas.Page),
        ("/healthz", schemas.Alive),
        ("/readyz", schemas.Ready),
    ):
        answer = pod.get(path)
        assert answer.status == 200, answer.body
        assert set(answer.json) == set(msgspec.structs.asdict(msgspec.json.decode(answer.body, type=shape)))


def test_a_stored_message_has_the_shape_of_the_document(serving: Callable[..., Pod]):
    """Every member, with and without the optional ones."""
    pod = serving()
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    full = {
        "role": "assistant", "content": "x", "name": "bot", "tool_calls": [call], "payload": {"a": 1},
        "metadata": {"b": 2}, "pinned": True, "id": "m1",
    }  # fmt: skip
    body = {"key": "a", "messages": [full, {"role": "tool", "tool_call_id": "c", "content": "y"}]}
    assert pod.request("POST", "/v1/memories/tickets/messages", body).status == 200

    known = set(schemas.StoredMessage.__struct_fields__)
    for message in pod.read("a"):
        msgspec.convert(message, schemas.StoredMessage)
        assert set(message) <= known
    assert {name for message in pod.read("a") for name in message} == known
