"""What the store checks with every append, compiled once per configuration into arguments of the append function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from memory_core.config import MemoryConfig, StoredConfig


@dataclass(frozen=True, slots=True)
class AppendLimits:
    """Limits of one memory, as the append function takes them: 0 means that there is none."""

    revision: int
    max_messages: int
    max_tokens: int
    evict: bool
    ttl_ms: int
    due_messages: int  # from here on a flush is due
    due_tokens: int
    arguments: tuple[bytes, ...]

    @classmethod
    def of(cls, stored: StoredConfig) -> AppendLimits:
        """Compile the limits of a configuration."""
        config = stored.config
        max_messages, max_tokens = config.max_messages or 0, config.max_tokens or 0
        due_messages, due_tokens = _due(config)
        evict = config.overflow == "Evict"
        numbers = (stored.revision, max_messages, max_tokens, config.ttl_ms, due_messages, due_tokens)
        revision, messages, tokens, ttl, due_m, due_t = (str(number).encode() for number in numbers)
        arguments = (revision, messages, tokens, b"E" if evict else b"R", ttl, due_m, due_t)
        return cls(
            revision=stored.revision,
            max_messages=max_messages,
            max_tokens=max_tokens,
            evict=evict,
            ttl_ms=config.ttl_ms,
            due_messages=due_messages,
            due_tokens=due_tokens,
            arguments=arguments,
        )


def _due(config: MemoryConfig) -> tuple[int, int]:
    """Return the messages and tokens from which a flush is due; `type` says which of them counts."""
    threshold = Fraction(str(config.flush_threshold))  # exact: 0.07 of 100 is 7

    def amount(limit: int | None, *kinds: str) -> int:
        return math.ceil(limit * threshold) if limit and config.type in kinds else 0

    return (
        amount(config.max_messages, "MessageCountBased", "Buffer"),
        amount(config.max_tokens, "TokenBased", "Buffer"),
    )
