"""`persistence.ttl`: how long a conversation lives after its last write."""

from datetime import datetime

from memory_core.keys import InstanceKeys, MemoryRef
from support.specified import SpecifiedMemory
from support.waiting import wait_until


def test_a_conversation_expires(tickets: SpecifiedMemory) -> None:
    """With a short time it is gone; nothing of it is left."""
    tickets.apply(persistence={"ttl": "300ms"})
    tickets.append("short-lived")
    wait_until(lambda: not tickets.stats()["exists"], "the conversation expires")

    assert tickets.contents() == []
    with tickets.store.client() as client:
        assert client.exists(*InstanceKeys(MemoryRef("shop", "tickets"), tickets.key).all) == 0


def test_the_time_follows_the_specification(tickets: SpecifiedMemory) -> None:
    """Each write sets the time that is in effect; without one it never expires."""
    lifetimes = []
    for persistence in ({"ttl": "1h"}, {"ttl": "7d"}, {}):
        tickets.apply(persistence=persistence)
        tickets.append("written")
        stats = tickets.stats()
        ends, written = stats["expires_at"], datetime.fromisoformat(stats["updated_at"])
        lifetimes.append(None if ends is None else round((datetime.fromisoformat(ends) - written).total_seconds(), -1))

    assert lifetimes == [3600, 604_800, None]
    assert tickets.contents() == ["written"] * 3
