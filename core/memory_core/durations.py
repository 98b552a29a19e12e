"""The one grammar for lengths of time: a whole number and one unit, such as `90s`, `30m`, `12h`, `7d`."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"^[1-9][0-9]{0,5}(ms|s|m|h|d)$"

_MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_COMPILED: Final = re.compile(PATTERN)


def parse_duration_ms(text: str) -> int:
    """Return the length of time in milliseconds.

    Raises ValueError with a sentence that shows the grammar.
    """
    match = _COMPILED.fullmatch(text)  # `$` alone would let a line feed follow
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a whole number and ms, s, m, h or d, such as 90s or 7d")
    unit = match.group(1)
    return int(text.removesuffix(unit)) * _MILLISECONDS[unit]
