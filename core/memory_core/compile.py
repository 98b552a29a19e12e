"""Compiles a specification into the configuration that sidecars obey: defaults applied, derived limits computed."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

from pydantic import ValidationError

from memory_core.config import MemoryConfig, TokenizerConfig
from memory_core.durations import parse_duration_ms
from memory_core.errors import InvalidConfiguration, KeyInvalid
from memory_core.spec import Key, MemoryResourceSpec, Tokenizer
from memory_core.templates import KeyTemplate, check_key
from memory_core.tokens import context_window, encoding_for

_DEFAULT_ENCODING: Final = "o200k_base"


def parse_spec(raw: Any) -> MemoryResourceSpec:
    """Validate the `spec` of a manifest.

    Raises InvalidConfiguration with every mistake, each with the field it is in.
    """
    try:
        return MemoryResourceSpec.model_validate(raw)
    except ValidationError as error:
        mistakes = (
            f"{'.'.join(map(str, ('spec', *mistake['loc'])))}: {mistake['msg'].removeprefix('Value error, ')}"
            for mistake in error.errors()
        )
        raise InvalidConfiguration("; ".join(mistakes)) from error


def compile_config(namespace: str, name: str, spec: MemoryResourceSpec) -> MemoryConfig:
    """Return what sidecars enforce.

    Raises InvalidConfiguration when the key template is not allowed or a ratio has no context window.
    """
    _check_key(spec.key)
    limits = spec.limits
    return MemoryConfig(
        namespace=namespace,
        name=name,
        description=spec.description,
        type=spec.type,
        max_tokens=_token_limit(spec),
        max_messages=limits.max_messages,
        max_message_bytes=limits.max_message_bytes,
        overflow=limits.overflow,
        flush_threshold=spec.flush.threshold,
        key_template=spec.key.template,
        key_default=spec.key.default,
        tokenizer=_tokenizer(spec.tokenizer),
        ttl_ms=parse_duration_ms(spec.persistence.ttl) if spec.persistence.ttl else 0,
    )


def _check_key(key: Key) -> None:
    try:
        template = KeyTemplate.compile(key.template)
    except KeyInvalid as error:
        raise InvalidConfiguration(f"spec.key.template: {error.detail}") from error
    if key.default is None:
        return
    if "key" not in template.caller_variables:
        raise InvalidConfiguration("spec.key.default does nothing: the template does not use the variable key")
    try:
        check_key(key.default)
    except KeyInvalid as error:
        raise InvalidConfiguration(f"spec.key.default: {error.detail}") from error


def _token_limit(spec: MemoryResourceSpec) -> int | None:
    """Return the smaller of maxTokens and the share of the context window, of those given."""
    limits = spec.limits
    if limits.max_context_ratio is None:
        return limits.max_tokens
    window = limits.context_window or context_window(spec.tokenizer.model or "")
    if window is None:
        raise InvalidConfiguration(
            f"spec.limits.maxContextRatio: the context window of model {spec.tokenizer.model!r} is not known; "
            "set limits.contextWindow"
        )
    share = max(1, math.floor(window * Fraction(str(limits.max_context_ratio))))  # exact: 0.29 of 100 is 29
    return share if limits.max_tokens is None else min(share, limits.max_tokens)


def _tokenizer(tokenizer: Tokenizer) -> TokenizerConfig:
    encoding: str | None = tokenizer.encoding or _DEFAULT_ENCODING
    if tokenizer.model is not None:
        encoding = encoding_for(tokenizer.model)
    return TokenizerConfig(provider=tokenizer.provider, encoding=encoding, fallback=tokenizer.fallback)
