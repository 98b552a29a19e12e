"""The part of key templates that needs Jinja2: conditions, filters, concatenation.

A template is parsed, checked against a list of what is allowed, and only then compiled. Facts of the pod are replaced
by plain names first, so that what is compiled contains no attribute, no subscript and no call at all. What is left
cannot loop and cannot multiply: its time and its output are bounded by its source and the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, UndefinedError, nodes
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

from memory_core.errors import KeyInvalid
from memory_core.pod import PodFacts
from memory_core.templates.parts import (
    FACT_ROOTS,
    KNOWN_FACTS,
    OUTSIDE_FACTS,
    Choice,
    Fact,
    Literal,
    MissingValue,
    Part,
    Renderer,
    Variable,
    make_fact,
)

MAX_DEPTH: Final = 16
FILTERS: Final = ("default", "lower", "trim", "upper")

_HARMLESS: Final = (
    nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.If, nodes.Name, nodes.Not, nodes.Operand,
    nodes.Or, nodes.Output, nodes.Template, nodes.TemplateData,
)  # fmt: skip
TESTS: Final = ("defined", "undefined")

_ALLOWED: Final = "text, variables, if, ==, and, or, not, ~ and the filters " + ", ".join(FILTERS)
_NAMES: Final = "names of variables begin with a letter, and are no words of Jinja2"
_RESERVED: Final = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
_FACT_NAME: Final = "_fact{}"  # a caller's variable cannot begin with an underscore


class _Undefined(StrictUndefined):
    """Names what is missing and nothing else."""

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)


_ENVIRONMENT: Final = SandboxedEnvironment(undefined=_Undefined, autoescape=False)
_ENVIRONMENT.filters = {name: _ENVIRONMENT.filters[name] for name in FILTERS}
_ENVIRONMENT.tests = {name: _ENVIRONMENT.tests[name] for name in TESTS}
_ENVIRONMENT.globals = {}


def compile_jinja(source: str) -> tuple[tuple[Part, ...], Renderer]:
    """Return what a template consists of, in the order it is written, and a function that renders it.

    Raises KeyInvalid.
    """
    try:
        tree = _ENVIRONMENT.parse(source)
        _check_depth(tree)
        checker = _Checker()
        checked = checker.visit(tree)
        template = _ENVIRONMENT.from_string(checked)
    except TemplateError as error:
        raise KeyInvalid(f"the key template is not valid Jinja2: {error.message}") from error
    except RecursionError as error:
        raise KeyInvalid("the key template is nested too deeply") from error
    named = {name: fact for fact, name in checker.names.items()}

    def render(pod: PodFacts, variables: Mapping[str, str]) -> str:
        known = ((name, fact.value(pod)) for name, fact in named.items())
        context = {name: value for name, value in known if value is not None}
        try:
            return template.render({**variables, **context})
        except UndefinedError as error:
            name = str(error.message)
            raise MissingValue(named.get(name) or Variable(name)) from error

    return tuple(_statements(checked.body, named)), render


class _Checker(NodeTransformer):
    """Refuses what is not allowed, and puts a plain name in the place of each fact."""

    def __init__(self) -> None:
        self.names: dict[Fact, str] = {}

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Refuse every kind of node that is not listed."""
        if not isinstance(node, _HARMLESS):
            raise KeyInvalid(f"a key template has no {type(node).__name__.lower()}; it has {_ALLOWED}")
        return super().generic_visit(node, *args, **kwargs)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802  (named after the node)
        """Tell facts from variables of the caller."""
        if node.name in FACT_ROOTS:
            return self._fact(make_fact(node.name))
        if node.ctx != "load" or node.name.startswith("_") or node.name in _RESERVED:
            raise KeyInvalid(f"{node.name} is not a variable of a key template; {_NAMES}")
        return node

    def visit_Getattr(self, node: nodes.Getattr | nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Resolve a path to a fact; there are no other attributes."""
        path = _path(node)
        if path[:1] != ["pod"]:
            raise KeyInvalid("only pod has attributes: " + ", ".join(KNOWN_FACTS))
        if len(path) == 3 and path[1] == "labels":
            return self._fact(make_fact("pod.labels", path[2]))
        return self._fact(make_fact(".".join(path)))

    visit_Getitem = visit_Getattr  # noqa: N815

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        """Allow few filters, and only arguments that they take."""
        arguments = 0 if node.name != "default" else 1
        if node.name not in FILTERS or node.node is None:
            raise KeyInvalid(f"the filter {node.name} is not allowed in a key template; use {', '.join(FILTERS)}")
        if len(node.args) != arguments or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise KeyInvalid(f"the filter {node.name} takes {arguments} arguments in a key template")
        return super().generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802
        """Allow `is defined` and its opposite."""
        if node.name not in TESTS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise KeyInvalid(f"the test {node.name} is not allowed in a key template; use {' or '.join(TESTS)}")
        return super().generic_visit(node)

    def visit_Operand(self, node: nodes.Operand) -> nodes.Node:  # noqa: N802
        """Allow comparisons that cannot fail."""
        if node.op not in ("eq", "ne"):
            raise KeyInvalid("a key template compares with == and != only")
        return self.generic_visit(node)

    def _fact(self, fact: Fact) -> nodes.Node:
        name = self.names.setdefault(fact, _FACT_NAME.format(len(self.names)))
        return nodes.Name(name, "load")


def _path(node: nodes.Node) -> list[str]:
    """Return the names of `pod.labels['team']`; empty when it is no such path."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr):
        last: object = node.attr
    else:
        last = node.arg.value if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) else None
    start = _path(node.node) if isinstance(node, nodes.Getattr | nodes.Getitem) else []
    return [*start, last] if start and isinstance(last, str) else []


