"""Log lines: one per outcome, in logfmt, on standard error.

Rule: no content of a message, no conversation key, no secret is ever handed to a logger; a conversation is named by
memory_core.keys.instance_hash.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+")


class Logfmt(logging.Formatter):
    """Writes `key=value` pairs: time, level, event, then what the call added through `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        pairs: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        pairs.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
        if record.exc_info:
            pairs["error"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and _BARE.issuperset(text) else json.dumps(text, ensure_ascii=False)


def set_up(level: int) -> None:
    """Send all log lines of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=level, handlers=[handler], force=True)
