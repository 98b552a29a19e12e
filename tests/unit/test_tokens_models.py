"""What is known about models: their encoding and their context window."""

import pytest

from memory_core.tokens import context_window, encoding_for


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("o3", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("ft:gpt-4o-mini:team::id", "o200k_base"),
        ("gpt-oss-20b", "o200k_base"),
        ("text-davinci-003", None),
        ("claude-sonnet", None),
        ("", None),
    ],
)
def test_a_model_has_the_encoding_that_tiktoken_names_if_it_is_shipped(model: str, encoding: str | None) -> None:
    """An encoding that is not shipped is as good as none."""
    assert encoding_for(model) == encoding


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-4o", 128_000),
        ("gpt-4o-2024-08-06", 128_000),
        ("ft:gpt-4o-mini:team::id", 128_000),
        ("gpt-4.1", 1_047_576),
        ("gpt-4", 8_192),
        ("gpt-4-0613", 8_192),
        ("gpt-4-1106-preview", 128_000),
        ("gpt-4-something", None),
        ("gpt-3.5-turbo-0613", None),
        ("", None),
    ],
)
def test_a_context_window_is_known_or_not_guessed(model: str, window: int | None) -> None:
    """A snapshot and a fine-tuned model have the window of their base; a name that merely begins alike has none."""
    assert context_window(model) == window
