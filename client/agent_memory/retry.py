"""Whether a failed call is tried again, and after how long.

The rule: a call is repeated only when repeating cannot do it twice. Reads, and appends with their idempotency key, are
always safe. Anything else is repeated only when the failure proves that nothing was done.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_memory.errors import (
    AgentMemoryError,
    ConfigurationUnavailable,
    ConnectionLost,
    Overloaded,
    RequestTimeout,
    SidecarUnreachable,
    SocketForbidden,
    TokenizerUnavailable,
)

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0

_NOTHING_WAS_DONE = (SidecarUnreachable, ConfigurationUnavailable, Overloaded, RequestTimeout, TokenizerUnavailable)


@dataclass(slots=True)
class Retries:
    """The attempts of one call. ``deadline`` is in the time of ``clock``."""

    repeatable: bool
    deadline: float
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    failures: int = field(default=0, init=False)

    def pause_seconds(self, error: AgentMemoryError) -> float:
        """Return how long to wait before the next attempt; raise the error when there must be none."""
        self.failures += 1
        if not self._worth_repeating(error):
            raise error
        pause = self._pause(error)
        if self.clock() + pause >= self.deadline:
            error.add_note(f"gave up after {self.failures} attempt{'s' * (self.failures > 1)}")
            raise error
        return pause

    def _worth_repeating(self, error: AgentMemoryError) -> bool:
        if not (self.repeatable or isinstance(error, _NOTHING_WAS_DONE) or error.status == 429):
            return False
        if isinstance(error, SocketForbidden):
            return False
        transient = isinstance(error, (SidecarUnreachable, ConnectionLost, RequestTimeout))
        return transient or (error.status in {429, 503} and error.retry_after_seconds is not None)

    def _pause(self, error: AgentMemoryError) -> float:
        """Return the exponential pause with full jitter, on top of what the sidecar asked for.

        A lost connection is first tried again at once: it was most likely an idle one that the sidecar had closed.
        """
        if self.failures == 1 and isinstance(error, (ConnectionLost, RequestTimeout)):
            return 0.0
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * float(1 << min(self.failures, 16)))
        return (error.retry_after_seconds or 0.0) + self.random() * longest
