"""Templates of text, facts and variables only, which is most of them: parsed and rendered here, without Jinja2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from memory_core.pod import PodFacts
from memory_core.templates.parts import FACT_ROOTS, Fact, Literal, MissingValue, Renderer, Variable, make_fact

_WORDS: Final = frozenset(
    {
        "true",
        "false",
        "none",
        "True",
        "False",
        "None",
        "not",
        "and",
        "or",
        "if",
        "else",
        "in",
        "is",
        "self",
        "super",
        "loop",
        "caller",
    }
)  # fmt: skip  (these mean something to Jinja2)
_SIMPLE: Final = re.compile(
    r"""\{\{\ *(?: pod\.labels\[(?P<quote>['"])(?P<label>[^'"\\{}]+)(?P=quote)\]
                 | (?P<path>pod\.[A-Za-z_]+) | (?P<name>[A-Za-z][A-Za-z0-9_]*) )\ *\}\}""",
    re.VERBOSE,
)
_MORE: Final = re.compile(r"\{(?:[{%#]|$)")  # a literal with this in it is not one to Jinja2


def parse_simple(source: str) -> tuple[Literal | Fact | Variable, ...] | None:
    """Split a template of text, facts and variables; None when it says more than that."""
    parts: list[Literal | Fact | Variable] = []
    position = 0
    for match in _SIMPLE.finditer(source):
        if match["name"] in _WORDS:
            return None
        if match.start() > position:
            parts.append(Literal(source[position : match.start()]))
        parts.append(_parse_expression(match))
        position = match.end()
    if position < len(source):
        parts.append(Literal(source[position:]))
    return None if any(isinstance(part, Literal) and _MORE.search(part.text) for part in parts) else tuple(parts)


def renderer(parts: tuple[Literal | Fact | Variable, ...]) -> Renderer:
    """Return the function that renders these parts."""

    def text(part: Literal | Fact | Variable, facts: PodFacts, variables: Mapping[str, str]) -> str:
        if isinstance(part, Literal):
            return part.text
        value = variables.get(part.name) if isinstance(part, Variable) else part.value(facts)
        if value is None:
            raise MissingValue(part)
        return value

    def render(facts: PodFacts, variables: Mapping[str, str]) -> str:
        return "".join([text(part, facts, variables) for part in parts])

    return render


def _parse_expression(match: re.Match[str]) -> Fact | Variable:
    if match["label"] is not None:
        return make_fact("pod.labels", match["label"])
    name = match["path"] or match["name"]
    if name in FACT_ROOTS or match["path"]:
        return make_fact(name)
    return Variable(name)
