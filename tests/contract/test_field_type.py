"""`type`: which limit makes a flush due."""

import pytest

from support.specified import SpecifiedMemory

MANY_SHORT = ["."] * 5  # half of the messages, a twentieth of the tokens
ONE_LONG = ["word " * 600]  # more than half of the tokens


@pytest.mark.parametrize(
    ("kind", "contents", "due"),
    [
        ("TokenBased", MANY_SHORT, False),
        ("TokenBased", ONE_LONG, True),
        ("MessageCountBased", MANY_SHORT, True),
        ("MessageCountBased", ONE_LONG, False),
        ("Buffer", MANY_SHORT, True),
        ("Buffer", ONE_LONG, True),
    ],
)
def test_the_limit_that_counts_makes_a_flush_due(
    tickets: SpecifiedMemory, kind: str, contents: list[str], due: bool
) -> None:
    """The same conversation is due under one type and not under another."""
    tickets.apply(type=kind, limits={"maxTokens": 1000, "maxMessages": 10}, flush={"threshold": 0.5})

    assert tickets.append(*contents).json["flush_due"] is due


def test_every_limit_is_hard_whatever_the_type(tickets: SpecifiedMemory) -> None:
    """A limit that the type does not count still holds."""
    tickets.apply(type="TokenBased", limits={"maxTokens": 1000, "maxMessages": 3})
    tickets.append("1", "2", "3")

    assert len(tickets.append("4").json["evicted"]) == 1
