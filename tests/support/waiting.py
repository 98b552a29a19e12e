"""Wait for a condition with a deadline and say, when it never comes, what was awaited and what was seen last."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
Errors = tuple[type[Exception], ...]

EVERY_SECONDS = 0.02


def wait_until(condition: Callable[[], T], what: str, *, timeout_seconds: float = 10.0, ignore: Errors = ()) -> T:
    """Return the first truthy result of `condition`, or raise TimeoutError; errors in `ignore` count as not yet."""
    deadline = _Deadline(what, timeout_seconds)
    while True:
        try:
            if result := condition():
                return result
            seen = f"last result: {result!r}"
        except ignore as error:
            seen = f"last error: {error!r}"
        deadline.check(seen)
        time.sleep(EVERY_SECONDS)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, *, timeout_seconds: float = 10.0, ignore: Errors = ()
) -> T:
    """Do as `wait_until` does for an asynchronous condition, without blocking the event loop."""
    deadline = _Deadline(what, timeout_seconds)
    while True:
        try:
            if result := await condition():
                return result
            seen = f"last result: {result!r}"
        except ignore as error:
            seen = f"last error: {error!r}"
        deadline.check(seen)
        await asyncio.sleep(EVERY_SECONDS)


class _Deadline:
    def __init__(self, what: str, timeout_seconds: float) -> None:
        self._what = what
        self._timeout_seconds = timeout_seconds
        self._at = time.monotonic() + timeout_seconds

    def check(self, seen: str) -> None:
        if time.monotonic() >= self._at:
            raise TimeoutError(f"{self._what}: not within {self._timeout_seconds:g} s; {seen}")
