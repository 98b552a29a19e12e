"""`limits.maxMessages`: most messages of a conversation."""

from support.specified import SpecifiedMemory


def test_the_messages_of_a_conversation_stay_within(tickets: SpecifiedMemory) -> None:
    """The newest stay, as many as the limit says; another limit holds from the next append on."""
    tickets.apply(type="MessageCountBased", limits={"maxMessages": 3})
    tickets.append("1", "2", "3")
    tickets.append("4")
    under_three = tickets.contents()

    tickets.apply(type="MessageCountBased", limits={"maxMessages": 2})
    tickets.append("5")

    assert under_three == ["2", "3", "4"]
    assert tickets.contents() == ["4", "5"]
