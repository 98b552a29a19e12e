"""`flush.threshold`: the share of the limit from which a flush is due."""

from support.specified import SpecifiedMemory


def test_a_flush_is_due_from_the_threshold_on(tickets: SpecifiedMemory) -> None:
    """Another threshold, another message that makes it due."""
    due_from = {}
    for threshold in (0.3, 0.7, 1):
        tickets.apply(type="MessageCountBased", limits={"maxMessages": 10}, flush={"threshold": threshold})
        due = [tickets.append(".").json["flush_due"] for _ in range(10)]
        due_from[threshold] = due.index(True) + 1
        assert due == sorted(due)
        tickets.clear()

    assert due_from == {0.3: 3, 0.7: 7, 1: 10}
