"""Key templates: how the name of a conversation is made from what identifies the pod and what the caller sends.

Rules
  - Strict: a variable that is missing, or sent without being used, is an error that names it. Nothing becomes empty.
  - Bounded: no loops, no calls, four filters; 1 to 512 printable characters come out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from memory_core.errors import KeyInvalid, KeyRequired, VariableMissing, VariableUnknown
from memory_core.keys import MAX_KEY_LENGTH
from memory_core.pod import PodFacts
from memory_core.templates.parts import (
    FACT_ROOTS,
    Fact,
    Literal,
    MissingValue,
    Part,
    Renderer,
    Variable,
    check_order,
    variables_of,
)
from memory_core.templates.simple import parse_simple, renderer

MAX_SOURCE_CHARACTERS: Final = 1_024

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A compiled key template."""

    source: str
    caller_variables: frozenset[str]
    _render: Renderer

    @classmethod
    def compile(cls, source: str) -> KeyTemplate:
        """Compile a template.

        Raises KeyInvalid with a sentence that says what is not allowed.
        """
        if not 1 <= len(source) <= MAX_SOURCE_CHARACTERS:
            raise KeyInvalid(f"a key template has 1 to {MAX_SOURCE_CHARACTERS} characters")
        parts: tuple[Part, ...]
        simple = parse_simple(source.removesuffix("\n"))
        if simple is None:
            from memory_core.templates.jinja import compile_jinja  # noqa: PLC0415  (late: costs 9 MB, and few need it)

            parts, render = compile_jinja(source)
        else:
            parts, render = simple, renderer(simple)
        if any(isinstance(part, Literal) and _UNPRINTABLE.search(part.text) for part in parts):
            raise KeyInvalid("a key template contains no line ends and no other control characters")
        caller_variables = variables_of(parts)
        if caller_variables:
            check_order(parts)
        return cls(source, caller_variables, render)

    def render(
        self, facts: PodFacts, variables: Mapping[str, str], *, pinned: str | None = None, default: str | None = None
    ) -> str:
        """Return the key of a conversation.

        `pinned` is the value of `key` that the pod's binding sets, which a request may repeat but not change; `default`
        is the memory's, for a request without one. Raises KeyRequired, KeyInvalid, VariableMissing, VariableUnknown.
        """
        if not variables.keys() <= self.caller_variables:
            raise VariableUnknown(self._describe_unknown(sorted(variables.keys() - self.caller_variables)))
        for name, value in variables.items():
            if not value:
                raise KeyInvalid(f"{name} is empty; send at least one character")
            if len(value) > MAX_KEY_LENGTH:
                raise KeyInvalid(f"{name} has {len(value)} characters; at most {MAX_KEY_LENGTH} are allowed")
        if pinned is not None:
            variables = self._pin(variables, pinned)
        elif default is not None and "key" in self.caller_variables and "key" not in variables:
            variables = {**variables, "key": default}
        try:
            key = self._render(facts, variables)
        except MissingValue as error:
            raise _explain_missing(error.part, self.source) from error
        return check_key(key)

    def _pin(self, variables: Mapping[str, str], pinned: str) -> Mapping[str, str]:
        if "key" not in self.caller_variables:
            raise VariableUnknown(
                f"the pod's annotation memory-key sets `key`, which the key template {self.source!r} does not use; "
                "remove the annotation"
            )
        if variables.get("key", pinned) != pinned:
            raise KeyInvalid(f"this pod is bound to the key {pinned!r} by its annotation memory-key; leave `key` out")
        return {**variables, "key": pinned}

    def _describe_unknown(self, unknown: list[str]) -> str:
        known = ", ".join(sorted(self.caller_variables)) or "no variable of the caller"
        facts = [name for name in unknown if name in FACT_ROOTS]
        if facts:
            return f"{', '.join(facts)} is known from the pod and cannot be sent; the key template uses {known}"
        return f"the key template {self.source!r} does not use {', '.join(unknown)[:200]}; it uses {known}"


def check_key(key: str) -> str:
    """Return the rendered key if it may name a conversation.

    Raises KeyInvalid.
    """
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise KeyInvalid(f"the rendered key has {len(key)} characters; 1 to {MAX_KEY_LENGTH} are allowed")
    if not key.isprintable() and _UNPRINTABLE.search(key):
        raise KeyInvalid("the rendered key contains a control character or half a surrogate pair; send printable text")
    return key


def _explain_missing(part: Fact | Variable, source: str) -> KeyRequired | VariableMissing:
    if isinstance(part, Fact):
        return VariableMissing(
            f"the key template {source!r} needs {part}, which this pod does not have; set it on the pod"
        )
    if part.name == "key":
        return KeyRequired(
            'no conversation was named: send "key" (in a query: key=...), '
            "bind one with the pod's annotation memory-key, or set key.default in the memory"
        )
    return VariableMissing(
        f"the key template {source!r} needs {part.name}: "
        f'send "variables": {{"{part.name}": ...}} (in a query: var.{part.name}=...)'
    )
