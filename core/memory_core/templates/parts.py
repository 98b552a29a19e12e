"""What a key template is made of: text, facts of the pod, variables of the caller, and the order they must have.

Rule: no two pods meet by accident. Facts come first, and each is followed by a character that no fact can contain.
Whatever a caller sends stays behind the facts, and from a rendered key the facts can be read back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from memory_core.errors import KeyInvalid
from memory_core.pod import PodFacts

_POD_FACTS: Final[dict[str, Callable[[PodFacts], str]]] = {
    "namespace": lambda facts: facts.namespace,
    "service_account": lambda facts: facts.service_account,
    "pod.name": lambda facts: facts.pod_name,
    "pod.uid": lambda facts: facts.pod_uid,
}
KNOWN_FACTS: Final = ("namespace", "service_account", "pod.name", "pod.uid", "pod.labels['LABEL']")
FACT_ROOTS: Final = frozenset({"namespace", "service_account", "pod"})

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


def variables_of(parts: Iterable[Part]) -> frozenset[str]:
    """Return the names of the variables that a caller can send."""
    names: set[str] = set()
    for part in parts:
        if isinstance(part, Variable):
            names.add(part.name)
        elif isinstance(part, Choice):
            names |= part.variables
    return frozenset(names)
