"""The HTTP parser: what comes in as bytes goes out as requests or as one last refusal, within the limits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_core.errors import AgentMemoryError
from memory_sidecar.http.limits import ByteBudget, HttpLimits
from memory_sidecar.http.messages import Request
from memory_sidecar.http.parser import RequestParser

LIMITS = HttpLimits(max_head_bytes=256, max_body_bytes=64, max_bytes_in_flight=1000)


def feed(*pieces: bytes, limits: HttpLimits = LIMITS, budget: ByteBudget | None = None) -> list[object]:
    """Return all that a fresh parser makes of these pieces: requests as tuples, refusals by reason."""
    parser = RequestParser(limits, budget or ByteBudget(limits.max_bytes_in_flight))
    results: list[Request | AgentMemoryError] = []
    for piece in pieces:
        results += parser.feed(piece)
    return [
        (each.method, each.path, each.query, each.body) if isinstance(each, Request) else each.reason
        for each in results
    ]


POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_is_read_whole():
    """Method, path, query and body come out."""
    assert feed(POST) == [(b"POST", b"/a", b"b=c", b"hello")]


@given(cuts=st.lists(st.integers(0, len(POST + GET + POST)), max_size=8))
def test_requests_may_be_torn_anywhere(cuts: list[int]):
    """Where the network cuts the bytes does not matter."""
    data = POST + GET + POST
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]

    assert feed(*pieces) == [
        (b"POST", b"/a", b"b=c", b"hello"),
        (b"GET", b"/a", b"", b""),
        (b"POST", b"/a", b"b=c", b"hello"),
    ]


def test_a_chunked_body_is_joined():
    """Chunks, extensions and trailers are HTTP's own business."""
    data = CHUNKED + b"3;name=value\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"

    assert feed(data) == [(b"POST", b"/", b"", b"hello")]


def test_a_target_in_absolute_form_loses_its_authority():
    """A proxy may send the whole URL."""
    assert feed(b"GET http://x/v1/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n") == [(b"GET", b"/v1/a", b"b=c", b"")]


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"BREW / HTTP/1.1\r\n\r\n",
        CHUNKED + b"xyz\r\n",
    ],
)
def test_what_is_not_http_or_ambiguous_is_refused(data: bytes):
    """One refusal ends the stream; nothing behind it is read."""
    assert feed(data, GET) == ["InvalidRequest"]


def test_requests_before_a_refusal_are_still_handed_out():
    """The refusal comes last, in its turn."""
    assert feed(GET + b"nonsense\r\n\r\n" + GET) == [(b"GET", b"/a", b"", b""), "InvalidRequest"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET / HTTP/1.1\r\nA: " + b"a" * 300 + b"\r\n\r\n"],
        [b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nA: ", *[b"a" * 100] * 4],
        [b"\r\n" * 100, b"\r\n" * 100],
    ],
    ids=["header", "target", "endless header", "endless line ends"],
)
def test_a_head_over_the_limit_is_refused(pieces: list[bytes]):
    """Also when it would never end."""
    assert feed(*pieces) == ["HeadersTooLarge"]


def test_a_body_over_the_limit_is_refused_before_it_is_sent():
    """Content-Length says enough."""
    assert feed(b"POST / HTTP/1.1\r\nContent-Length: 65\r\n\r\n") == ["BodyTooLarge"]


@pytest.mark.parametrize(
    "chunks",
    [[b"41\r\n" + b"a" * 0x41], [b"1\r\na\r\n"] * 65, [b"1;" + b"x" * 100] * 4],
    ids=["one", "many", "extension"],
)
def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(chunks: list[bytes]):
    """A bomb is not waited for, whether it is made of content or of chunk headers."""
    assert feed(CHUNKED, *chunks)[:1] == ["BodyTooLarge"]


def test_bytes_are_reserved_while_a_body_comes_and_given_back_when_it_is_abandoned():
    """The budget counts announced bytes, not received ones."""
    budget = ByteBudget(1000)
    parser = RequestParser(LIMITS, budget)

    parser.feed(b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nabc")
    assert budget.used == 50
    parser.abandon()

    assert budget.used == 0


def test_a_body_that_does_not_fit_the_budget_is_refused():
    """Overload is said, not suffered."""
    budget = ByteBudget(10)

    assert feed(b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", budget=budget) == ["Overloaded"]
    assert budget.used == 0


def test_connection_close_ends_the_stream():
    """What follows on the wire is not a request."""
    data = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"

    assert feed(data + GET) == [(b"GET", b"/", b"", b"")]


def test_an_upgrade_is_answered_as_plain_http_and_ends_the_stream():
    """The offer may be ignored; what the client says in the other protocol is not read."""
    data = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n"
    parser = RequestParser(LIMITS, ByteBudget(1000))

    (request,) = parser.feed(data)

    assert isinstance(request, Request)
    assert not request.keep_alive


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([POST, GET, CHUNKED, b"0\r\n\r\n", b"\r\n"]))))
def test_no_bytes_make_it_fail_or_keep_what_it_reserved(pieces: list[bytes]):
    """Whatever is sent: requests, then at most one refusal; the budget is whole again afterwards."""
    budget = ByteBudget(1000)
    parser = RequestParser(LIMITS, budget)
    results: list[Request | AgentMemoryError] = []

    for piece in pieces:
        results += parser.feed(piece)
    parser.abandon()

    refusals = [each for each in results if isinstance(each, AgentMemoryError)]
    assert refusals in ([], results[-1:])
    assert budget.used == sum(each.reserved for each in results if isinstance(each, Request))
