"""The compiled configuration of a memory: what the operator writes to the store and every sidecar obeys.

It is the specification with all defaults applied and all derived limits computed, so that a sidecar decides nothing
twice. Unknown fields are ignored when it is read: an operator may be newer than a sidecar.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from memory_core.errors import StoreError
from memory_core.keys import MemoryRef

MemoryType = Literal["TokenBased", "MessageCountBased", "Buffer"]
Overflow = Literal["Evict", "Reject"]
TokenizerFallback = Literal["Estimate", "Reject"]


class TokenizerConfig(msgspec.Struct, frozen=True, rename="camel"):
    """How the text of messages is counted."""

    provider: str
    encoding: str | None  # name of a local encoding; None: there is none for the model, `fallback` decides
    fallback: TokenizerFallback


class MemoryConfig(msgspec.Struct, frozen=True, rename="camel"):
    """What a sidecar enforces for one memory."""

    namespace: str
    name: str
    description: str
    type: MemoryType  # which limit makes a flush due
    max_tokens: int | None  # per conversation; the smaller of maxTokens and contextWindow x maxContextRatio
    max_messages: int | None  # per conversation
    max_message_bytes: int
    overflow: Overflow  # at a limit: remove the oldest, or refuse the new
    flush_threshold: float  # share of the limit from which a flush is due
    key_template: str
    key_default: str | None
    tokenizer: TokenizerConfig
    ttl_ms: int  # from the last write; 0: never expires

    @property
    def ref(self) -> MemoryRef:
        """Return the name of the MemoryResource this was compiled from."""
        return MemoryRef(self.namespace, self.name)


class StoredConfig(msgspec.Struct, frozen=True):
    """A configuration with the revision the store gave it; a higher revision is newer."""

    revision: int
    config: MemoryConfig


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder(MemoryConfig)


def encode_config(config: MemoryConfig) -> bytes:
    """Return the stored form; equal configurations have equal bytes."""
    return _ENCODER.encode(config)


def decode_config(blob: bytes) -> MemoryConfig:
    """Read the stored form.

    Raises StoreError when somebody else wrote there.
    """
    try:
        return _DECODER.decode(blob)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(
            f"the stored configuration cannot be read ({error}); delete it, the operator writes it again"
        ) from error
