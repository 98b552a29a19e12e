"""The specification: defaults, bounds, and rules across fields with the sentence that each refusal says."""

from typing import Any

import pytest
from pydantic import BaseModel

from memory_core import spec
from memory_core.compile import parse_spec
from memory_core.durations import parse_duration_ms
from memory_core.errors import InvalidConfiguration
from memory_core.spec import MemoryResourceSpec

SMALLEST: dict[str, Any] = {"type": "TokenBased", "limits": {"maxTokens": 1000}}


def refusal(raw: object) -> str:
    """Return what a specification is refused with."""
    with pytest.raises(InvalidConfiguration) as refused:
        parse_spec(raw)
    return refused.value.detail


def models(model: type[BaseModel] = MemoryResourceSpec) -> list[type[BaseModel]]:
    """Return a model and those of its fields."""
    below = [f.annotation for f in model.model_fields.values() if isinstance(f.annotation, type)]
    return [model, *(each for child in below if issubclass(child, BaseModel) for each in models(child))]


def test_defaults() -> None:
    """What a manifest leaves out is this."""
    parsed = parse_spec(SMALLEST)

    assert parsed.model_dump(by_alias=True) == {
        "description": "",
        "type": "TokenBased",
        "limits": {
            "maxTokens": 1000,
            "maxMessages": None,
            "maxContextRatio": None,
            "contextWindow": None,
            "maxMessageBytes": 262_144,
            "overflow": "Evict",
        },
        "key": {"template": "{{ key }}", "default": None},
        "tokenizer": {"provider": "openai", "model": None, "encoding": None, "fallback": "Estimate"},
        "flush": {"threshold": 0.8},
        "persistence": {"ttl": None},
        "deletionPolicy": "Retain",
    }


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"type": "TokenBased", "limits": {}}, spec.TOKENS_NEEDED),
        ({"type": "TokenBased", "limits": {"maxMessages": 10}}, spec.TOKENS_NEEDED),
        ({"type": "MessageCountBased", "limits": {"maxTokens": 10}}, spec.MESSAGES_NEEDED),
        ({"type": "Buffer", "limits": {"maxTokens": 10}}, spec.BOTH_NEEDED),
        ({"type": "Buffer", "limits": {"maxMessages": 10}}, spec.BOTH_NEEDED),
        ({"type": "TokenBased", "limits": {"maxContextRatio": 0.5}}, spec.WINDOW_NEEDED),
        ({"type": "TokenBased", "limits": {"maxTokens": 10, "contextWindow": 128_000}}, spec.RATIO_NEEDED),
        (SMALLEST | {"tokenizer": {"model": "gpt-4o", "encoding": "o200k_base"}}, spec.MODEL_OR_ENCODING),
    ],
)
def test_rules_across_fields(raw: dict[str, Any], sentence: str) -> None:
    """A combination that makes no sense is refused with what to write."""
    assert refusal(raw) == f"spec: {sentence}"


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "TokenBased", "limits": {"maxContextRatio": 0.5, "contextWindow": 128_000}},
        {"type": "TokenBased", "limits": {"maxContextRatio": 1, "maxTokens": 10}, "tokenizer": {"model": "gpt-4o"}},
        {"type": "MessageCountBased", "limits": {"maxMessages": 1}},
        {"type": "Buffer", "limits": {"maxMessages": 1, "maxTokens": 1}},
        SMALLEST | {"tokenizer": {"encoding": "cl100k_base"}, "persistence": {"ttl": "7d"}},
    ],
)
def test_combinations_that_make_sense(raw: dict[str, Any]) -> None:
    """Each type with the limits that it needs, and others beside them, is accepted."""
    assert isinstance(parse_spec(raw), MemoryResourceSpec)


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"unknown": 1}, "spec.unknown"),
        ({"type": "Tokens"}, "spec.type"),
        ({"limits": {"maxTokens": 0}}, "spec.limits.maxTokens"),
        ({"limits": {"maxTokens": 100_000_001}}, "spec.limits.maxTokens"),
        ({"limits": {"maxTokens": "10"}}, "spec.limits.maxTokens"),
        ({"limits": {"maxTokens": True}}, "spec.limits.maxTokens"),
        ({"limits": {"maxTokens": 10, "maxMessages": 0}}, "spec.limits.maxMessages"),
        ({"limits": {"maxTokens": 10, "maxMessages": 1_000_001}}, "spec.limits.maxMessages"),
        ({"limits": {"maxTokens": 10, "maxMessageBytes": 255}}, "spec.limits.maxMessageBytes"),
        ({"limits": {"maxTokens": 10, "maxMessageBytes": 4_194_305}}, "spec.limits.maxMessageBytes"),
        ({"limits": {"maxContextRatio": 0, "contextWindow": 10}}, "spec.limits.maxContextRatio"),
        ({"limits": {"maxContextRatio": 1.01, "contextWindow": 10}}, "spec.limits.maxContextRatio"),
        ({"limits": {"maxContextRatio": 0.5, "contextWindow": 0}}, "spec.limits.contextWindow"),
        ({"limits": {"maxTokens": 10, "overflow": "Drop"}}, "spec.limits.overflow"),
        ({"key": {"template": ""}}, "spec.key.template"),
        ({"key": {"template": "x" * 1025}}, "spec.key.template"),
        ({"key": {"default": ""}}, "spec.key.default"),
        ({"key": {"default": "x" * 513}}, "spec.key.default"),
        ({"tokenizer": {"provider": "nobody"}}, "spec.tokenizer.provider"),
        ({"tokenizer": {"encoding": "p50k_base"}}, "spec.tokenizer.encoding"),
        ({"tokenizer": {"model": "x" * 129}}, "spec.tokenizer.model"),
        ({"tokenizer": {"fallback": "Guess"}}, "spec.tokenizer.fallback"),
        ({"flush": {"threshold": 0}}, "spec.flush.threshold"),
        ({"flush": {"threshold": 1.5}}, "spec.flush.threshold"),
        ({"persistence": {"ttl": "1.5h"}}, "spec.persistence.ttl"),
        ({"persistence": {"ttl": "0s"}}, "spec.persistence.ttl"),
        ({"description": "x" * 1025}, "spec.description"),
        ({"deletionPolicy": "Keep"}, "spec.deletionPolicy"),
    ],
)
def test_values_out_of_bounds_name_their_field(changed: dict[str, Any], place: str) -> None:
    """A refusal begins with the path of the field as a manifest spells it."""
    assert refusal(SMALLEST | changed).startswith(f"{place}: ")


