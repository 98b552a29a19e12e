"""ULIDs: well formed, and always growing."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from memory_core.ulid import UlidGenerator

MILLISECOND = 1_000_000  # in nanoseconds


def fixed(byte: int) -> UlidGenerator:
    """Return a generator whose clock stands still and whose randomness is one byte."""
    return UlidGenerator(clock=lambda: 1_700_000_000_000 * MILLISECOND, entropy=lambda size: bytes([byte]) * size)


def test_an_identifier_is_spelled_as_the_specification_demands() -> None:
    """26 characters of Crockford's alphabet; the first ten are the time in milliseconds."""
    identifier = UlidGenerator().next()

    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", identifier)
    assert fixed(0).next() == "01HF7YAT00" + "0" * 16
    assert fixed(255).next() == "01HF7YAT00" + "Z" * 12 + "0000"


@given(st.lists(st.integers(0, 2**47).map(lambda milliseconds: milliseconds * MILLISECOND), min_size=2, max_size=50))
def test_identifiers_grow_whatever_the_clock_does(times: list[int]) -> None:
    """Also while it stands still, and when it steps back."""
    clock = iter(times)
    generator = UlidGenerator(clock=lambda: next(clock))

    identifiers = [generator.next() for _ in times]

    assert all(earlier < later for earlier, later in pairwise(identifiers))


def test_more_than_a_million_in_one_millisecond_still_grow() -> None:
    """The next millisecond is borrowed when the counter is used up."""
    generator = fixed(255)
    last = ""
    for _ in range(1_100_000):
        identifier = generator.next()
        assert identifier > last
        last = identifier
    assert last.startswith("01HF7YAT01")
