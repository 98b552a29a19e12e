"""Count the tokens of texts and messages as one memory's configuration says.

Rule: counting never blocks other conversations. Short texts are counted at once, which costs less than a thread
switch; long ones leave the event loop (tiktoken releases the interpreter lock), and so does loading a vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from memory_core.config import TokenizerConfig
from memory_core.errors import TokenizerUnavailable
from memory_core.tokens.estimate import estimate_tokens
from memory_core.tokens.pieces import PIECE_CHARACTERS, pieces
from memory_core.tokens.vocabulary import SHARED, EncodingLoader

if TYPE_CHECKING:
    from tiktoken import Encoding

How = Literal["exact", "estimate"]

SHORT_CHARACTERS: Final = 4_096  # counted at once: 0.1 ms of usual text, 2 ms of the worst

# What a message costs beside its text. Source: "How to count tokens with tiktoken", OpenAI Cookbook,
# num_tokens_from_messages: 3 per message, the role (one token in every encoding), and 1 more when it has a name.
MESSAGE_OVERHEAD: Final = 4
NAME_OVERHEAD: Final = 1


class Count(NamedTuple):
    """A number of tokens and how it was found."""

    tokens: int
    how: How


class Countable(Protocol):
    """What is counted of a message."""

    @property
    def name(self) -> str | None:
        """Return the name of the speaker; it costs extra."""

    def texts(self) -> Sequence[str]:
        """Return every text that a model reads: content parts, name, tool calls."""


class TokenCounter:
    """Counts for one memory. Cheap to make; vocabularies are shared."""

    def __init__(self, config: TokenizerConfig, loader: EncodingLoader = SHARED) -> None:
        self._name = config.encoding
        self._may_estimate = config.fallback == "Estimate"
        self._loader = loader
        self._encoding: Encoding | None = None
        self._estimates = False  # settled: there is no tokenizer, and an estimate will do

    @property
    def ready(self) -> bool:
        """Return whether counting needs no loading any more."""
        return self._encoding is not None or self._estimates

    async def load(self) -> None:
        """Get ready to count; waits for the load that is under way, if there is one.

        Raises TokenizerUnavailable when there is no tokenizer and the memory does not accept an estimate.
        """
        try:
            self._encoding = await self._load_encoding()
        except TokenizerUnavailable:
            if not self._may_estimate:
                raise
            self._estimates = True

    def count_sync(self, text: str) -> Count:
        """Count now, on the calling thread. Only when `ready`; for texts of any length, time grows with them."""
        encoding = self._encoding
        if encoding is None:
            return Count(estimate_tokens(text), "estimate")
        if len(text) <= PIECE_CHARACTERS:
            return Count(len(encoding.encode_ordinary(text)), "exact")
        tokens, exact = 0, True
        for piece, exact_cut in pieces(text):
            tokens += len(encoding.encode_ordinary(piece))
            exact = exact and exact_cut
        return Count(tokens, "exact" if exact else "estimate")

    async def count(self, text: str) -> Count:
        """Count a text of any length; a long one in a thread.

        Special tokens count as the text they are, half of a surrogate pair as one unknown character.
        Raises TokenizerUnavailable as `load` does.
        """
        if not self.ready:
            await self.load()
        if len(text) <= SHORT_CHARACTERS:
            return self.count_sync(text)
        return await asyncio.to_thread(self.count_sync, text)

    async def message_tokens(self, message: Countable) -> Count:
        """Count a message: its texts, and what a message costs beside them.

        Does not suspend when ready and all texts are short.
        """
        total = MESSAGE_OVERHEAD if message.name is None else MESSAGE_OVERHEAD + NAME_OVERHEAD
        how: How = "exact"
        for text in message.texts():
            tokens, text_how = await self.count(text)
            total += tokens
            if text_how != "exact":
                how = text_how
        if not self.ready:  # a message without any text says nothing about the tokenizer yet
            await self.load()
        return Count(total, "estimate" if self._estimates else how)

    async def _load_encoding(self) -> Encoding:
        if self._name is None:
            raise TokenizerUnavailable(
                "no tokenizer is known for the memory's model; set tokenizer.encoding, or tokenizer.fallback: Estimate"
            )
        load = self._loader.load(self._name)
        try:
            return await asyncio.wrap_future(load)
        except TokenizerUnavailable as error:
            raise TokenizerUnavailable(error.detail) from error
