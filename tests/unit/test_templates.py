"""Key templates: strict, bounded, and no way to another pod's conversations."""

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memory_core
from memory_core.errors import AgentMemoryError, KeyInvalid, KeyRequired, VariableMissing, VariableUnknown
from memory_core.pod import PodFacts
from memory_core.templates import FACT_ROOTS, KeyTemplate

POD = PodFacts(
    namespace="shop",
    pod_name="web-1",
    pod_uid="6f1c",
    service_account="triage",
    labels=MappingProxyType({"team": "blue", "app.kubernetes.io/name": "web"}),
)


def render(source: str, **variables: str) -> str:
    """Render for a pod of the shop."""
    return KeyTemplate.compile(source).render(POD, variables)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("{{ key }}", "42"),
        ("{{key}}", "42"),
        ("{{ key }}\n", "42"),
        ("customer:{{ key }}", "customer:42"),
        ("fixed", "fixed"),
        ("{{ namespace }}/{{ service_account }}/{{ key }}", "shop/triage/42"),
        ("{{ pod.name }}:{{ pod.uid }}", "web-1:6f1c"),
        ("{{ pod.labels['team'] }}/{{ key }}", "blue/42"),
        ('{{ pod.labels["app.kubernetes.io/name"] }}', "web"),
        ("{{ pod.labels.team }}", "blue"),
        ("{{ pod['labels']['team'] | upper }}", "BLUE"),
        ("{{ namespace ~ '/' ~ key }}", "shop/42"),
        ("{{ key | upper | lower | trim }}", "42"),
        ("{{ topic | default('general') }}/{{ key }}", "general/42"),
        ("{{ pod.labels['tier'] | default('none') }}/{{ key }}", "none/42"),
        ("{{ namespace }}/{% if topic is defined %}{{ topic }}/{% endif %}{{ key }}", "shop/42"),
        ("{% if pod.labels['team'] == 'blue' %}b{% else %}other{% endif %}/{{ key }}", "b/42"),
        ("{{ 'x' if key != '42' and not namespace == 'y' else 'z' }}", "z"),
        ("{% raw %}{{ key }}{% endraw %}/{{ key }}", "{{ key }}/42"),
        ("a{# not shown #}b{{ key }}", "ab42"),
        ("a{b}{{ key }}}", "a{b}42}"),
    ],
)
def test_templates_render(source: str, key: str) -> None:
    """Text, facts, variables, conditions and four filters."""
    template = KeyTemplate.compile(source)

    assert template.render(POD, {"key": "42"} if "key" in template.caller_variables else {}) == key


def test_the_variables_of_the_caller_are_known() -> None:
    """Whether they are needed or only possible; facts are not among them."""
    source = "{{ namespace }}/{{ user }}/{% if topic is defined %}{{ topic }}{% endif %}{{ key | default(other) }}"

    assert KeyTemplate.compile(source).caller_variables == {"user", "topic", "key", "other"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "1 to 1024 characters"),
        ("x" * 1025, "1 to 1024 characters"),
        ("a\nb", "no line ends"),
        ("{{", "not valid Jinja2"),
        ("{{ key", "not valid Jinja2"),
        ("{% if key %}", "not valid Jinja2"),
        ("{{ ''.__class__ }}", "only pod has attributes"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "no call"),
        ("{{ key.__init__ }}", "only pod has attributes"),
        ("{{ key['x'] }}", "only pod has attributes"),
        ("{{ pod.labels.__class__.x }}", "pod.labels.__class__.x is not known"),
        ("{{ pod.labels[key] }}", "only pod has attributes"),
        ("{{ pod.labels }}", "pod.labels is not known; known of the pod are namespace"),
        ("{{ pod }}", "pod is not known"),
        ("{{ pod | upper }}", "pod is not known"),
        ("{{ pod.nmae }}", "pod.nmae is not known"),
        ("{{ 'a' * 10000000 }}", "no mul"),
        ("{{ 9 ** 9 ** 9 }}", "no pow"),
        ("{{ range(1000000000) }}", "no call"),
        ("{% for i in range(10) %}{{ i }}{% endfor %}", "no for"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "no macro"),
        ("{% set key = 'x' %}{{ key }}", "no assign"),
        ("{% include 'x' %}", "no include"),
        ("{% extends 'x' %}", "no extends"),
        ("{{ [key] }}", "no list"),
        ("{{ {'a': key} }}", "no dict"),
        ("{{ key[0:2] }}", "only pod has attributes"),
        ("{{ key < 'x' }}", "== and != only"),
        ("{{ key in 'x' }}", "== and != only"),
        ("{{ key | replace('a', 'aaaaaaaa') }}", "filter replace is not allowed"),
        ("{{ key | center(100000000) }}", "filter center is not allowed"),
        ("{{ key | attr('x') }}", "filter attr is not allowed"),
        ("{{ key | lower('x') }}", "filter lower takes 0 arguments"),
        ("{{ key | default }}", "filter default takes 1 arguments"),
        ("{{ key is divisibleby 3 }}", "test divisibleby is not allowed"),
        ("{{ self }}", "self is not a variable"),
        ("{{ loop }}", "loop is not a variable"),
        ("{{ _key }}", "_key is not a variable"),
        ("{{ " + "(" * 400 + "key" + ")" * 400 + " }}", "nested too deeply"),
        ("{{ " + "not " * 200 + "key }}", "16 levels of nesting"),
        ("{% if key %}" * 30 + "{% endif %}" * 30, "16 levels of nesting"),
    ],
)
def test_what_a_template_may_not_do_is_refused_before_it_is_compiled(source: str, reason: str) -> None:
    """At once, and with a sentence."""
    with pytest.raises(KeyInvalid) as refusal:
        KeyTemplate.compile(source)

    assert reason in refusal.value.detail


