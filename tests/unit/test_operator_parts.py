"""Small pure parts of the operator: reading objects, the cache, settings, the rate of events."""

from __future__ import annotations

from typing import Any

import pytest
from memory_operator.audit import reached
from memory_operator.cache import Cache
from memory_operator.memories import Memory, Uid
from memory_operator.metrics import PREFIX, Metrics
from memory_operator.recorder import TokenBucket
from memory_operator.settings import Settings

from memory_core.keys import MemoryRef
from memory_core.settings import load


def body(*, version: str = "5", uid: str = "u", **meta: Any) -> dict[str, Any]:
    """Return an object as the API server sends it."""
    return {
        "metadata": {"namespace": "team", "name": "support", "uid": uid, "resourceVersion": version, **meta},
        "spec": {"deletionPolicy": "Delete"},
    }


def test_a_new_object_has_neither_status_nor_finalizers() -> None:
    """The API server leaves out what is empty."""
    memory = Memory.from_body(body(generation=1))

    assert memory.ref == MemoryRef("team", "support")
    assert (memory.status, memory.finalizers, memory.deleting, memory.paused) == ({}, (), False, False)
    assert memory.erases_on_deletion


def test_annotations_count_only_when_they_say_true() -> None:
    """Anything else is no consent."""
    for value, expected in (("true", True), ("yes", False), ("", False)):
        annotations = {"agentmemory.io/paused": value, "agentmemory.io/force-remove-finalizer": value}
        memory = Memory.from_body(body(annotations=annotations))
        assert (memory.paused, memory.force_release) == (expected, expected)


def test_the_cache_only_moves_forward() -> None:
    """An echo of our own write is no news, and an old event does not undo it."""
    cache = Cache()

    assert cache.put(Memory.from_body(body(version="9")))
    assert not cache.put(Memory.from_body(body(version="9")))
    assert not cache.put(Memory.from_body(body(version="8")))
    assert cache.put(Memory.from_body(body(version="10")))


def test_an_object_made_anew_replaces_the_old_one_of_its_name() -> None:
    """And the late end of the old one does not take the new one away."""
    cache = Cache()
    old, new = Memory.from_body(body(version="9", uid="old")), Memory.from_body(body(version="7", uid="new"))
    cache.put(old)

    assert cache.put(new)
    cache.remove(old)
    assert cache.get(new.ref) is new
    cache.remove(new)
    assert cache.get(new.ref) is None


def test_versions_that_are_no_numbers_count_as_news_when_they_differ() -> None:
    """Some API servers store elsewhere than in etcd."""
    cache = Cache()
    cache.put(Memory.from_body(body(version="x")))

    assert not cache.put(Memory.from_body(body(version="x")))
    assert cache.put(Memory.from_body(body(version="a")))


def test_memories_are_counted_by_the_reason_of_their_readiness() -> None:
    """One that nobody has looked at is Unknown."""
    cache = Cache()
    cache.put(Memory.from_body(body()))
    ready = {"conditions": [{"type": "Ready", "reason": "InEffect"}]}
    cache.put(Memory.from_body({**body(uid="v"), "metadata": {**body()["metadata"], "name": "b"}, "status": ready}))

    assert cache.reasons() == {"Unknown": 1, "InEffect": 1}


def test_the_audit_recognises_what_the_watch_has_brought() -> None:
    """A newer state than the listed one is as good."""
    memory = Memory.from_body(body(version="9"))

    assert reached(memory, Uid("u"), "9")
    assert reached(memory, Uid("u"), "8")
    assert not reached(memory, Uid("u"), "10")
    assert not reached(None, Uid("u"), "1")


def test_events_pass_in_a_burst_and_then_at_a_rate() -> None:
    """Three at once, then two a second."""
    bucket = TokenBucket(rate=2, burst=3)

    assert [bucket.wait_seconds(100) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert bucket.wait_seconds(200) == 0


def settings(*arguments: str, **environment: str) -> Settings:
    """Read settings as the process does."""
    return load(Settings, arguments, environment, program="memory-operator", purpose="")


def test_settings_have_defaults_for_a_pod() -> None:
    """Nothing but the store's address needs to be given."""
    read = settings(POD_NAME="operator-0", POD_NAMESPACE="agents")

    assert (read.identity, read.lease_namespace, read.namespaces) == ("operator-0", "agents", ())
    assert (read.lease_duration_seconds, read.renew_deadline_seconds, read.renew_interval_seconds) == (15, 10, 2)


def test_a_lease_must_be_long_enough_to_be_renewed_over_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    """The process ends before it has done anything."""
    with pytest.raises(SystemExit):
        settings("--lease-duration", "10ms")

    assert "write 1s or more" in capsys.readouterr().err


def test_every_metric_has_the_prefix_and_a_description() -> None:
    """One table, one family of names."""
    text = Metrics().exposition().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]

    assert all(name.startswith((PREFIX, "process_")) for name in names)
    assert all(len(line.split()) > 3 for line in text.splitlines() if line.startswith("# HELP"))
