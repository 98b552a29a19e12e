"""`tokenizer.model`: the model whose encoding counts."""

from support.specified import SpecifiedMemory

TEXT = "Überraschung: 你好世界"  # the two encodings differ here


def test_the_model_decides_how_text_is_counted(tickets: SpecifiedMemory) -> None:
    """The same text has another count under another model, and an estimate under one that nobody knows."""
    counts = {}
    for model in ("gpt-4o", "gpt-4", "a-model-nobody-knows"):
        tickets.apply(tokenizer={"model": model})
        tickets.append(TEXT)
        message = tickets.read()[-1]
        counts[model] = (message["tokens"], message["counted"])

    assert counts["gpt-4o"][1] == counts["gpt-4"][1] == "exact"
    assert counts["gpt-4o"][0] < counts["gpt-4"][0]
    assert counts["a-model-nobody-knows"][1] == "estimate"
