"""`limits.overflow`: at a limit, remove the oldest or refuse the new."""

from support.specified import SpecifiedMemory


def test_the_oldest_go_or_the_new_are_refused(tickets: SpecifiedMemory) -> None:
    """The same append to the same conversation is refused under Reject, and makes room under Evict."""
    tickets.apply(type="MessageCountBased", limits={"maxMessages": 2, "overflow": "Reject"})
    tickets.append("1", "2")
    refused = tickets.append("3")
    after_refusal = tickets.contents()
    tickets.apply(type="MessageCountBased", limits={"maxMessages": 2, "overflow": "Evict"})
    evicting = tickets.append("3")

    assert (refused.status, refused.reason) == (429, "LimitExceeded")
    assert refused.json["totals"]["messages"] == 2
    assert after_refusal == ["1", "2"]
    assert len(evicting.json["evicted"]) == 1
    assert tickets.contents() == ["2", "3"]
