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
    """Makes ULIDs: 48 bits of milliseconds, 60 random bits that are the generator's own, 20 bits that count.

    The random bits are drawn once, which tells generators apart; drawing them each millisecond would be a system call
    for nearly every message of a quiet process. Not for use from several threads.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        random = int.from_bytes(entropy(8), "big")
        self._own = "".join(_PAIRS[random >> shift & 1023] for shift in range(50, -10, -10))
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
        pairs = _PAIRS
        self._prefix = (
            pairs[milliseconds >> 40 & 1023]
            + pairs[milliseconds >> 30 & 1023]
            + pairs[milliseconds >> 20 & 1023]
            + pairs[milliseconds >> 10 & 1023]
            + pairs[milliseconds & 1023]
            + self._own
        )
        self._low = 0
