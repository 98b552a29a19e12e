"""Counting: exact where a tokenizer is, an estimate where one is allowed, and never in the way of others."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_core.config import TokenizerConfig, TokenizerFallback
from memory_core.errors import TokenizerUnavailable
from memory_core.tokens import Count, TokenCounter
from memory_core.tokens.estimate import estimate_tokens
from memory_core.tokens.pieces import pieces
from memory_core.tokens.vocabulary import SHARED

ENCODINGS = ("o200k_base", "cl100k_base")


@dataclass(frozen=True)
class Said:
    """A message, as far as counting is concerned."""

    content: str
    name: str | None = None

    def texts(self) -> Sequence[str]:
        """Return content and name."""
        return [self.content] if self.name is None else [self.content, self.name]


# Of "How to count tokens with tiktoken" in the OpenAI Cookbook, with the counts that the API itself reports there.
COOKBOOK = (
    Said(
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    ),
    Said("New synergies will help drive top-line growth.", "example_user"),
    Said("Things working well together will increase revenue.", "example_assistant"),
    Said(
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        "example_user",
    ),
    Said("Let's talk later when we're less busy about how to do better.", "example_assistant"),
    Said("This late pivot means we don't have time to boil the ocean for the client deliverable."),
)


def counter(encoding: str | None = "o200k_base", fallback: TokenizerFallback = "Reject") -> TokenCounter:
    """Return a counter as a memory's configuration makes it."""
    return TokenCounter(TokenizerConfig(provider="openai", encoding=encoding, fallback=fallback))


def truth(encoding: str, text: str) -> int:
    """Count in one go."""
    return len(SHARED.load(encoding).result().encode_ordinary(text))


@pytest.mark.parametrize(("encoding", "tokens"), [("o200k_base", 124), ("cl100k_base", 129)])
async def test_messages_count_as_the_api_counts_them(encoding: str, tokens: int) -> None:
    """The sum over the messages, and 3 for the answer that they prime, which no message owns."""
    counts = [await counter(encoding).message_tokens(message) for message in COOKBOOK]

    assert sum(count.tokens for count in counts) + 3 == tokens
    assert {count.how for count in counts} == {"exact"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_every_role_is_one_token(encoding: str, role: str) -> None:
    """What the overhead of a message relies on."""
    assert truth(encoding, role) == 1


async def test_a_counter_is_ready_after_its_first_count() -> None:
    """From then on, short texts can be counted without waiting."""
    count = counter()
    assert not count.ready

    assert await count.count("hello world") == Count(2, "exact")
    assert count.ready
    assert count.count_sync("hello world") == Count(2, "exact")


async def test_callers_that_come_together_wait_for_the_same_load() -> None:
    """Also when one of them gives up."""
    counters = [counter("cl100k_base") for _ in range(20)]
    asked = [asyncio.create_task(each.count("hello world")) for each in counters]
    asked[0].cancel()

    counts = await asyncio.gather(*asked, return_exceptions=True)

    assert isinstance(counts[0], asyncio.CancelledError)
    assert counts[1:] == [Count(2, "exact")] * 19


async def test_special_tokens_are_text() -> None:
    """Nobody ends a text by writing that it ends."""
    assert (await counter().count("<|endoftext|>")).tokens == 7


async def test_half_a_surrogate_pair_counts_as_something() -> None:
    """It is refused elsewhere; counting does not fall over it."""
    assert (await counter().count("a\ud800b")).tokens >= 2


async def test_an_unknown_model_is_estimated_where_that_is_allowed() -> None:
    """Each count says so, that of a message without any text included."""
    count = counter(None, "Estimate")

    assert await count.count("hello world") == Count(estimate_tokens("hello world"), "estimate")
    assert await counter(None, "Estimate").message_tokens(Said("")) == Count(4, "estimate")


async def test_an_unknown_model_is_refused_otherwise() -> None:
    """The sentence says which two settings help."""
    with pytest.raises(TokenizerUnavailable, match=r"tokenizer\.encoding, or tokenizer\.fallback: Estimate"):
        await counter(None).count("hello")


async def test_an_encoding_that_cannot_be_loaded_is_refused_every_time() -> None:
    """The error of the one load is everybody's."""
    for _ in range(2):
        with pytest.raises(TokenizerUnavailable, match="p9000_base"):
            await counter("p9000_base").count("hello")


async def test_an_encoding_that_cannot_be_loaded_is_estimated_where_that_is_allowed() -> None:
    """As if there were none."""
    assert (await counter("p9000_base", "Estimate").count("hello")).how == "estimate"


async def test_others_go_on_while_a_long_text_is_counted() -> None:
    """It leaves the event loop; a short one does not need to."""
    count = counter()
    await count.load()
    long = asyncio.create_task(count.count("hello wonderful world " * 20_000))
    turns = 0
    while not long.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 1
    assert await long == Count(60_001, "exact")


WRITING = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "/",
    "'s",
    "!?",
    ".",
    "\u0301",
    "42",
    "x7",
    "word",
    "Word",
    "漢字",
    "é",
    "😊",
]
TEXTS = st.lists(st.sampled_from(WRITING) | st.text(max_size=3), max_size=60).map("".join)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, size=st.integers(4, 40))
@settings(max_examples=500)
def test_pieces_count_as_the_whole_where_the_cuts_are_exact(encoding: str, text: str, size: int) -> None:
    """Joined up to the next cut that is not, they have exactly as many tokens as in one go."""
    parts = list(pieces(text, size))
    assert "".join(part for part, _ in parts) == text
    assert all(0 < len(part) <= size for part, _ in parts[:-1])

    run: list[str] = []
    for part, exact in parts:
        run.append(part)
        if not exact:
            assert_same_count(encoding, run)
            run = []
    assert_same_count(encoding, run)


def assert_same_count(encoding: str, run: list[str]) -> None:
    """Compare a run of pieces with the text they make."""
    assert sum(truth(encoding, part) for part in run) == truth(encoding, "".join(run))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ["a" * 50_000, "!?" * 25_000, "漢" * 50_000, "Ab" * 25_000])
async def test_a_run_without_a_place_to_cut_is_off_by_a_few_tokens(encoding: str, text: str) -> None:
    """And its count says that it is an estimate."""
    count = await counter(encoding).count(text)

    assert count.how == "estimate"
    assert abs(count.tokens - truth(encoding, text)) <= 6


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "unit", ["a", "A", " ", "\n", "\n ", "\u00a0", "!", "'", "1", "ab1", "漢", "\u0301", "😊", "\x00", "\ud800"]
)
async def test_no_text_is_too_odd_to_be_counted(encoding: str, unit: str) -> None:
    """A quarter of a million characters of the same."""
    count = await counter(encoding).count(unit * (260_000 // len(unit)) + "x")

    assert 0 < count.tokens <= 600_000


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_million_blanks_are_counted(encoding: str) -> None:
    """tiktoken alone cannot: its matcher overflows its stack."""
    count = await counter(encoding).count(" " * 1_000_000 + "x")

    assert count == Count(7_814, "estimate")
