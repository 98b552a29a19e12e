"""Bindings: three forms of annotations, and one sentence for everything else."""

import json
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memory_core
from memory_core.bindings import MEMORIES, MEMORY, MEMORY_KEY, Binding, resolve_bindings
from memory_core.errors import BindingInvalid, VariableMissing
from memory_core.keys import MemoryRef
from memory_core.pod import PodFacts

TICKETS, NOTES = MemoryRef("shop", "tickets"), MemoryRef("shop", "notes")


def resolve(**annotations: str) -> tuple[Binding, ...]:
    """Resolve annotations given by their short names, for a pod of the shop."""
    return resolve_bindings(
        {f"agentmemory.io/{name.replace('_', '-')}": value for name, value in annotations.items()}, "shop"
    )


def test_one_memory_with_and_without_a_key() -> None:
    """Form one."""
    assert resolve(memory="tickets") == (Binding(TICKETS, "ReadWrite", None),)
    assert resolve(memory="tickets", memory_key="main") == (Binding(TICKETS, "ReadWrite", "main"),)


def test_several_memories_share_a_key() -> None:
    """Form two."""
    assert resolve(memory="true", memories="tickets, notes", memory_key="main") == (
        Binding(TICKETS, "ReadWrite", "main"),
        Binding(NOTES, "ReadWrite", "main"),
    )
    assert resolve(memory="true", memories="tickets") == (Binding(TICKETS),)


@pytest.mark.parametrize(
    "text",
    [
        '[{"memory": "tickets", "key": "0042", "mode": "ReadOnly"}, {"memory": "notes"}]',
        '[{memory: tickets, key: "0042", mode: ReadOnly}, {memory: notes}]',
        "- memory: tickets\n  key: 0042\n  mode: ReadOnly\n- memory: notes\n",
    ],
)
def test_a_list_says_key_and_mode_for_each(text: str) -> None:
    """Form three, in JSON and in both ways to write YAML, where a number stays as it was written."""
    assert resolve(memories=text) == (Binding(TICKETS, "ReadOnly", "0042"), Binding(NOTES, "ReadWrite", None))


def test_the_pods_own_namespace_may_be_written_out() -> None:
    """NAMESPACE/NAME is the same memory as NAME, where it names the pod's namespace."""
    assert resolve(memory="shop/tickets")[0].memory == MemoryRef("shop", "tickets")


