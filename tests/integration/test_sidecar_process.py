"""The sidecar as a process: its socket, its start without anything, its end, and what survives a crash."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memory_core.keys import InstanceKeys
from memory_core.store import Store, StoreSettings, functions
from support.conversations import MEMORY, configuration, limits, message
from support.network import free_ports
from support.processes import Program, python_module, source_path
from support.sidecars import POD, Pod, delete_config, encode_request, put_config
from support.store import Persistence, StoreServer
from support.waiting import wait_until

MESSAGES = "/v1/memories/tickets/messages"
CONFIG = "am:1:{shop/tickets}:config"
Serving = Callable[..., Pod]
MakeStore = Callable[..., StoreServer]


def start_refused(pod: Pod, *flags: str) -> str:
    """Start a sidecar that cannot serve; return its log."""
    command = [*python_module("memory_sidecar"), "--podinfo", pod.podinfo, "--metrics-address", "", *flags]
    environment = os.environ | POD | source_path()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_it_starts_without_a_store_and_without_a_configuration(pod: Pod):
    """It is alive, says what is missing, and refuses with 503 and Retry-After."""
    pod.start(f"redis://127.0.0.1:{free_ports(1)[0]}/0")

    ready = pod.get("/readyz")
    refused = pod.append("a", "text")

    assert pod.get("/healthz").json == {"status": "ok"}
    assert ready.reason == "StoreUnavailable"
    assert refused.reason == "ConfigurationUnavailable"
    assert refused.headers["retry-after"] == "1"
    assert pod.get("/v1/memories").json["memories"][0]["ready"] is False
    assert pod.get("/v1/memories/tickets/health").json["checks"]["store"]["ok"] is False


def test_it_is_served_as_soon_as_store_and_configuration_come(pod: Pod, make_store: MakeStore):
    """Nothing needs a restart."""
    store = make_store()
    store.kill()
    pod.start(store.url)

    store.start()
    wait_until(lambda: pod.get("/readyz").reason == "ConfigurationUnavailable", "the store is connected")
    put_config(store, configuration())
    pod.wait_ready()

    assert pod.append("a", "text").status == 200


def test_without_usable_annotations_it_says_so(pod: Pod, valkey: StoreServer):
    """A pod that binds nothing gets a sentence, not silence."""
    pod.annotate(memory="true")
    pod.start(valkey.url)

    problem = pod.get(f"{MESSAGES}?key=a")

    assert problem.reason == "MemoryNotFound"
    assert "agentmemory.io/memories" in problem.json["detail"]
    wait_until(lambda: pod.get("/readyz").reason == "ConfigurationUnavailable", "it says what is missing")


def test_a_restarted_store_is_found_again(pod: Pod, make_store: MakeStore):
    """While it is away: 503 at once. Afterwards everything acknowledged is there."""
    store = make_store(persistence=Persistence.ALWAYS)
    put_config(store, configuration())
    pod.start(store.url)
    pod.wait_ready()
    pod.append("a", "before")

    store.kill()
    wait_until(lambda: pod.get("/readyz").status == 503, "the loss is noticed")
    refused = pod.append("a", "meanwhile")
    store.start()
    wait_until(lambda: pod.append("a", "after").status == 200, "it writes again")

    assert (refused.reason, refused.headers["retry-after"]) == ("StoreUnavailable", "1")
    assert [each["content"] for each in pod.read("a")] == ["before", "after"]


def test_a_store_that_hangs_is_given_up(pod: Pod, make_store: MakeStore):
    """A request waits for a bounded time."""
    store = make_store()
    put_config(store, configuration())
    pod.start(store.url, store_timeout="500ms")
    pod.wait_ready()

    store.program.pause()
    began = time.monotonic()
    refused = pod.append("a", "text")
    waited = time.monotonic() - began
    store.program.resume()

    assert refused.reason == "StoreUnavailable"
    assert waited < 3


def test_a_killed_sidecar_starts_again_on_its_own_socket_file(serving: Serving):
    """What SIGKILL left behind is replaced; what was acknowledged is there."""
    pod = serving()
    pod.append("a", "before")

    pod.program.kill()
    assert pod.socket.exists()
    pod.program.start()
    pod.program.wait_until(pod.answers, "it answers again", ignore=(OSError,))
    pod.wait_ready()

    assert [each["content"] for each in pod.read("a")] == ["before"]


def test_a_second_sidecar_on_the_same_path_is_refused(serving: Serving):
    """The first goes on serving."""
    pod = serving()

    log = start_refused(pod, "--socket", str(pod.socket))

    assert "another process serves" in log
    assert pod.answers()


def test_of_two_that_start_at_once_one_serves(pod: Pod, socket_folder: Path, programs: list[Program]):
    """The folder is locked while the path is taken."""
    environment = POD | source_path() | {"AGENT_MEMORY_SOCKET": str(pod.socket), "AGENT_MEMORY_METRICS_ADDRESS": ""}
    pair = [
        Program(
            f"racer{number}",
            python_module("memory_sidecar"),
            log=socket_folder / f"{number}.log",
            environment=environment,
        )
        for number in range(2)
    ]
    programs.extend(pair)
    for each in pair:
        each.start()

    wait_until(lambda: sum(each.running for each in pair) == 1, "one gives up")
    wait_until(pod.answers, "the other serves", ignore=(OSError,))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("missing/memory.sock", "does not exist; mount a volume there"),
        ("file", "is not a socket; remove it"),
    ],
)
def test_a_path_that_cannot_be_served_is_explained(pod: Pod, place: str, sentence: str):
    """One sentence that says what to do."""
    (pod.folder / "file").write_text("mine")

    assert sentence in start_refused(pod, "--socket", str(pod.folder / place))
    assert (pod.folder / "file").read_text() == "mine"


def test_a_metrics_port_that_is_taken_is_explained(pod: Pod):
    """Not a traceback; and the socket is gone again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        log = start_refused(pod, "--socket", str(pod.socket), "--metrics-address", address)

    assert f"cannot listen on {address}" in log
    assert not pod.socket.exists()


