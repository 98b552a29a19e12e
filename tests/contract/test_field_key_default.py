"""`key.default`: the conversation of a request that names none."""

from support.specified import SpecifiedMemory


def test_a_request_without_a_key_goes_to_the_default(tickets: SpecifiedMemory) -> None:
    """Without a default such a request is refused: a missing key never means all."""
    body = {"messages": [{"role": "user", "content": "hi"}]}
    path = "/v1/memories/tickets/messages"
    tickets.apply()
    refused = tickets.pod.request("POST", path, body)
    keys = []
    for default in ("lobby", "hall"):
        tickets.apply(key={"default": default})
        keys.append(tickets.pod.request("POST", path, body).json["key"])

    assert (refused.status, refused.reason) == (400, "KeyRequired")
    assert keys == ["lobby", "hall"]
    assert tickets.append("named").json["key"] == tickets.key
