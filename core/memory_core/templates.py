"""Key templates: how the name of a conversation is made from what identifies the pod and what the caller sends.

Rules
  - Strict: a variable that is missing, or sent without being used, is an error that names it. Nothing becomes empty.
  - Bounded: no loops, no calls, four filters; 1 to 512 printable characters come out.
  - No two pods meet by accident: facts of the pod come first, and each is followed by a character that no fact can
    contain. Whatever a caller sends, it stays behind the facts, and from a rendered key the facts can be read back.

Most templates are text, facts and variables, and are rendered here; only one that says more pays for Jinja2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from memory_core.errors import KeyInvalid, KeyRequired, VariableMissing, VariableUnknown
from memory_core.keys import MAX_KEY_LENGTH
from memory_core.pod import PodFacts

MAX_SOURCE_CHARACTERS: Final = 1_024

_POD_FACTS: Final[dict[str, Callable[[PodFacts], str]]] = {
    "namespace": lambda facts: facts.namespace,
    "service_account": lambda facts: facts.service_account,
    "pod.name": lambda facts: facts.pod_name,
    "pod.uid": lambda facts: facts.pod_uid,
}
KNOWN_FACTS: Final = ("namespace", "service_account", "pod.name", "pod.uid", "pod.labels['LABEL']")
FACT_ROOTS: Final = frozenset({"namespace", "service_account", "pod"})

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
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
OUTSIDE_FACTS: Final = re.compile(r"[^A-Za-z0-9._-]")  # facts are names of Kubernetes and values of labels


@dataclass(frozen=True, slots=True)
class Literal:
    """Text of the template itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known about the pod: a path of _POD_FACTS, or a label."""

    path: str
    label: str | None = None

    def __str__(self) -> str:
        return self.path if self.label is None else f"pod.labels['{self.label}']"

    def value(self, facts: PodFacts) -> str | None:
        """Return the value of this pod; None when the pod does not have it."""
        if self.label is not None:
            return facts.labels.get(self.label)
        return _POD_FACTS[self.path](facts) or None


@dataclass(frozen=True, slots=True)
class Variable:
    """Something the caller sends."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Text that a condition chooses; what it may consist of."""

    variables: frozenset[str]
    facts: frozenset[Fact]  # those that may become part of the text, not those that are only asked for


Part = Literal | Fact | Variable | Choice


class MissingValue(Exception):
    """A template needs something that is not there."""

    def __init__(self, part: Fact | Variable) -> None:
        super().__init__(part)
        self.part = part


Renderer = Callable[[PodFacts, Mapping[str, str]], str]


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
        simple = _parse_simple(source.removesuffix("\n"))
        if simple is None:
            from memory_core.jinja_templates import compile_jinja  # noqa: PLC0415  (late: costs 9 MB, and few need it)

            parts, render = compile_jinja(source)
        else:
            parts, render = simple, _renderer(simple)
        if any(isinstance(part, Literal) and _UNPRINTABLE.search(part.text) for part in parts):
            raise KeyInvalid("a key template contains no line ends and no other control characters")
        caller_variables = _variables_of(parts)
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


def validate_template(source: str) -> KeyTemplate:
    """Compile a template to see whether it is allowed, as the operator does before it accepts a memory.

    Raises KeyInvalid.
    """
    return KeyTemplate.compile(source)


def check_key(key: str) -> str:
    """Return the rendered key if it may name a conversation.

    Raises KeyInvalid.
    """
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise KeyInvalid(f"the rendered key has {len(key)} characters; 1 to {MAX_KEY_LENGTH} are allowed")
    if not key.isprintable() and _UNPRINTABLE.search(key):
        raise KeyInvalid("the rendered key contains a control character or half a surrogate pair; send printable text")
    return key


def make_fact(path: str, label: str | None = None) -> Fact:
    """Return the fact of that path.

    Raises KeyInvalid, which lists what is known of a pod.
    """
    if label is None and path not in _POD_FACTS:
        raise KeyInvalid(f"{path} is not known; known of the pod are {', '.join(KNOWN_FACTS)}")
    return Fact(path, label)


def check_order(parts: Iterable[Part]) -> None:
    """Check that facts come first and can be told from what follows them.

    Raises KeyInvalid.
    """
    open_fact: Fact | None = None  # the last one, until something ends it
    only_facts = True
    for part in parts:
        if isinstance(part, Literal):
            open_fact = None if OUTSIDE_FACTS.search(part.text) else open_fact
            continue
        if open_fact is not None:
            raise KeyInvalid(f"write / or : after {open_fact}, so that its end cannot be mistaken")
        if isinstance(part, Choice) and part.facts:
            raise KeyInvalid(
                f"{min(map(str, part.facts))} cannot be chosen by a condition; write it first, or use default"
            )
        if isinstance(part, Fact) and not only_facts:
            raise KeyInvalid(f"write {part} before everything that the caller sends")
        only_facts = isinstance(part, Fact)
        open_fact = part if isinstance(part, Fact) else None


def _variables_of(parts: Iterable[Part]) -> frozenset[str]:
    names: set[str] = set()
    for part in parts:
        if isinstance(part, Variable):
            names.add(part.name)
        elif isinstance(part, Choice):
            names |= part.variables
    return frozenset(names)


def _parse_simple(source: str) -> tuple[Literal | Fact | Variable, ...] | None:
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


def _parse_expression(match: re.Match[str]) -> Fact | Variable:
    if match["label"] is not None:
        return make_fact("pod.labels", match["label"])
    name = match["path"] or match["name"]
    if name in FACT_ROOTS or match["path"]:
        return make_fact(name)
    return Variable(name)


def _renderer(parts: tuple[Literal | Fact | Variable, ...]) -> Renderer:
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
