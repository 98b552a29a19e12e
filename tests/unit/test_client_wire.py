"""The client's HTTP/1.1: whatever arrives, in whatever pieces, is one whole answer or an error."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.errors import ConnectionLost, ProtocolError, ResponseTooLarge
from agent_memory.wire import MAX_HEAD_BYTES, MAX_LINE_BYTES, Response, ResponseParser, request_bytes

LIMIT = 1000
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{'a':1}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def parse(*pieces: bytes, limit: int = LIMIT) -> Response | None:
    """Feed the pieces to a new parser; return what the last one gave."""
    parser = ResponseParser(max_body_bytes=limit)
    response = None
    for piece in pieces:
        assert response is None, "the parser had an answer before the last piece"
        response = parser.feed(piece)
    return response


def whole(*pieces: bytes) -> Response:
    """Feed the pieces to a new parser, which must then have an answer."""
    response = parse(*pieces)
    assert response is not None
    return response


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Return an answer in the chunks given."""
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + last


def test_a_request_without_a_body_is_only_its_head() -> None:
    """A GET has a host and no length."""
    request = request_bytes("GET", "/v1/memories?key=a%20b")

    assert request.startswith(b"GET /v1/memories?key=a%20b HTTP/1.1\r\nHost: agentmemory\r\n")
    assert request.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in request


def test_a_request_with_a_body_says_how_long_it_is() -> None:
    """The body follows the head, and its length counts bytes."""
    head, body = request_bytes("POST", "/x", "ü".encode()).split(b"\r\n\r\n")

    assert b"\r\nContent-Length: 2" in head
    assert b"\r\nContent-Type: application/json" in head
    assert body == "ü".encode()


def test_an_answer_in_one_piece() -> None:
    """Status, headers in lower case, body, and a connection that can be used again."""
    response = whole(SIZED)

    assert (response.status, response.body, response.reusable) == (200, b"{'a':1}", True)
    assert response.headers["content-type"] == "application/json"


@given(cuts=st.lists(st.integers(0, len(SIZED)), max_size=8))
def test_an_answer_torn_anywhere_is_the_same_answer(cuts: list[int]) -> None:
    """It does not matter how the kernel cuts a sized answer."""
    assert assembled(SIZED, cuts) == whole(SIZED)


@given(chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_a_chunked_answer_torn_anywhere_is_its_chunks_in_order(chunks: list[bytes], cuts: list[int]) -> None:
    """It does not matter how the kernel cuts a chunked answer."""
    response = assembled(chunked(*chunks), cuts)

    assert response.body == b"".join(chunks)
    assert response.reusable


def assembled(data: bytes, cuts: list[int]) -> Response:
    """Feed the data cut at the places given."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return whole(*(data[start:end] for start, end in itertools.pairwise(edges)))


@given(end=st.integers(0, len(SIZED) - 1))
def test_a_connection_that_ends_early_is_lost(end: int) -> None:
    """Half an answer is no answer, wherever it ends."""
    parser = ResponseParser(max_body_bytes=LIMIT)
    assert parser.feed(SIZED[:end]) is None

    with pytest.raises(ConnectionLost):
        parser.end()


def test_a_chunked_answer_without_its_last_chunk_is_lost() -> None:
    """The end of the connection does not end a chunked body."""
    parser = ResponseParser(max_body_bytes=LIMIT)
    assert parser.feed(chunked(b"abc", last=b"")) is None

    with pytest.raises(ConnectionLost):
        parser.end()


def test_chunk_extensions_and_trailers_are_skipped() -> None:
    """They carry nothing that the client knows."""
    assert whole(CHUNKED + b"3;note=x\r\nabc\r\n0\r\nChecksum: 1\r\nOther: 2\r\n\r\n").body == b"abc"


def test_an_answer_without_a_length_lasts_until_the_connection_ends() -> None:
    """HTTP/1.0 style: complete at the end, and never reusable."""
    parser = ResponseParser(max_body_bytes=LIMIT)
    assert parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") is None
    assert parser.feed(b"def") is None

    assert parser.end() == Response(200, {}, b"abcdef", reusable=False)


def test_an_interim_answer_is_passed_over() -> None:
    """100 Continue announces the answer and is not it."""
    assert whole(b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED).status == 200


def test_a_status_without_a_body_needs_no_length() -> None:
    """204 has no body even where nothing says so."""
    response = whole(b"HTTP/1.1 204 No Content\r\n\r\n")

    assert (response.status, response.body, response.reusable) == (204, b"", True)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_who_keeps_the_connection(head: bytes, reusable: bool) -> None:
    """The version and the Connection header decide."""
    assert whole(head + b"Content-Length: 0\r\n\r\n").reusable is reusable


def test_bytes_after_an_answer_spoil_the_connection() -> None:
    """Nothing was asked, so what follows cannot be trusted to answer the next request."""
    response = whole(SIZED + b"HTTP/1.1 200 OK\r\n")

    assert response.body == b"{'a':1}"
    assert not response.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"0x3\r\nabc\r\n",
        CHUNKED + b"3\r\nabcdef",
        CHUNKED + b"1" * (MAX_LINE_BYTES + 1),
    ],
)
def test_garbage_is_a_protocol_error(answer: bytes) -> None:
    """What is not HTTP/1.1, or frames its body in two ways, is refused and not guessed at."""
    with pytest.raises(ProtocolError):
        parse(answer)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",),
        (CHUNKED + b"3e9\r\n",),
        (CHUNKED + b"3e8\r\n" + b"a" * 1000 + b"\r\n", b"1\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1000, b"a"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES,),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES,),
    ],
)
def test_an_answer_over_the_limit_is_refused_before_it_is_kept(pieces: tuple[bytes, ...]) -> None:
    """The announced length is enough to refuse; without one the received bytes are counted."""
    with pytest.raises(ResponseTooLarge):
        parse(*pieces)


def test_an_answer_at_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    assert len(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"a" * LIMIT).body) == LIMIT


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_no_bytes_whatever_raise_anything_but_our_errors(pieces: list[bytes]) -> None:
    """Garbage after a valid start ends in an answer, a wait for more, or one of our errors."""
    for start in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED):
        parser = ResponseParser(max_body_bytes=LIMIT)
        try:
            for piece in (start, *pieces):
                if parser.feed(piece):
                    break
            else:
                parser.end()
        except (ConnectionLost, ProtocolError):
            pass
