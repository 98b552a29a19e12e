"""`key.template`: how a conversation is named."""

from support.specified import SpecifiedMemory


def test_another_template_is_another_conversation(tickets: SpecifiedMemory) -> None:
    """The rendered name decides what is read; facts of the pod can be part of it."""
    tickets.apply(key={"template": "{{ key }}"})
    plain = tickets.append("plain").json["key"]
    tickets.apply(key={"template": "{{ namespace }}/{{ key }}"})

    before = tickets.contents()
    named = tickets.append("named").json["key"]

    assert before == []
    assert (plain, named) == (tickets.key, f"shop/{tickets.key}")
    assert tickets.contents() == ["named"]


def test_a_template_asks_for_its_variables(tickets: SpecifiedMemory) -> None:
    """What it uses must be sent, and what it does not use must not."""
    tickets.apply(key={"template": "{{ namespace }}/{{ customer }}"})
    body = {"messages": [{"role": "user", "content": "hi"}]}
    path = "/v1/memories/tickets/messages"

    missing = tickets.pod.request("POST", path, body)
    unknown = tickets.pod.request("POST", path, body | {"variables": {"customer": "ada", "order": "7"}})
    right = tickets.pod.request("POST", path, body | {"variables": {"customer": "ada"}})

    assert (missing.status, unknown.reason) == (422, "VariableUnknown")
    assert right.json["key"] == "shop/ada"
