"""Settings of a process: a frozen dataclass whose every field is a flag and an environment variable.

    resync_seconds: float = setting("5m", seconds, "how often every memory is looked at again")

is the flag --resync and the variable AGENT_MEMORY_RESYNC. A flag wins over its variable, which wins over the default.
Defaults are written as a person would write them. Nothing else reads flags or the environment.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from memory_core.durations import parse_duration_ms

_T = TypeVar("_T")

Parse = Callable[[str], Any]  # raises ValueError with a sentence that says what to write

_ABSENT: Final = object()


def setting(default: str | Callable[[], str], parse: Parse, text: str, *, variable: str | None = None) -> Any:
    """Declare a field. `variable` is only given where another name is the custom, such as POD_NAME."""
    metadata = {"default": default, "parse": parse, "help": text, "variable": variable}
    if callable(default):
        return dataclasses.field(default_factory=lambda: parse(default()), metadata=metadata)
    return dataclasses.field(default=parse(default), metadata=metadata)


@dataclass(frozen=True, slots=True)
class Described:
    """One setting in words. `default` is empty where it depends on the machine."""

    field: str
    flag: str
    variable: str
    default: str
    help: str
    parse: Parse


def describe(kind: type[Any]) -> Iterator[Described]:
    """Yield every setting of a settings class."""
    for field in dataclasses.fields(kind):
        name = field.name.removesuffix("_seconds")  # a duration carries its own unit
        meta = field.metadata
        yield Described(
            field=field.name,
            flag=f"--{name.replace('_', '-')}",
            variable=meta["variable"] or f"AGENT_MEMORY_{name.upper()}",
            default="" if callable(meta["default"]) else meta["default"],
            help=meta["help"],
            parse=meta["parse"],
        )


def load(kind: type[_T], arguments: Sequence[str], environment: Mapping[str, str], *, program: str, purpose: str) -> _T:
    """Read flags and environment; a value that cannot be read ends the process with a sentence, as argparse does."""
    parser = argparse.ArgumentParser(program, description=purpose)
    rows = tuple(describe(kind))
    for row in rows:
        words = f"{row.help} (environment: {row.variable}, default: {row.default or 'empty'})"
        parser.add_argument(row.flag, dest=row.field, default=_ABSENT, metavar="VALUE", help=words.replace("%", "%%"))
    flags = vars(parser.parse_args(arguments))
    given: dict[str, Any] = {}
    for row in rows:
        text, source = flags[row.field], f"argument {row.flag}"
        if text is _ABSENT:
            text, source = environment.get(row.variable), f"environment variable {row.variable}"
        if text is None:
            continue
        try:
            given[row.field] = row.parse(text)
        except ValueError as error:
            parser.error(f"{source}: {error}")
    return kind(**given)


def seconds(text: str) -> float:
    """Read a duration such as `15s` as seconds."""
    return parse_duration_ms(text) / 1000


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list; empty text is the empty list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def optional_text(text: str) -> str | None:
    """Read text; empty is None."""
    return text or None


def optional_path(text: str) -> Path | None:
    """Read a path; empty is None."""
    return Path(text) if text else None


def address(text: str) -> tuple[str, int] | None:
    """Read HOST:PORT; empty is None. Without a host it means all addresses."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, or nothing to switch it off")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # probes come from outside the pod


def level(text: str) -> int:
    """Read a log level by its name."""
    found = logging.getLevelNamesMapping().get(text.upper())
    if found is None:
        raise ValueError(f"{text!r} is not a log level: write debug, info, warning or error")
    return found
