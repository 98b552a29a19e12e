"""The one grammar of durations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.durations import PATTERN, parse_duration_ms

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@given(st.integers(1, 999_999), st.sampled_from(sorted(UNITS)))
def test_a_number_and_a_unit_are_a_duration(number: int, unit: str) -> None:
    """Every whole number up to six digits with one of five units is understood."""
    assert parse_duration_ms(f"{number}{unit}") == number * UNITS[unit]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("250ms", 250), ("90s", 90_000), ("30m", 1_800_000), ("12h", 43_200_000), ("7d", 604_800_000)],
)
def test_documented_examples(text: str, milliseconds: int) -> None:
    """The examples of the documentation mean what they say."""
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0s",
        "-1s",
        "+1s",
        "1",
        "s",
        "1.5h",
        "1h30m",
        "1 h",
        " 1h",
        "1h ",
        "1h\n",
        "01h",
        "1000000s",
        "1H",
        "1w",
        "\N{ARABIC-INDIC DIGIT ONE}h",
    ],
)
def test_anything_else_is_refused_with_the_grammar(text: str) -> None:
    """A refusal shows what was written and what to write."""
    with pytest.raises(
        ValueError, match=re.escape(f"{text!r} is not a duration: write a whole number and ms, s, m, h or d")
    ):
        parse_duration_ms(text)


@given(st.text(st.sampled_from("0123456789smhd. \n"), max_size=10))
def test_the_published_pattern_is_the_grammar(text: str) -> None:
    """The pattern of the custom resource accepts exactly what is parsed."""
    published = re.compile(PATTERN.replace("$", r"\Z"))  # there, `$` is the end of the text
    try:
        parsed = parse_duration_ms(text) > 0
    except ValueError:
        parsed = False

    assert parsed == (published.match(text) is not None)