@pytest.mark.parametrize(
    "source",
    [
        "{{ key }}/{{ namespace }}",
        "{{ namespace }}{{ key }}",
        "{{ namespace }}-{{ key }}",
        "{{ namespace }}-{{ service_account }}/{{ key }}",
        "{{ pod.labels['team'] | default('a/b') }}/{{ key }}",
        "{{ namespace if key else 'x' }}/{{ key }}",
        "{% if key %}{{ namespace }}{% endif %}/{{ key }}",
        "{{ namespace }}{% if key %}-x{% endif %}/{{ key }}",
        "{{ namespace }}{% if key %}/{% endif %}{{ key }}",
        "{{ key ~ '/' ~ namespace }}",
        "{{ (namespace ~ key) | lower }}",
    ],
)
def test_a_caller_cannot_write_what_looks_like_a_fact(source: str) -> None:
    """A template that would let one pod spell the key of another is refused."""
    with pytest.raises(KeyInvalid, match="write"):
        KeyTemplate.compile(source)


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True)
SEPARATORS = st.sampled_from(["/", ":", "-/", "::", "/-"])


@given(
    first=SEPARATORS, second=SEPARATORS, pods=st.lists(st.tuples(LABEL, LABEL), min_size=2, max_size=2), data=st.data()
)
def test_two_pods_never_render_the_same_key(
    first: str, second: str, pods: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Whatever their callers send, here with the separators and the other's names in it."""
    template = KeyTemplate.compile("{{ namespace }}" + first + "{{ service_account }}" + second + "{{ key }}")
    pieces = st.lists(st.sampled_from([first, second, "-", "/", *pods[0], *pods[1]]), min_size=1, max_size=6).map(
        "".join
    )
    keys = {
        (namespace, account): template.render(
            PodFacts(namespace=namespace, service_account=account), {"key": data.draw(pieces)}
        )
        for namespace, account in pods
    }

    assert len(set(keys.values())) == len(keys)


def test_a_missing_key_says_how_to_send_one() -> None:
    """And the two ways to do without."""
    with pytest.raises(KeyRequired, match=r'send "key" .* memory-key, or set key\.default'):
        render("{{ key }}")


def test_another_missing_variable_says_how_to_send_it() -> None:
    """Also where Jinja2 finds out."""
    for source in ("{{ topic }}", "{{ topic | upper }}", "{% if topic %}a{% endif %}"):
        with pytest.raises(VariableMissing, match=r'"variables": \{"topic": \.\.\.\}.*var\.topic='):
            render(source)


def test_a_missing_label_is_named() -> None:
    """The caller cannot mend it, the pod's owner can."""
    for source in ("{{ pod.labels['tier'] }}", "{{ pod.labels['tier'] | upper }}"):
        with pytest.raises(VariableMissing, match=r"needs pod\.labels\['tier'\], which this pod does not have"):
            render(source)


def test_an_unknown_pod_name_is_missing_not_empty() -> None:
    """A sidecar that was not told its pod's name does not make keys without it."""
    with pytest.raises(VariableMissing, match=r"pod\.name"):
        KeyTemplate.compile("{{ pod.name }}").render(PodFacts(namespace="shop"), {})


def test_a_variable_that_is_not_used_is_refused() -> None:
    """It names the variable and lists those in use; a mistyped scope is never ignored."""
    with pytest.raises(VariableUnknown, match="does not use topic; it uses key, user"):
        render("{{ user }}/{{ key }}", key="1", user="2", topic="3")
    with pytest.raises(VariableUnknown, match="it uses no variable of the caller"):
        render("fixed", key="1")


@pytest.mark.parametrize("name", sorted(FACT_ROOTS))
def test_a_fact_cannot_be_sent(name: str) -> None:
    """Who the pod is comes from the pod."""
    with pytest.raises(VariableUnknown, match=f"{name} is known from the pod and cannot be sent"):
        render("{{ namespace }}/{{ service_account }}/{{ pod.name }}/{{ key }}", **{"key": "1", name: "x"})


@pytest.mark.parametrize("value", ["", "a" * 513, "a\x00", "a\nb", "\x7f", "\x85", "a\ud800"])
def test_a_key_has_1_to_512_printable_characters(value: str) -> None:
    """Also when Jinja2 rendered it."""
    for source in ("{{ key }}", "{{ key | lower }}"):
        with pytest.raises(KeyInvalid):
            render(source, key=value)


@pytest.mark.parametrize("value", ["a" * 512, "日本 語", "a/b:c%d", "{x}", "🎉", " "])
def test_any_other_text_is_a_key(value: str) -> None:
    """The store's keys encode what they must."""
    assert render("{{ key }}", key=value) == value


def test_a_default_stands_in_for_a_key_that_was_not_sent() -> None:
    """And only for that."""
    template = KeyTemplate.compile("c/{{ key }}")

    assert template.render(POD, {}, default="main") == "c/main"
    assert template.render(POD, {"key": "x"}, default="main") == "c/x"
    assert KeyTemplate.compile("fixed").render(POD, {}, default="main") == "fixed"


def test_a_pinned_key_can_be_repeated_and_not_changed() -> None:
    """The pod's binding wins over the memory's default, and over the request."""
    template = KeyTemplate.compile("c/{{ key }}")

    assert template.render(POD, {}, pinned="p", default="main") == "c/p"
    assert template.render(POD, {"key": "p"}, pinned="p") == "c/p"
    with pytest.raises(KeyInvalid, match="bound to the key 'p'"):
        template.render(POD, {"key": "x"}, pinned="p")
    with pytest.raises(VariableUnknown, match="memory-key sets `key`, which the key template 'fixed' does not use"):
        KeyTemplate.compile("fixed").render(POD, {}, pinned="p")


def test_long_values_are_refused_before_they_are_multiplied() -> None:
    """A template may write a variable a hundred times."""
    with pytest.raises(KeyInvalid, match="key has 1000000 characters"):
        render("{{ key }}" * 100, key="x" * 1_000_000)


def test_usual_templates_do_not_import_jinja2() -> None:
    """It costs nine megabytes, and a sidecar may not need it."""
    program = (
        "import sys\n"
        "from memory_core.templates import KeyTemplate\n"
        "KeyTemplate.compile('{{ namespace }}/{{ pod.labels[\"a\"] }}/x:{{ key }}')\n"
        "assert 'jinja2' not in sys.modules\n"
        "KeyTemplate.compile('{{ key | lower }}')\n"
        "assert 'jinja2' in sys.modules\n"
    )
    path = str(Path(memory_core.__file__).parent.parent)

    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


FRAGMENTS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", " ", "'x'", "(", ")", "[", "]", "~", "|", ".", "==", "-", "/"]
)
WORDS = st.sampled_from(
    ["key", "namespace", "pod", "labels", "['team']", "lower", "default", "if", "else", "endif", "for"]
)
SOURCES = st.lists(FRAGMENTS | WORDS, max_size=20).map("".join)


@given(SOURCES | st.text(max_size=40), st.dictionaries(st.text(), st.text()))
def test_nothing_but_a_key_or_a_refusal_comes_out(source: str, variables: dict[str, str]) -> None:
    """Of any template, and any variables."""
    try:
        key = KeyTemplate.compile(source).render(POD, variables)
    except AgentMemoryError as refusal:
        assert refusal.detail  # noqa: PT017  (both outcomes are right)
    else:
        assert 1 <= len(key) <= 512


@given(st.text(st.sampled_from("{}%# -key'\"[].pod") | st.characters(codec="ascii"), max_size=30))
def test_a_template_rendered_here_renders_as_in_jinja2(literal: str) -> None:
    """The short way and Jinja2 agree; an empty condition sends the same template down the long way."""
    try:
        here = KeyTemplate.compile(literal + "{{ key }}").render(POD, {"key": "42"})
        there = KeyTemplate.compile(literal + "{{ key }}{% if false %}{% endif %}").render(POD, {"key": "42"})
    except AgentMemoryError:
        return
    assert here == there
