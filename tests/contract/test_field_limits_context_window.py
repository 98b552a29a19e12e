"""`limits.contextWindow`: the window that a ratio is a share of."""

from support.specified import SpecifiedMemory


def test_a_larger_window_is_a_larger_limit(tickets: SpecifiedMemory) -> None:
    """The same ratio of another window, and of the window that the model is known for."""
    found = []
    for window in ({"contextWindow": 1000}, {"contextWindow": 2000}, {}):
        tickets.apply(type="TokenBased", limits={"maxContextRatio": 0.5, **window}, tokenizer={"model": "gpt-4o"})
        found.append(tickets.describe()["limits"]["max_tokens"])

    assert found == [500, 1000, 64_000]
