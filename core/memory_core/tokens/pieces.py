"""Cut long texts into pieces that can be counted one by one with the same sum.

Why: the pattern matcher of tiktoken overflows its stack on half a million blanks, and the merge of one long run costs
more than linear time. A piece of a bounded length costs a bounded time, and between pieces others get their turn.

A cut is exact where every encoding splits anyway: before a blank that follows a printed character, after a line end
before a printed one (`/` excepted, which o200k_base joins to the line ends before it), and between a letter and a
digit. Only a longer run without any such place is cut anywhere; its count is then an estimate, off by a few tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PIECE_CHARACTERS: Final = 16_384

_EXACT_CUT: Final = re.compile(r"(?<=\S)(?= )|(?<=\n)(?=[^\s/])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_WINDOW: Final = 512  # characters before the end of a piece where a place is looked for first


def pieces(text: str, size: int = PIECE_CHARACTERS) -> Iterator[tuple[str, bool]]:
    """Yield consecutive pieces of at most `size` characters, each with whether the cut at its end is exact."""
    start = 0
    while len(text) - start > size:
        limit = start + size
        cut = _last_cut(text, max(start + 1, limit - _WINDOW), limit) or _last_cut(text, start + 1, limit)
        yield text[start : cut or limit], cut is not None
        start = cut or limit
    yield text[start:], True


def _last_cut(text: str, low: int, high: int) -> int | None:
    """Return the last exact place to cut in low..high."""
    cut = None
    for match in _EXACT_CUT.finditer(text, low, high + 1):
        cut = match.start()
    return cut