@pytest.mark.parametrize("mode", ["0666", "0660"])
def test_the_socket_has_the_mode_that_was_asked_for(pod: Pod, valkey: StoreServer, mode: str):
    """Whatever the umask is."""
    pod.start(valkey.url, socket_mode=mode)

    assert oct(stat.S_IMODE(pod.socket.stat().st_mode)) == f"0o{mode[1:]}"
    assert [each.name for each in pod.folder.iterdir() if each.name.startswith(".")] == []


def test_sigterm_answers_what_is_in_flight(pod: Pod, make_store: MakeStore):
    """The answer arrives though the store is slow; then the socket is gone and the status is 0."""
    store = make_store()
    put_config(store, configuration())
    pod.start(store.url, store_timeout="5s")
    pod.wait_ready()
    pod.append("a", "text")

    store.program.pause()
    with closing(pod.connect()) as busy, closing(pod.connect()) as idle:
        busy.send(encode_request("POST", MESSAGES, {"key": "a", "messages": [{"role": "user", "content": "last"}]}))
        time.sleep(0.2)
        stopper = threading.Thread(target=pod.program.stop)
        stopper.start()
        assert idle.rest() == b""
        store.program.resume()
        assert busy.answer().status == 200
        assert busy.rest() == b""
        stopper.join()

    assert not pod.socket.exists()
    assert '"event": "stopped"' in pod.program.log


