"""`tokenizer.fallback`: what to do with a model whose encoding is unknown."""

from support.specified import SpecifiedMemory


def test_an_unknown_model_is_estimated_or_refused(tickets: SpecifiedMemory) -> None:
    """The same append is stored with an estimate, or refused."""
    tickets.apply(tokenizer={"model": "a-model-nobody-knows", "fallback": "Estimate"})
    estimated = tickets.append("hello")
    tickets.apply(tokenizer={"model": "a-model-nobody-knows", "fallback": "Reject"})
    refused = tickets.append("hello again")

    assert estimated.status == 200
    assert (refused.status, refused.reason) == (503, "TokenizerUnavailable")
    (message,) = tickets.read()
    assert message["counted"] == "estimate"
