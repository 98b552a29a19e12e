"""Who the pod is: environment variables and the files of a downward API volume."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_core.errors import BindingInvalid
from memory_core.pod import PodFacts, parse_podinfo, read_podinfo

ENVIRONMENT = {
    "POD_NAMESPACE": "shop",
    "POD_NAME": "web-1",
    "POD_UID": "6f1c",
    "POD_SERVICE_ACCOUNT": "triage",
}


def test_facts_come_from_the_environment_and_the_labels_file(tmp_path: Path) -> None:
    """As the injected container spec provides them."""
    (tmp_path / "labels").write_text('app.kubernetes.io/name="web"\nteam="blue"')

    facts = PodFacts.from_environment(ENVIRONMENT, tmp_path)

    assert (facts.namespace, facts.pod_name, facts.pod_uid, facts.service_account) == (
        "shop",
        "web-1",
        "6f1c",
        "triage",
    )
    assert facts.labels == {"app.kubernetes.io/name": "web", "team": "blue"}


def test_without_a_volume_there_are_no_labels() -> None:
    """A template that needs one says so."""
    assert PodFacts.from_environment({"POD_NAMESPACE": "shop"}).labels == {}


def test_without_a_namespace_there_is_no_scope() -> None:
    """It is never taken from elsewhere."""
    with pytest.raises(BindingInvalid, match=r"set POD_NAMESPACE from metadata\.namespace"):
        PodFacts.from_environment({"POD_NAMESPACE": ""})


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """Not an empty set of annotations."""
    with pytest.raises(BindingInvalid, match=r"annotations cannot be read .* mount a downward API volume"):
        read_podinfo(tmp_path / "annotations")


def test_values_are_quoted_as_in_go() -> None:
    """The kubelet writes them with %q: escapes, line ends, quotes, and printable Unicode as it is."""
    text = (
        'agentmemory.io/memories="- memory: tickets\\n  key: \\"a\\\\b\\"\\n"\n'
        'note="caf\u00e9 \\u200b \\U0001f600 \\x7f\\t"\n'
        'empty=""\n'
    )

    assert parse_podinfo(text) == {
        "agentmemory.io/memories": '- memory: tickets\n  key: "a\\b"\n',
        "note": "caf\u00e9 \u200b \U0001f600 \x7f\t",
        "empty": "",
    }


@pytest.mark.parametrize("line", ["x", "x=y", 'x="y', 'x="y" z', '="y"', 'x="\\"'])
def test_another_format_is_an_error(line: str) -> None:
    """Half a line is not half an annotation."""
    with pytest.raises(BindingInvalid, match="not a line of a downward API volume"):
        parse_podinfo(line)


def quote(value: str) -> str:
    """Quote as Go's %q does, escaping more than it would."""
    return (
        '"' + "".join(f"\\U{ord(character):08x}" if character not in "az" else character for character in value) + '"'
    )


@given(
    st.dictionaries(st.from_regex(r"[a-z./-]{1,20}", fullmatch=True), st.text(st.characters(codec="utf-8")), max_size=5)
)
def test_every_value_comes_back(values: dict[str, str]) -> None:
    """Whatever an annotation holds."""
    assert parse_podinfo("".join(f"{key}={quote(value)}\n" for key, value in values.items())) == values


@given(st.text())
def test_nothing_but_values_or_a_refusal_comes_out(text: str) -> None:
    """Of any file."""
    try:
        assert isinstance(parse_podinfo(text), dict)
    except BindingInvalid as refusal:
        assert refusal.detail  # noqa: PT017  (both outcomes are right)