def _check_depth(tree: nodes.Node) -> None:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise KeyInvalid(f"a key template has at most {MAX_DEPTH} levels of nesting")


def _statements(body: Iterable[nodes.Node], named: Mapping[str, Fact]) -> Iterator[Part]:
    for statement in body:
        if isinstance(statement, nodes.Output):
            for expression in statement.nodes:
                yield from _expressions(expression, named)
        else:
            yield _choice(statement, named)


def _expressions(node: nodes.Node, named: Mapping[str, Fact]) -> Iterator[Part]:
    """Return what an expression writes, as far as no condition is involved."""
    if isinstance(node, nodes.TemplateData):
        yield Literal(node.data)
    elif isinstance(node, nodes.Const):
        yield Literal(str(node.value))
    elif isinstance(node, nodes.Name):
        yield named.get(node.name) or Variable(node.name)
    elif isinstance(node, nodes.Concat):
        for operand in node.nodes:
            yield from _expressions(operand, named)
    elif isinstance(node, nodes.Filter) and node.node is not None and _keeps_kind(node):
        yield from _expressions(node.node, named)
    else:
        yield _choice(node, named)


def _keeps_kind(node: nodes.Filter) -> bool:
    """Return whether a fact is still like a fact behind this filter, and a variable like a variable."""
    if not isinstance(node.node, nodes.Name):
        return isinstance(node.node, nodes.Filter) and node.name != "default" and _keeps_kind(node.node)
    if node.name != "default":
        return True
    (other,) = node.args
    return isinstance(other, nodes.Const) and isinstance(other.value, str) and not OUTSIDE_FACTS.search(other.value)


def _choice(node: nodes.Node, named: Mapping[str, Fact]) -> Choice:
    names = {name.name for name in node.find_all(nodes.Name)}
    written = set(_written_names(node))
    return Choice(
        variables=frozenset(names - named.keys()),
        facts=frozenset(named[name] for name in written & named.keys()),
    )


def _written_names(node: nodes.Node) -> Iterator[str]:
    """Return the names whose values may be written, leaving out those that are only asked for."""
    if isinstance(node, nodes.Name):
        yield node.name
    for child in node.iter_child_nodes(exclude=("test",) if isinstance(node, nodes.If | nodes.CondExpr) else None):
        yield from _written_names(child)
