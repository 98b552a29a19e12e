"""Routing: from method and path to a route."""

import pytest

from memory_core.errors import InvalidRequest
from memory_sidecar.errors import MethodNotAllowed, RouteNotFound
from memory_sidecar.routes import SOCKET_ROUTES
from memory_sidecar.routing import Router

ROUTER = Router(SOCKET_ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "name", "values"),
    [
        (b"GET", b"/v1/memories", "list_memories", []),
        (b"GET", b"/v1/memories/tickets", "describe", ["tickets"]),
        (b"POST", b"/v1/memories/tickets/messages", "append", ["tickets"]),
        (b"DELETE", b"/v1/memories/tickets/messages/m1", "delete_message", ["tickets", "m1"]),
        (b"HEAD", b"/v1/memories/tickets/stats", "stats", ["tickets"]),
        (b"GET", b"/v1/memories/a%2Fb/stats", "stats", ["a/b"]),
        (b"GET", b"/v1/memories/caf%C3%A9", "describe", ["caf\u00e9"]),
    ],
)
def test_a_path_leads_to_its_route(method: bytes, path: bytes, name: str, values: list[str]):
    """Parameters are decoded after the path was split, so an encoded slash separates nothing; twice gives the same."""
    for _ in range(2):
        route, found = ROUTER.find(method, path)
        assert (route.name, found) == (name, values)


@pytest.mark.parametrize(
    "path", [b"/", b"", b"*", b"/v1", b"/v1/memories/", b"/v1/memories//messages", b"/v1/memories/a/b/c/d", b"//v1"]
)
def test_other_paths_lead_nowhere(path: bytes):
    """A place in between is no route, an empty segment no name."""
    with pytest.raises(RouteNotFound):
        ROUTER.find(b"GET", path)


def test_a_path_that_is_not_text_is_refused():
    """Percent-encoded bytes must be UTF-8."""
    with pytest.raises(InvalidRequest):
        ROUTER.find(b"GET", b"/v1/memories/%FF")


@pytest.mark.parametrize("method", [b"PUT", b"PATCH", b"TRACE", b"CONNECT", b"delete"])
def test_another_method_is_refused_with_those_that_exist(method: bytes):
    """For the Allow header."""
    with pytest.raises(MethodNotAllowed) as refused:
        ROUTER.find(method, b"/v1/memories/tickets/messages")

    assert refused.value.facts["allow"] == "GET, HEAD, OPTIONS, POST"


def test_what_is_remembered_is_bounded():
    """A client that asks for ever other paths does not make it grow."""
    for number in range(3000):
        ROUTER.find(b"GET", b"/v1/memories/m%d/stats" % number)

    assert len(ROUTER._found) <= 256
