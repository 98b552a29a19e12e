"""What bounds the memory and the time that strangers can take: limits of one server and a budget of bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one HTTP server."""

    # Request line and headers together; a client of ours sends about 100.
    max_head_bytes: int = 32 * 1024
    # One body. A thousand messages of 4 KiB fit.
    max_body_bytes: int = 4 * 1024 * 1024
    # From the first byte of a request to its last. Slower senders only hold memory.
    request_timeout_seconds: float = 10.0
    # How long a client may leave an answer unread before its connection is cut.
    write_timeout_seconds: float = 30.0
    # After a refusal, how long the rest of the request is thrown away, so that the client gets to read the refusal.
    linger_seconds: float = 2.0
    # Requests of one connection that run at once (reads only; a write runs alone). More of them wait, unread.
    max_in_flight: int = 16
    # Open connections; an idle one costs about 4 KiB.
    max_connections: int = 16_384
    # Bodies being received or answered, and answers not yet read by clients, over all connections.
    max_bytes_in_flight: int = 64 * 1024 * 1024


class ByteBudget:
    """Counts bytes in hand over all connections; what does not fit is refused instead of buffered."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes if they fit; with 0, only say whether the budget is kept."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def force(self, size: int) -> None:
        """Count bytes that exist already; the next requests are refused until they are given back."""
        self.used += size

    def give(self, size: int) -> None:
        """Return bytes that were reserved."""
        self.used -= size
