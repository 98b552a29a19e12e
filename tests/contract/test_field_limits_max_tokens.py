"""`limits.maxTokens`: most tokens of a conversation."""

from support.specified import SpecifiedMemory


def test_the_tokens_of_a_conversation_stay_within(tickets: SpecifiedMemory) -> None:
    """A larger limit keeps more of the same conversation; a smaller one holds from the next append on."""
    texts = [f"message number {number}" for number in range(20)]
    tickets.apply(type="TokenBased", limits={"maxTokens": 1000})
    tickets.append(*texts)
    under_large = tickets.stats()["totals"]["tokens"]

    tickets.apply(type="TokenBased", limits={"maxTokens": 60})
    appended = tickets.append("one more").json

    assert under_large > 60
    assert appended["totals"]["tokens"] <= 60
    assert 0 < len(tickets.contents()) < 20
    assert tickets.contents()[-1] == "one more"


def test_a_message_that_never_fits_is_refused(tickets: SpecifiedMemory) -> None:
    """Evicting everything would not help."""
    tickets.apply(type="TokenBased", limits={"maxTokens": 60})

    answer = tickets.append("word " * 100)

    assert (answer.status, answer.reason) == (413, "MessageTooLarge")