def test_sigterm_does_not_wait_for_ever(pod: Pod, make_store: MakeStore):
    """The grace is an upper bound, and hanging requests are counted in the log."""
    store = make_store()
    put_config(store, configuration())
    pod.start(store.url, grace="300ms", store_timeout="30s")
    pod.wait_ready()

    store.program.pause()
    with closing(pod.connect()) as busy:
        busy.send(encode_request("GET", f"{MESSAGES}?key=a"))
        time.sleep(0.2)
        began = time.monotonic()
        assert pod.program.stop() == 0
        assert time.monotonic() - began < 4
    store.program.resume()

    assert "requests cut off" in pod.program.log


def test_sigint_stops_it_as_well(serving: Serving):
    """Ctrl-C on a laptop."""
    pod = serving()
    os.kill(pod.program.pid, signal.SIGINT)

    wait_until(lambda: not pod.program.running, "it ends")
    assert "Traceback" not in pod.program.log


def test_a_configuration_change_is_in_effect_within_a_second(serving: Serving, valkey: StoreServer):
    """Pushed, not polled."""
    pod = serving(max_messages=1, overflow="Reject")
    pod.append("a", "1")
    assert pod.append("a", "2").status == 429

    began = time.monotonic()
    put_config(valkey, configuration(max_messages=2, overflow="Reject"))
    wait_until(lambda: pod.append("a", "2").status == 200, "the new limit holds")

    assert time.monotonic() - began < 1


async def write_with(store: StoreServer, revision: int) -> None:
    """Append to the conversation `a` as a sidecar does that knows that revision."""
    async with Store(StoreSettings(url=store.url)) as connection:
        await connection.wait_connected(5)
        keys, under = InstanceKeys(MEMORY, "a"), limits(revision=revision)
        await functions.append(connection, keys, limits=under, messages=[message()], create=True)


def change_silently(store: StoreServer, revision: int) -> None:
    """Change the stored configuration without a word to anybody."""
    with store.client() as client:
        body = client.hget(CONFIG, "body").replace(b"winter", b"summer")
        client.hset(CONFIG, mapping={"body": body, "revision": revision})


def test_a_sidecar_that_missed_a_change_learns_of_it_from_the_store(serving: Serving, valkey: StoreServer):
    """Its write is refused as stale, the configuration read, and the write repeated: the caller sees one answer."""
    pod = serving(description="winter")
    revision = pod.get("/v1/memories/tickets").json["revision"] + 1
    change_silently(valkey, revision)
    asyncio.run(write_with(valkey, revision))

    assert pod.append("a", "text").status == 200
    described = pod.get("/v1/memories/tickets").json
    assert (described["revision"], described["description"]) == (revision, "summer")


def test_a_conversation_that_has_seen_a_newer_configuration_than_the_store_is_not_written(
    serving: Serving, valkey: StoreServer
):
    """A store that was restored from an older copy is not written under old limits: 503, for every operation alike."""
    pod = serving()
    asyncio.run(write_with(valkey, pod.get("/v1/memories/tickets").json["revision"] + 1))

    assert pod.append("a", "text").reason == "ConfigurationUnavailable"
    assert pod.get(f"{MESSAGES}?key=a").reason == "ConfigurationUnavailable"


def test_a_change_without_a_push_is_found_by_polling(pod: Pod, valkey: StoreServer):
    """A lost message costs time, not correctness."""
    put_config(valkey, configuration(description="winter"))
    pod.start(valkey.url, poll="300ms")
    pod.wait_ready()

    change_silently(valkey, 1 << 50)

    wait_until(
        lambda: pod.get("/v1/memories/tickets").json["description"] == "summer", "it was polled", timeout_seconds=5
    )


def test_a_deleted_memory_is_refused_with_a_clear_sentence(serving: Serving, valkey: StoreServer):
    """And served again when it comes back."""
    pod = serving()
    pod.append("a", "text")

    delete_config(valkey, MEMORY)
    wait_until(lambda: pod.append("a", "text").status == 503, "the withdrawal is noticed")
    problem = pod.append("a", "text")
    put_config(valkey, configuration())
    pod.wait_ready()

    assert problem.reason == "ConfigurationUnavailable"
    assert "MemoryResource was deleted" in problem.json["detail"]
    assert pod.append("a", "again").status == 200


