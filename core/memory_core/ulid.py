"""Identifiers that sort by time: ULIDs, as https://github.com/ulid/spec describes them.

Rule: the identifiers of one generator only grow, even within a millisecond and when the clock steps back, so that
messages appended together sort in their order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)  # ten bits at a time
_LOW_BITS: Final = 20


class UlidGenerator:
    """Makes ULIDs: 48 bits of milliseconds, 80 bits that are random at first and counted up from there.

    The upper 108 bits are spelled once a millisecond, the lower 20 count. Not for use from several threads.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._milliseconds = -1
        self._prefix = ""
        self._low = 0

    def next(self) -> str:
        """Return the next identifier, 26 characters."""
        now = self._clock() // 1_000_000
        if now > self._milliseconds:
            self._start(now)
        elif self._low >> _LOW_BITS:  # a million within one millisecond: borrow the next one
            self._start(self._milliseconds + 1)
        low = self._low
        self._low = low + 1
        return self._prefix + _PAIRS[low >> 10] + _PAIRS[low & 1023]

    def _start(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds
        random = int.from_bytes(self._entropy(10), "big")
        upper = (milliseconds << 80 | random) >> _LOW_BITS
        self._prefix = "".join(_PAIRS[upper >> shift & 1023] for shift in range(100, -10, -10))
        self._low = random & ((1 << _LOW_BITS - 1) - 1)  # half of the range is left to count in
