"""Structured logs: one JSON object a line on standard error, an event and its context.

Rule: no content of a message, no conversation key, no secret is ever handed to a logger. A conversation is named by
memory_core.keys.instance_hash, an address is logged without credentials, and no setting is logged as a whole.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_OURS: Final = ("memory_core", "memory_operator", "memory_sidecar")


class JsonLines(logging.Formatter):
    """Formats a record and the context given to `Log`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **getattr(record, "context", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Log:
    """Logs events with key-value context. Make one per module, with its `__name__`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    @property
    def verbose(self) -> bool:
        """Tell whether debug lines are wanted; ask where their context costs something."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **context: object) -> None:
        """Log what only a developer wants to know."""
        self._logger.debug(event, extra={"context": context})

    def info(self, event: str, **context: object) -> None:
        """Log an outcome."""
        self._logger.info(event, extra={"context": context})

    def warning(self, event: str, **context: object) -> None:
        """Log something that mends itself, or that a person may want to mend."""
        self._logger.warning(event, extra={"context": context})

    def error(self, event: str, *, error: BaseException | None = None, **context: object) -> None:
        """Log something unexpected; with its traceback where there is one."""
        self._logger.error(event, exc_info=error, extra={"context": context})


def configure(level: int) -> None:
    """Send the logs of this process to standard error. Libraries are heard from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in _OURS:
        logging.getLogger(package).setLevel(level)
