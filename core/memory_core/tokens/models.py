"""What is known about models by their name: the encoding that counts their tokens, and how many fit.

The encoding comes from tiktoken's own table. The windows are those of the provider's model pages; a model that is not
listed has none, and a memory for it states `contextWindow` itself. Nothing is guessed from a similar name.
"""

from __future__ import annotations

import re
from typing import Final

from memory_core.tokens.vocabulary import VOCABULARIES

_SNAPSHOT: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")

# The harmony encoding differs from o200k_base in special tokens only, and those are never counted as such.
_SAME_COUNTS: Final = {"o200k_harmony": "o200k_base"}

_CONTEXT_WINDOWS: Final = {
    "chatgpt-4o-latest": 128_000,
    "gpt-3.5-turbo": 16_385,
    "gpt-3.5-turbo-0125": 16_385,
    "gpt-3.5-turbo-1106": 16_385,
    "gpt-4": 8_192,
    "gpt-4-0613": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-0125-preview": 128_000,
    "gpt-4-1106-preview": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4-turbo-preview": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.1-mini": 1_047_576,
    "gpt-4.1-nano": 1_047_576,
    "gpt-4.5-preview": 128_000,
    "gpt-4o": 128_000,
    "gpt-4o-mini": 128_000,
    "gpt-5": 400_000,
    "gpt-5-chat-latest": 128_000,
    "gpt-5-codex": 400_000,
    "gpt-5-mini": 400_000,
    "gpt-5-nano": 400_000,
    "gpt-5-pro": 400_000,
    "gpt-5.1": 400_000,
    "gpt-5.2": 400_000,
    "gpt-oss-120b": 131_072,
    "gpt-oss-20b": 131_072,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o1-pro": 200_000,
    "o3": 200_000,
    "o3-mini": 200_000,
    "o3-pro": 200_000,
    "o4-mini": 200_000,
}


def encoding_for(model: str) -> str | None:
    """Return the name of the local encoding that counts this model's tokens; None when none is shipped."""
    from tiktoken.model import encoding_name_for_model  # noqa: PLC0415  (late: costs memory only where a model is named)

    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return None
    name = _SAME_COUNTS.get(name, name)
    return name if name in VOCABULARIES else None


def context_window(model: str) -> int | None:
    """Return how many tokens fit in this model's context; None when the model is not known.

    A dated snapshot (`gpt-4o-2024-08-06`) and a fine-tuned model (`ft:gpt-4o-mini:team::id`) have that of their base.
    """
    base = model.removeprefix("ft:").partition(":")[0]
    return _CONTEXT_WINDOWS.get(base) or _CONTEXT_WINDOWS.get(_SNAPSHOT.sub("", base))
