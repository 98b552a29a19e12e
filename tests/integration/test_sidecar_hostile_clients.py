"""Clients that are broken, slow or hostile: each gets a clear problem or a clean close, and the others are served."""

import random
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from support.sidecars import Client, Pod, encode_request
from support.waiting import wait_until

MESSAGES = "/v1/memories/tickets/messages"
BODY = {"key": "a", "messages": [{"role": "user", "content": "hi"}]}
CHUNKED = b"POST /v1/memories/tickets/messages HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n"

Serving = Callable[..., Pod]


@pytest.fixture
def patient(serving: Serving) -> Generator[Pod]:
    """Return a pod that gives up on slow requests soon; afterwards it serves as before, and has not failed once."""
    pod = serving(settings={"request_timeout": "700ms", "max_body_bytes": "100000"})
    yield pod
    assert pod.append("neighbour", "text").status == 200
    assert "request failed" not in pod.program.log
    assert "Traceback" not in pod.program.log


def conversation(patient: Pod, data: bytes) -> bytes:
    """Send bytes and return everything that comes until the sidecar closes."""
    with closing(patient.connect()) as client:
        client.send(data)
        return client.rest()


def test_a_body_over_the_limit_is_refused_before_it_is_sent(patient: Pod):
    """413 from the announced length alone."""
    head = b"POST /v1/memories/tickets/messages HTTP/1.1\r\nHost: m\r\nContent-Length: 100001\r\n\r\n"

    answer = conversation(patient, head)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"BodyTooLarge"' in answer
    assert b'"limit_bytes":100000' in answer


def test_a_body_of_the_largest_size_is_read(patient: Pod):
    """The limit itself is allowed."""
    filler = "x" * (100_000 - len(encode_body("")))

    assert patient.request("POST", MESSAGES, encode_body(filler)).status == 200


def encode_body(content: str) -> bytes:
    """Return the body of an append."""
    return b'{"key":"big","messages":[{"role":"user","content":"%b"}]}' % content.encode()


def test_a_chunked_bomb_is_refused_while_it_comes(patient: Pod):
    """Neither its content nor its chunk headers are collected."""
    big = conversation(patient, CHUNKED + b"10000\r\n" + b"a" * 0x10000 + b"\r\n10000\r\n" + b"a" * 0x10000)
    tiny = CHUNKED + b"1\r\na\r\n" * 100_001

    assert b" 413 " in big
    assert b" 413 " in conversation(patient, tiny)


def test_an_endless_trailer_is_refused(patient: Pod):
    """What follows the last chunk is bounded as well."""
    with closing(patient.connect()) as client:
        client.send(CHUNKED + b"0\r\n")
        for _ in range(40):
            client.send(b"X-Trailer: " + b"a" * 9000 + b"\r\n")
        assert client.rest().startswith(b"HTTP/1.1 413 ")


def test_headers_over_the_limit_are_refused(patient: Pod):
    """431, whether they end or not."""
    lines = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 500) for n in range(80))

    assert b" 431 " in conversation(patient, b"GET /healthz HTTP/1.1\r\n" + lines + b"\r\n")
    assert b" 431 " in conversation(patient, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 40_000)
    assert b" 431 " in conversation(patient, b"GET /" + b"a" * 40_000)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nHost: m\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)
def test_half_a_request_is_given_up(patient: Pod, data: bytes):
    """408 after the time, and the connection is closed."""
    answer = conversation(patient, data)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer


def test_a_slow_request_is_given_up_however_steadily_it_drips(patient: Pod):
    """The time is that of the whole request; a drop does not renew it."""
    began = time.monotonic()
    with closing(patient.connect()) as client:
        try:
            for byte in encode_request("POST", MESSAGES, BODY):
                client.send(bytes([byte]))
                time.sleep(0.02)
        except BrokenPipeError:
            pass
        assert client.rest().startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "data",
    [
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /x HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"*1\r\n$4\r\nPING\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        b"GET\x00/ HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(patient: Pod, data: bytes):
    """400 and a close; a request hidden behind it is not read."""
    answer = conversation(patient, data + encode_request("POST", MESSAGES, BODY))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"Content-Length: ") == 1
    assert patient.read("a") == []


def test_a_request_may_come_in_any_pieces(patient: Pod):
    """And several in one piece, answered in order."""
    data = b"".join(encode_request("POST", MESSAGES, BODY | {"key": f"torn-{n}"}) for n in range(6))
    dice = random.Random(5)
    with closing(patient.connect()) as client:
        while data:
            size = dice.randint(1, 90)
            client.send(data[:size])
            data = data[size:]
        assert [client.answer().json["key"] for _ in range(6)] == [f"torn-{n}" for n in range(6)]


