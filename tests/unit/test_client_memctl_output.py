"""What memctl writes: tables for people, YAML and JSON for programs, and never a terminal's commands."""

import io
import json
import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent_memory.memctl.screen import Screen, cut, one_line, text_width
from agent_memory.memctl.yaml_text import escaped, yaml_text

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
PLAIN = Screen(width=None, coloured=False)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@given(JSON_VALUES)
def test_yaml_reads_back_as_the_value(value: object) -> None:
    """A YAML 1.1 reader gets every JSON value back, types included."""
    assert yaml.safe_load(yaml_text(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "Yes",
        "null",
        "~",
        "1e3",
        "0x1f",
        "2024-01-01",
        "12:30:45",
        "- a",
        "a: b",
        "#x",
        "",
        " ",
        "a\nb",
        "=",
        "<<",
    ],
)
def test_words_that_yaml_takes_for_something_else_are_quoted(value: str) -> None:
    """As values and as names."""
    assert yaml.safe_load(yaml_text({value: value})) == {value: value}


def test_a_name_of_any_length_can_be_read_back() -> None:
    """Readers look for a name's colon within 1024 characters."""
    value = {"x" * 3000: {"y" * 3000: [1, {"z" * 3000: 2}]}}

    assert yaml.safe_load(yaml_text(value)) == value


def test_yaml_is_block_style_with_plain_words() -> None:
    """It is for reading, too."""
    assert yaml_text(
        {"key": "case-1", "totals": {"messages": 2}, "evicted": [], "messages": [{"id": "a", "seq": 1}]}
    ) == ("key: case-1\ntotals:\n  messages: 2\nevicted: []\nmessages:\n  - id: a\n    seq: 1\n")


@given(st.text())
def test_json_stays_json_without_terminal_controls(text: str) -> None:
    """C1 controls and bidirectional overrides are legal in JSON and not on a terminal."""
    written = escaped(json.dumps({"a": text}, ensure_ascii=False, indent=2))

    assert json.loads(written) == {"a": text}
    assert not any(unicodedata.category(character) == "Cc" for character in written.replace("\n", ""))


@given(st.text())
def test_one_line_has_nothing_that_a_terminal_obeys(text: str) -> None:
    """No control characters, no line ends."""
    line = one_line(text)

    assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} for character in line)


def test_escape_sequences_in_a_message_are_shown_as_text() -> None:
    """A stored message cannot clear the reader's screen."""
    assert one_line("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb c\\u202ed"


@given(text=st.text(), width=st.integers(1, 40))
def test_a_cut_text_fits(text: str, width: int) -> None:
    """Wide characters count twice; what fits is not touched."""
    line = one_line(text)

    assert text_width(cut(line, width)) <= width
    assert cut(line, max(1, text_width(line))) == line


def test_a_table_ends_where_the_terminal_ends() -> None:
    """Only the last column is cut."""
    screen = Screen(width=30, coloured=False)

    assert screen.table(
        ("SEQ", "ROLE", "CONTENT"), [(1, "user", "a long text that does not fit"), (20, "tool", "日本")]
    ) == ("SEQ   ROLE   CONTENT\n1     user   a long text that…\n20    tool   日本")


def test_a_table_in_a_pipe_is_whole() -> None:
    """A program gets everything."""
    assert PLAIN.table(("A", "B"), [("x", "y" * 500)]).endswith("y" * 500)


def test_facts_are_aligned() -> None:
    """Names on the left, values on the right."""
    assert PLAIN.facts([("key", "a"), ("last seq", 3)]) == "key:        a\nlast seq:   3"


def test_colours_are_for_terminals_that_want_them() -> None:
    """Not for files, not with NO_COLOR, not for a dumb terminal."""
    assert Screen.of(Terminal(), {}).coloured
    assert not Screen.of(Terminal(), {"NO_COLOR": "1"}).coloured
    assert not Screen.of(Terminal(), {"TERM": "dumb"}).coloured
    assert Screen.of(io.StringIO(), {}) == Screen(width=None, coloured=False)
    assert Screen(width=None, coloured=True).paint("x", "red") == "\x1b[31mx\x1b[0m"