def test_every_mistake_is_told_at_once() -> None:
    """A manifest with two mistakes is refused with both."""
    detail = refusal(SMALLEST | {"flush": {"threshold": 2}, "deletionPolicy": "Keep"})

    assert "spec.flush.threshold: " in detail
    assert "; spec.deletionPolicy: " in detail


@pytest.mark.parametrize("raw", [None, [], "TokenBased", 5])
def test_a_specification_is_an_object(raw: object) -> None:
    """Anything else than an object is refused as such."""
    assert refusal(raw).startswith("spec: ")


def test_a_specification_cannot_be_changed() -> None:
    """Models are values: an assignment is an error, and unknown members are as well, at every level."""
    assert all(model.model_config.get("frozen") and model.model_config.get("extra") == "forbid" for model in models())


def test_every_field_describes_itself() -> None:
    """Descriptions become `kubectl explain`: each is there and ends as a sentence does."""
    described = {f"{m.__name__}.{n}": f.description for m in models() for n, f in m.model_fields.items()}

    assert [name for name, text in described.items() if not (text or "").endswith(".")] == []


def test_examples_in_descriptions_are_valid() -> None:
    """The durations that the description of `ttl` shows are durations."""
    description = spec.Persistence.model_fields["ttl"].description or ""

    assert [parse_duration_ms(word) for word in ("12h", "7d") if word in description] == [43_200_000, 604_800_000]
