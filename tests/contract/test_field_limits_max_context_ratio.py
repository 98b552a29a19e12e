"""`limits.maxContextRatio`: share of the context window that a conversation may fill."""

from support.specified import SpecifiedMemory


def test_the_share_is_the_limit(tickets: SpecifiedMemory) -> None:
    """A tenth of the same window keeps less than a half of it."""
    texts = [f"message number {number}" for number in range(20)]
    kept = {}
    for ratio in (0.5, 0.1):
        tickets.apply(type="TokenBased", limits={"maxContextRatio": ratio, "contextWindow": 300})
        for text in texts:
            tickets.append(text)
        kept[ratio] = tickets.stats()
        tickets.clear()

    assert [stats["limits"]["max_tokens"] for stats in kept.values()] == [150, 30]
    assert kept[0.1]["totals"]["tokens"] <= 30 < kept[0.5]["totals"]["tokens"] <= 150


def test_the_smaller_of_two_limits_holds(tickets: SpecifiedMemory) -> None:
    """Beside maxTokens, the ratio can only make the limit smaller."""
    for max_tokens, effective in ((100, 100), (200, 150)):
        limits = {"maxTokens": max_tokens, "maxContextRatio": 0.5, "contextWindow": 300}
        tickets.apply(type="TokenBased", limits=limits)

        assert tickets.describe()["limits"]["max_tokens"] == effective
