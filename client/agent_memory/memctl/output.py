"""What a command shows: one value, as a table for people or as JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from agent_memory.answers import Message
from agent_memory.memctl.screen import Screen
from agent_memory.memctl.yaml_text import escaped, yaml_text


@dataclass(frozen=True, slots=True)
class Result:
    """A command's answer. ``note`` is for people and goes to standard error."""

    value: object
    table: Callable[[Screen], str]
    note: str = ""


def text_of(result: Result, form: str, screen: Screen) -> str:
    """Return the result as ``table``, ``json`` or ``yaml``."""
    if form == "json":
        return escaped(json.dumps(plain(result.value), indent=2, ensure_ascii=False)) + "\n"
    if form == "yaml":
        return yaml_text(plain(result.value))
    return result.table(screen) + "\n"


def plain(value: object) -> Any:
    """Return the value as JSON has it; a message is what was stored, without our wrapping."""
    if isinstance(value, Message):
        return plain(value.data)
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return value
