"""Text for people: tables fitted to the terminal, and nothing of a message that could steer the terminal.

The rule: what goes to a terminal is printable. A message's content is somebody else's text.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

GAP = "   "
LEAST_LAST_COLUMN = 12

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35"}
_JOINER = "\u200d"  # holds an emoji of several together


@dataclass(frozen=True, slots=True)
class Screen:
    """Where the output goes. ``width`` is None where nothing needs to fit, in a file or a pipe."""

    width: int | None
    coloured: bool

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str] = os.environ) -> Screen:
        """Return what the stream is: a terminal has a width, and colours unless NO_COLOR is set."""
        if not stream.isatty():
            return cls(width=None, coloured=False)
        plain = bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
        return cls(width=shutil.get_terminal_size().columns, coloured=not plain)

    def paint(self, text: str, style: str | None) -> str:
        """Return the text in a style, where there are colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.coloured and style else text

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]], styles: Sequence[str | None] = ()) -> str:
        """Return the rows below their header; the last column is cut where the terminal ends."""
        cells = [[one_line(str(cell)) for cell in row] for row in rows]
        widths = [max(map(text_width, column)) for column in zip(header, *cells, strict=True)]
        if self.width is not None:
            room = self.width - sum(width + len(GAP) for width in widths[:-1])
            widths[-1] = min(widths[-1], max(room, LEAST_LAST_COLUMN))
        lines = [self.paint(_row(header, widths), "bold")]
        for index, row in enumerate(cells):
            lines.append(self.paint(_row(row, widths), styles[index] if styles else None))
        return "\n".join(lines)

    def facts(self, pairs: Sequence[tuple[str, object]]) -> str:
        """Return names and values, one pair a line."""
        widest = max(text_width(name) for name, _ in pairs)
        lines = []
        for name, value in pairs:
            label = self.paint(f"{name}:", "bold") + " " * (widest - text_width(name))
            lines.append(f"{label}{GAP}{one_line(str(value))}".rstrip())
        return "\n".join(lines)


def one_line(text: str) -> str:
    """Return the text on one line, with escapes for what is not printable: a terminal would obey it."""
    return "".join(map(_printable, text)).rstrip()


def _printable(character: str) -> str:
    if character.isprintable() or character == _JOINER:
        return character
    return " " if character.isspace() else character.encode("unicode_escape", "backslashreplace").decode("ascii")


def text_width(text: str) -> int:
    """Return how many columns the text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character == _JOINER:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return the text in at most so many columns, with a mark where something is missing."""
    if text_width(text) <= width:
        return text
    kept, used = [], 1  # the mark takes one
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [cut(cell, width) for cell, width in zip(cells, widths, strict=True)]
    padded = [cell + " " * (width - text_width(cell)) for cell, width in zip(fitted, widths, strict=True)]
    return GAP.join(padded).rstrip()