def test_pipelined_writes_keep_their_order(patient: Pod):
    """Each is answered, and stored, in its turn; the read behind them sees them all."""
    writes = [
        encode_request("POST", MESSAGES, {"key": "p", "messages": [{"role": "user", "content": str(n)}]})
        for n in range(200)
    ]
    with closing(patient.connect()) as client:
        client.send(b"".join(writes) + encode_request("GET", f"{MESSAGES}?key=p&limit=1000"))
        seqs = [client.answer().json["messages"][0]["seq"] for _ in writes]
        read = client.answer().json["messages"]

    assert seqs == list(range(1, 201))
    assert [each["content"] for each in read] == [str(n) for n in range(200)]


def test_a_thousand_idle_connections_are_kept_and_cost_little(patient: Pod):
    """Each can still be used; others are served meanwhile."""
    patient.append("busy", "loads the vocabulary")
    before = resident_kilobytes(patient.program.pid)
    with ExitStack() as stack:
        idle = [stack.enter_context(closing(patient.connect())) for _ in range(1000)]
        began = time.monotonic()
        assert patient.append("busy", "text").status == 200
        assert time.monotonic() - began < 2
        for client in (*idle[:5], *idle[-5:]):
            client.send(encode_request("GET", "/healthz"))
            assert client.answer().status == 200
        assert resident_kilobytes(patient.program.pid) - before < 16_000
    wait_until(patient.answers, "it goes on")


def test_a_storm_of_broken_connections_leaves_it_serving(patient: Pod):
    """Random bytes, cut anywhere, from several clients at once."""
    whole = encode_request("POST", MESSAGES, BODY | {"key": "storm"})

    def rage(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(60):
            data = bytearray(whole[: dice.randint(0, len(whole))])
            for _ in range(dice.randint(0, 3)):
                if data:
                    data[dice.randrange(len(data))] = dice.randrange(256)
            client = Client(patient.socket)
            try:
                client.send(bytes(data))
                if dice.random() < 0.3:
                    client.socket.shutdown(socket.SHUT_WR)
                    client.rest()
            except OSError:
                pass
            finally:
                client.close()

    threads = [threading.Thread(target=rage, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert patient.answers()


def test_connections_over_the_limit_are_told_so(serving: Serving):
    """503 and Retry-After for those; the ones inside go on."""
    pod = serving(settings={"max_connections": "3"})
    with ExitStack() as stack:
        inside = [stack.enter_context(closing(pod.connect())) for _ in range(3)]
        for client in inside:
            client.send(encode_request("GET", "/healthz"))
            assert client.answer().status == 200

        with closing(pod.connect()) as outside:
            answer = outside.rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"reason":"Overloaded"' in answer
        assert b"Retry-After: 1" in answer
        inside[0].send(encode_request("GET", "/healthz"))
        assert inside[0].answer().status == 200


def test_bodies_over_the_common_budget_are_told_so(serving: Serving):
    """Memory for bodies is shared by all; who does not get any tries again."""
    pod = serving(settings={"max_bytes_in_flight": "50000"})
    head = b"POST /v1/memories/tickets/messages HTTP/1.1\r\nHost: m\r\nContent-Length: 40000\r\n\r\n"
    with closing(pod.connect()) as greedy:
        greedy.send(head)
        time.sleep(0.1)
        assert b" 503 " in conversation(pod, head)
        assert pod.append("small", "text").status == 200
    wait_until(lambda: pod.request("POST", MESSAGES, encode_body("x" * 39_000)).status == 200, "it was given back")


def resident_kilobytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


def test_a_large_request_does_not_keep_the_others_waiting(serving: Serving):
    """A thousand texts are counted in turns; neighbours are answered meanwhile."""
    pod = serving()
    pod.append("warm", "loads the vocabulary")
    text = "The customer asks for a refund of invoice 4711, which was charged twice. " * 50
    messages = [{"role": "user", "content": text}] * 1000
    with closing(pod.connect()) as large:
        large.send(encode_request("POST", MESSAGES, {"key": "large", "messages": messages}))
        began = time.monotonic()
        waits = []
        large.socket.setblocking(False)
        while not readable(large) and len(waits) < 10_000:
            asked = time.monotonic()
            assert pod.answers()
            waits.append(time.monotonic() - asked)
        large.socket.settimeout(15)
        took = time.monotonic() - began
        assert large.answer().json["totals"]["messages"] == 1000

    assert len(waits) > 5
    assert max(waits) < took / 2


def readable(client: Client) -> bool:
    """Tell whether an answer has begun to arrive."""
    return bool(select.select([client.socket], [], [], 0)[0])
