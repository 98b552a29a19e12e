"""`tokenizer.encoding`: the encoding that counts, named itself."""

from support.specified import SpecifiedMemory

TEXT = "Überraschung: 你好世界"  # the two encodings differ here


def test_the_encoding_decides_how_text_is_counted(tickets: SpecifiedMemory) -> None:
    """Without one it is o200k_base."""
    counts = []
    for tokenizer in ({"encoding": "o200k_base"}, {"encoding": "cl100k_base"}, {}):
        tickets.apply(tokenizer=tokenizer)
        tickets.append(TEXT)
        counts.append(tickets.read()[-1]["tokens"])

    assert counts[0] == counts[2] < counts[1]