@pytest.mark.parametrize(
    ("annotations", "detail"),
    [
        ({}, f"the pod names no memory; write {MEMORY}: NAME"),
        ({"memory_key": "x"}, f"the pod names no memory; write {MEMORY}: NAME"),
        ({"memory": "true"}, f"write {MEMORIES}: a,b"),
        ({"memory": "tickets", "memories": "notes"}, "are two forms; write"),
        ({"memories": "tickets,notes"}, f'tickets,notes needs {MEMORY}: "true" beside it, or write a list'),
        ({"memory": "true", "memories": "tickets,"}, "the names are separated by commas"),
        ({"memory": "true", "memories": ""}, "the names are separated by commas"),
        ({"memory": "true", "memories": "[{memory: tickets}]"}, "the names are separated by commas"),
        ({"memory": "true", "memories": "tickets,tickets"}, "memory shop/tickets is named twice"),
        ({"memory": "true", "memories": "tickets,shop/tickets"}, "memory shop/tickets is named twice"),
        ({"memory": "true", "memories": "tickets,support/tickets"}, "support/tickets is in another namespace"),
        ({"memory": "support/tickets"}, "a pod binds only memories of its own (shop)"),
        ({"memory": "Tickets"}, "'Tickets' is not the name of a memory; write the name of a MemoryResource"),
        ({"memory": ""}, "'' is not the name of a memory"),
        ({"memory": "a/b/c"}, "'a/b/c' is not the name of a memory"),
        ({"memory": "tickets\n"}, "is not the name of a memory"),
        ({"memory": "a" * 64}, "is not the name of a memory"),
        ({"memory": "tickets", "memory_key": "{{ user }}"}, "uses user, which only a request can send"),
        ({"memory": "tickets", "memory_key": "{{ pod.nmae }}"}, "the key of memory tickets: pod.nmae is not known"),
        ({"memory": "tickets", "memory_key": ""}, "the key of memory tickets: a key template has 1 to 1024 characters"),
        ({"memories": "[{memory: tickets}]", "memory_key": "x"}, "in a list write the key beside each memory"),
        ({"memories": "[]"}, "is not a list of memories; write [{memory: NAME"),
        ({"memories": "{memory: tickets}"}, "is not a list of memories"),
        ({"memories": "[tickets]"}, "is not a list of memories"),
        ({"memories": "[{key: x}]"}, "an entry of agentmemory.io/memories has memory"),
        ({"memories": "[{memory: tickets, colour: red}]"}, "an entry of agentmemory.io/memories has memory"),
        ({"memories": "[{memory: [tickets]}]"}, "are strings"),
        ({"memories": '[{"memory": "tickets", "key": 42}]'}, "are strings; put numbers in quotes"),
        (
            {"memories": "[{memory: tickets, mode: readonly}]"},
            "mode 'readonly' of memory tickets is unknown; write ReadOnly",
        ),
        ({"memories": "[{memory: tickets"}, "is not YAML"),
        ({"memories": "[" * 10_000}, "is not YAML"),
        ({"memories": "!!python/object/apply:os.system [ls]"}, "is not a list of memories"),
        ({"memories": "&a [*a]"}, "is not YAML (found unconstructable recursive node in"),
        ({"memories": "- {memory: tickets}\n" * 4_000}, "more than 65536 characters"),
        ({"memory": "true", "memories": ",".join(f"m{n}" for n in range(33))}, "at most 32 memories"),
        ({"memories": json.dumps([{"memory": f"m{n}"} for n in range(1000)])}, "at most 32 memories"),
    ],
)
def test_every_wrong_mix_has_a_sentence_that_says_what_to_write(annotations: dict[str, str], detail: str) -> None:
    """Nothing is guessed from half a form."""
    with pytest.raises(BindingInvalid) as refusal:
        resolve(**annotations)

    assert detail in refusal.value.detail


def test_a_key_is_made_from_what_is_known_of_the_pod() -> None:
    """It is a template; without one the pod is not pinned."""
    pod = PodFacts(namespace="shop", pod_name="web-1", labels=MappingProxyType({"team": "blue"}))

    assert Binding(TICKETS).pinned_key(pod) is None
    assert Binding(TICKETS, key="main").pinned_key(pod) == "main"
    assert Binding(TICKETS, key="{{ pod.labels['team'] }}-{{ pod.name }}").pinned_key(pod) == "blue-web-1"
    with pytest.raises(VariableMissing, match="tier"):
        Binding(TICKETS, key="{{ pod.labels['tier'] }}").pinned_key(pod)


def test_only_a_list_in_yaml_imports_the_parser() -> None:
    """A sidecar that does not need it does not pay for it."""
    program = (
        "import sys\n"
        "from memory_core.bindings import resolve_bindings\n"
        f"resolve_bindings({{'{MEMORY}': 'true', '{MEMORIES}': 'a,b'}}, 'shop')\n"
        f"resolve_bindings({{'{MEMORIES}': '[{{\"memory\": \"a\"}}]'}}, 'shop')\n"
        "assert not {'yaml', 'jinja2', 'pydantic'} & sys.modules.keys()\n"
    )
    path = str(Path(memory_core.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


VALUES = st.text() | st.sampled_from(
    ["true", "a", "a,b", "[{memory: a}]", "[{memory: a, mode: ReadOnly}]", "{{ pod.name }}"]
)


@given(st.dictionaries(st.sampled_from([MEMORY, MEMORIES, MEMORY_KEY]), VALUES))
def test_nothing_but_bindings_or_a_refusal_comes_out(annotations: dict[str, str]) -> None:
    """Annotations are written by anybody who may create pods."""
    try:
        bindings = resolve_bindings(annotations, "shop")
    except BindingInvalid as refusal:
        assert refusal.detail  # noqa: PT017  (both outcomes are right)
    else:
        assert 1 <= len(bindings) <= 32