def test_changed_annotations_change_the_bindings(serving: Serving):
    """The kubelet rewrites the file; nothing needs a restart."""
    pod = serving()
    assert pod.append("a", "text").status == 200

    pod.annotate(memories='[{"memory": "tickets", "mode": "ReadOnly"}]')

    wait_until(lambda: pod.append("a", "text").status == 403, "the binding is read-only")
    assert len(pod.read("a")) >= 1


def test_annotations_that_bind_nothing_end_the_bindings(serving: Serving):
    """Taking a memory away takes effect; readiness and refusals say what is wrong, and the next edit mends it."""
    pod = serving()

    pod.annotate(memory="true")

    wait_until(lambda: pod.get("/readyz").status == 503, "it is noticed")
    refused = pod.append("a", "text")
    assert (refused.status, refused.reason) == (404, "MemoryNotFound")
    assert "write agentmemory.io/memories: a,b" in refused.json["detail"]
    pod.annotate(memory="tickets")
    wait_until(lambda: pod.append("a", "text").status == 200, "the binding is back")


def test_a_file_that_cannot_be_read_leaves_the_bindings_as_they_are(serving: Serving):
    """A volume that is being written does not take the memory away; readiness tells."""
    pod = serving()

    (pod.podinfo / "annotations").unlink()

    wait_until(lambda: pod.get("/readyz").status == 503, "it is noticed")
    assert pod.append("a", "text").status == 200


def test_the_port_serves_probes_and_metrics_and_nothing_else(pod: Pod, valkey: StoreServer):
    """Strangers can reach it."""
    port = free_ports(1)[0]
    put_config(valkey, configuration())
    pod.start(valkey.url, metrics_address=f"127.0.0.1:{port}")
    pod.wait_ready()

    def get(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    assert get("/healthz")[0] == get("/readyz")[0] == 200
    assert get("/v1/memories")[0] == get(f"{MESSAGES}?key=a")[0] == get("/openapi.json")[0] == 404
    for _attempt in range(2):
        pod.append("a", "hello", "world", idempotency_key="once")
    pod.append("", "x")
    page = get("/metrics")[1]
    assert 'agentmemory_sidecar_appended_messages_total{memory="shop/tickets"} 2.0' in page
    assert 'agentmemory_sidecar_requests_total{memory="shop/tickets",route="append",status="2xx"} 2.0' in page
    assert 'agentmemory_sidecar_refusals_total{reason="KeyInvalid"} 1.0' in page
    assert "process_resident_memory_bytes" in page


def test_neither_content_nor_keys_are_logged(pod: Pod, valkey: StoreServer):
    """Not even when everything is."""
    put_config(valkey, configuration())
    pod.start(valkey.url, log_level="debug")
    pod.wait_ready()

    pod.append("private-key", "private-content", idempotency_key="private-idempotency")
    pod.request("POST", MESSAGES, b'{"private-body')
    pod.get(f"{MESSAGES}?key=private-query&roles=x")

    assert '"peer_uid": ' in pod.program.log
    assert "private" not in pod.program.log


def test_it_is_small_before_the_first_count(serving: Serving):
    """At most 45 MB; vocabularies, templates and the metrics page are loaded when they are needed."""
    pod = serving()
    pod.get("/v1/memories")

    assert resident_megabytes(pod.program.pid) <= 45


def test_it_imports_nothing_of_the_operator(pod: Pod):
    """Nor what only some of its work needs."""
    heavy = "kopf kubernetes pydantic aiohttp yaml redis jinja2 prometheus_client tiktoken ssl"
    code = f"import sys, memory_sidecar.__main__; print(*[each for each in {heavy.split()} if each in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | source_path(), capture_output=True, text=True, check=True
    )

    assert done.stdout.split() in ([], ["ssl"])


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
