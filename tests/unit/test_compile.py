"""Compilation of a specification into what sidecars enforce."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memory_core.compile import compile_config, parse_spec
from memory_core.config import MemoryConfig, StoredConfig, TokenizerConfig
from memory_core.errors import InvalidConfiguration
from memory_core.store.limits import AppendLimits

hundredths = st.integers(1, 100)  # ratios as people write them, such as 0.07
amounts = st.integers(1, 1_000_000)


def compiled(**changed: Any) -> MemoryConfig:
    """Compile a small specification with some members replaced."""
    raw = {"type": "TokenBased", "limits": {"maxTokens": 1000}} | changed
    return compile_config("shop", "tickets", parse_spec(raw))


def test_defaults_are_applied() -> None:
    """A sidecar finds every value decided."""
    assert compiled() == MemoryConfig(
        namespace="shop",
        name="tickets",
        description="",
        type="TokenBased",
        max_tokens=1000,
        max_messages=None,
        max_message_bytes=262_144,
        overflow="Evict",
        flush_threshold=0.8,
        key_template="{{ key }}",
        key_default=None,
        tokenizer=TokenizerConfig(provider="openai", encoding="o200k_base", fallback="Estimate"),
        ttl_ms=0,
    )


@given(amounts, hundredths)
@example(100, 29)
def test_a_ratio_is_a_share_of_the_window_rounded_down(window: int, hundredth: int) -> None:
    """The share is exact: 0.29 of 100 is 29, though the nearest binary number is less; it is never nothing."""
    config = compiled(limits={"maxContextRatio": hundredth / 100, "contextWindow": window})

    assert config.max_tokens == max(1, window * hundredth // 100)


@given(amounts, amounts, hundredths)
def test_the_smaller_token_limit_holds(max_tokens: int, window: int, hundredth: int) -> None:
    """With maxTokens and a ratio, the smaller of the two is enforced."""
    both = compiled(limits={"maxTokens": max_tokens, "maxContextRatio": hundredth / 100, "contextWindow": window})
    ratio = compiled(limits={"maxContextRatio": hundredth / 100, "contextWindow": window})

    assert ratio.max_tokens is not None
    assert both.max_tokens == min(max_tokens, ratio.max_tokens)


def test_the_window_of_a_known_model_is_known() -> None:
    """A ratio needs no contextWindow when the tokenizer's model has one."""
    config = compiled(limits={"maxContextRatio": 0.5}, tokenizer={"model": "gpt-4o"})

    assert config.max_tokens == 64_000


def test_the_given_window_goes_before_that_of_the_model() -> None:
    """A manifest may state another window than the one that is known."""
    config = compiled(limits={"maxContextRatio": 0.5, "contextWindow": 1000}, tokenizer={"model": "gpt-4o"})

    assert config.max_tokens == 500


def test_a_ratio_of_an_unknown_window_is_refused() -> None:
    """The refusal names the field, the model, and what to set."""
    with pytest.raises(
        InvalidConfiguration,
        match=r"^spec\.limits\.maxContextRatio: .* model 'my-model' is not known; set limits\.contextWindow$",
    ):
        compiled(limits={"maxContextRatio": 0.5}, tokenizer={"model": "my-model"})


@pytest.mark.parametrize(
    ("tokenizer", "encoding"),
    [
        ({}, "o200k_base"),
        ({"encoding": "cl100k_base"}, "cl100k_base"),
        ({"model": "gpt-4o"}, "o200k_base"),
        ({"model": "gpt-4"}, "cl100k_base"),
        ({"model": "my-model"}, None),
    ],
)
def test_the_encoding_comes_from_the_model(tokenizer: dict[str, str], encoding: str | None) -> None:
    """A model that is not known has no encoding; `fallback` decides what then."""
    assert compiled(tokenizer=tokenizer).tokenizer.encoding == encoding


def test_a_template_that_is_not_allowed_is_refused() -> None:
    """The refusal names the field."""
    with pytest.raises(InvalidConfiguration, match=r"^spec\.key\.template: "):
        compiled(key={"template": "{% for x in key %}{{ x }}{% endfor %}"})


def test_the_time_to_live_is_compiled_to_milliseconds() -> None:
    """Without one, conversations never expire."""
    assert compiled(persistence={"ttl": "7d"}).ttl_ms == 604_800_000
    assert compiled().ttl_ms == 0


@given(amounts, hundredths)
@example(100, 7)
def test_a_flush_is_due_from_the_exact_share(limit: int, hundredth: int) -> None:
    """The threshold is the smallest whole amount that reaches the share: 0.07 of 100 messages are 7."""
    config = compiled(
        type="Buffer", limits={"maxTokens": limit, "maxMessages": limit}, flush={"threshold": hundredth / 100}
    )
    limits = AppendLimits.of(StoredConfig(1, config))
    share = Fraction(hundredth, 100) * limit

    assert limits.due_messages == limits.due_tokens
    assert limits.due_messages - 1 < share <= limits.due_messages


@pytest.mark.parametrize(
    ("kind", "due"), [("TokenBased", (0, 800)), ("MessageCountBased", (80, 0)), ("Buffer", (80, 800))]
)
def test_the_type_says_which_limit_makes_a_flush_due(kind: str, due: tuple[int, int]) -> None:
    """Limits that the type does not count are hard all the same."""
    limits = AppendLimits.of(StoredConfig(7, compiled(type=kind, limits={"maxTokens": 1000, "maxMessages": 100})))

    assert (limits.due_messages, limits.due_tokens) == due
    assert (limits.revision, limits.max_messages, limits.max_tokens, limits.evict) == (7, 100, 1000, True)


@pytest.mark.parametrize(("overflow", "letter"), [("Evict", b"E"), ("Reject", b"R")])
def test_limits_are_the_arguments_of_the_append_function(overflow: str, letter: bytes) -> None:
    """Revision, messages, tokens, overflow, time to live, due messages, due tokens; 0 is no limit."""
    config = compiled(limits={"maxTokens": 10, "overflow": overflow}, persistence={"ttl": "1s"})

    assert AppendLimits.of(StoredConfig(3, config)).arguments == (b"3", b"0", b"10", letter, b"1000", b"0", b"8")


def test_a_default_key_that_the_template_never_uses_is_refused() -> None:
    """A field that does nothing is a mistake, and the sentence says which."""
    with pytest.raises(InvalidConfiguration, match=r"spec\.key\.default does nothing: the template does not use"):
        compiled(key={"template": "{{ user }}", "default": "main"})


def test_a_default_key_obeys_the_rules_for_keys() -> None:
    """It would name a conversation, so it must be a possible key."""
    with pytest.raises(
        InvalidConfiguration, match=r"spec\.key\.default: the rendered key contains a control character"
    ):
        compiled(key={"default": "a\x00b"})
