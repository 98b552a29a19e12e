"""Bindings: which memories a pod uses, under which key, and whether it may write, as its annotations say.

Three forms, and one sentence for everything else that says what to write:

    agentmemory.io/memory: NAME                       one memory; memory-key is optional
    agentmemory.io/memory: "true"                     several with the same key; memory-key is optional
    agentmemory.io/memories: a,b
    agentmemory.io/memories: [{memory, key, mode}]    a list in YAML (or JSON); key and mode are optional

`memory-key`, and `key` in the list, is a template over what is known of the pod. It gives the variable `key` of the
memory's own template its value, and pins it: a request may leave `key` out, or repeat it, and cannot change it.

A pod binds memories of its own namespace. NAMESPACE/NAME is understood as long as it names that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgspec

from memory_core.errors import BindingInvalid, KeyInvalid
from memory_core.keys import MemoryRef
from memory_core.pod import PodFacts, parse_podinfo, read_podinfo
from memory_core.templates import KeyTemplate

__all__ = ["Binding", "Mode", "PodFacts", "parse_podinfo", "read_podinfo", "resolve_bindings"]

Mode = Literal["ReadOnly", "ReadWrite"]

MEMORY: Final = "agentmemory.io/memory"
MEMORIES: Final = "agentmemory.io/memories"
MEMORY_KEY: Final = "agentmemory.io/memory-key"

MAX_BINDINGS: Final = 32
MAX_LIST_CHARACTERS: Final = 65_536

_MODES: Final = get_args(Mode)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?:(?P<namespace>{_LABEL})/)?(?P<name>{_LABEL}(?:\.{_LABEL})*)")
_LIST_EXAMPLE: Final = "[{memory: NAME, key: KEY, mode: ReadOnly}]"


@dataclass(frozen=True, slots=True)
class Binding:
    """One memory that a pod uses."""

    memory: MemoryRef
    mode: Mode = "ReadWrite"
    key: str | None = None  # template over facts of the pod; None: the caller names the conversation

    def pinned_key(self, facts: PodFacts) -> str | None:
        """Return the value of `key` that this pod is bound to, if it is.

        Raises VariableMissing when the pod does not have what the template asks for, KeyInvalid for what it renders to.
        """
        return None if self.key is None else KeyTemplate.compile(self.key).render(facts, {})


def resolve_bindings(annotations: Mapping[str, str], namespace: str) -> tuple[Binding, ...]:
    """Return what the annotations of a pod in `namespace` bind, in the order it is written.

    Raises BindingInvalid with one sentence that says what to write.
    """
    memory, memories = annotations.get(MEMORY), annotations.get(MEMORIES)
    key = annotations.get(MEMORY_KEY)
    if memory == "true":
        if memories is None:
            raise BindingInvalid(f'{MEMORY}: "true" needs the names of the memories; write {MEMORIES}: a,b')
        bindings = tuple(_binding(name, key, "ReadWrite", namespace) for name in _split_names(memories))
    elif memory is not None:
        if memories is not None:
            raise BindingInvalid(
                f"{MEMORY} and {MEMORIES} are two forms; "
                f'write {MEMORY}: NAME for one memory, or {MEMORY}: "true" beside {MEMORIES}: a,b for several'
            )
        bindings = (_binding(memory, key, "ReadWrite", namespace),)
    elif memories is not None:
        bindings = tuple(_list_bindings(memories, key, namespace))
    else:
        raise BindingInvalid(f"the pod names no memory; write {MEMORY}: NAME")
    _check_distinct(bindings)
    return bindings


def _binding(name: str, key: str | None, mode: str, namespace: str) -> Binding:
    match = _NAME.fullmatch(name)
    if match is None or len(name) > 253:
        raise BindingInvalid(
            f"{name[:80]!r} is not the name of a memory; write the name of a MemoryResource in the pod's namespace"
        )
    if mode not in _MODES:
        raise BindingInvalid(f"mode {mode[:80]!r} of memory {name} is unknown; write {' or '.join(_MODES)}")
    if key is not None:
        _check_key_template(key, name)
    if (match["namespace"] or namespace) != namespace:
        raise BindingInvalid(
            f"memory {name} is in another namespace, and a pod binds only memories of its own ({namespace}); "
            "create a MemoryResource there"
        )
    return Binding(MemoryRef(namespace, match["name"]), mode, key)  # type: ignore[arg-type]


def _check_key_template(key: str, name: str) -> None:
    try:
        template = KeyTemplate.compile(key)
    except KeyInvalid as error:
        raise BindingInvalid(f"the key of memory {name}: {error.detail}") from error
    if template.caller_variables:
        variables = ", ".join(sorted(template.caller_variables))
        raise BindingInvalid(
            f"the key of memory {name} uses {variables}, which only a request can send; "
            "write what is known of the pod, or leave the key out"
        )


def _split_names(memories: str) -> list[str]:
    names = [name.strip() for name in memories.split(",")]
    if not all(names) or memories.lstrip().startswith(("[", "-")):
        raise BindingInvalid(
            f'beside {MEMORY}: "true" the names are separated by commas; write {MEMORIES}: a,b, '
            f"or leave {MEMORY} out and write a list: {_LIST_EXAMPLE}"
        )
    return names


def _list_bindings(memories: str, key: str | None, namespace: str) -> Iterator[Binding]:
    if key is not None:
        raise BindingInvalid(
            f"{MEMORY_KEY} goes with {MEMORY}; in a list write the key beside each memory: {_LIST_EXAMPLE}"
        )
    items = _parse_list(memories)
    if isinstance(items, str):
        raise BindingInvalid(
            f'{MEMORIES}: {items[:80]} needs {MEMORY}: "true" beside it, or write a list: {_LIST_EXAMPLE}'
        )
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BindingInvalid(f"{MEMORIES} is not a list of memories; write {_LIST_EXAMPLE}")
    for item in items[: MAX_BINDINGS + 1]:
        if "memory" not in item or not item.keys() <= {"memory", "key", "mode"}:
            raise BindingInvalid(
                f"an entry of {MEMORIES} has memory, and key and mode if you like; write {_LIST_EXAMPLE}"
            )
        if not all(isinstance(value, str) for value in item.values()):
            raise BindingInvalid(f"memory, key and mode in {MEMORIES} are strings; put numbers in quotes")
        yield _binding(item["memory"], item.get("key"), item.get("mode", "ReadWrite"), namespace)


def _parse_list(memories: str) -> Any:
    """Return the parsed list: JSON at no cost, YAML by a parser that is imported only now.

    Every scalar of the YAML is taken as the text it is, so that 0042 or true stay what was written.
    """
    if len(memories) > MAX_LIST_CHARACTERS:
        raise BindingInvalid(f"{MEMORIES} has more than {MAX_LIST_CHARACTERS} characters; bind fewer memories")
    try:
        return msgspec.json.decode(memories)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _parse_yaml(memories)


def _parse_yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415  (late: costs 4 MB, and only this form needs it)

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (BaseLoader makes text, lists and dictionaries only)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BindingInvalid(
            f"{MEMORIES} is not YAML ({' '.join(str(error).split())[:120]}); write {_LIST_EXAMPLE}"
        ) from error


def _check_distinct(bindings: tuple[Binding, ...]) -> None:
    if len(bindings) > MAX_BINDINGS:
        raise BindingInvalid(f"a pod binds at most {MAX_BINDINGS} memories; this one binds {len(bindings)} or more")
    seen: set[MemoryRef] = set()
    for binding in bindings:
        if binding.memory in seen:
            raise BindingInvalid(f"memory {binding.memory} is named twice; name it once")
        seen.add(binding.memory)
