"""`description`: shown to people and agents."""

from support.specified import SpecifiedMemory


def test_agents_see_the_description(tickets: SpecifiedMemory) -> None:
    """In the list of memories and in the memory itself."""
    for description in ("Support tickets of the shop", "Tickets, and what came of them"):
        tickets.apply(description=description)

        assert tickets.describe()["description"] == description
        (listed,) = tickets.pod.get("/v1/memories").json["memories"]
        assert listed["description"] == description
