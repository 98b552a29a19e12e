"""`limits.maxMessageBytes`: most bytes of one message."""

from support.specified import SpecifiedMemory


def test_a_larger_message_is_refused(tickets: SpecifiedMemory) -> None:
    """The same message passes under one limit and is refused under another, with all that came with it."""
    text = "x" * 400
    tickets.apply(limits={"maxTokens": 1000, "maxMessages": 100, "maxMessageBytes": 300})
    refused = tickets.append("short", text)
    tickets.apply(limits={"maxTokens": 1000, "maxMessages": 100, "maxMessageBytes": 600})
    accepted = tickets.append(text)

    assert (refused.status, refused.reason) == (413, "MessageTooLarge")
    assert accepted.status == 200
    assert tickets.contents() == [text]
