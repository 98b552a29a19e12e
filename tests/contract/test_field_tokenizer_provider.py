"""`tokenizer.provider`: whose tokenizer counts."""

import pytest

from memory_core.compile import parse_spec
from memory_core.errors import InvalidConfiguration
from support.specified import SpecifiedMemory


def test_the_provider_counts(tickets: SpecifiedMemory) -> None:
    """`openai` counts exactly, with the vocabularies that ship."""
    tickets.apply(tokenizer={"provider": "openai"})
    tickets.append("hello world")

    assert tickets.describe()["tokenizer"]["provider"] == "openai"
    (message,) = tickets.read()
    assert message["counted"] == "exact"


def test_a_provider_without_a_tokenizer_is_refused() -> None:
    """Another provider's text would be counted wrongly: the specification is refused by name."""
    raw = {"type": "TokenBased", "limits": {"maxTokens": 10}, "tokenizer": {"provider": "anthropic"}}

    with pytest.raises(InvalidConfiguration, match=r"^spec\.tokenizer\.provider: .*'openai'"):
        parse_spec(raw)
