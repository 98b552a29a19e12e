"""Settings of a process: flags, environment and defaults, and what is said of a value that cannot be read."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from memory_core.settings import address, describe, level, load, names, optional_path, positive, seconds, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Kettle:
    """Settings of a process that does not exist."""

    boil_seconds: float = setting("3m", seconds, "how long, 100% of it")
    cups: int = setting("2", positive, "how many")
    place: str = setting(lambda: "kitchen", str, "where", variable="ROOM")


def read(*flags: str, **environment: str) -> Kettle:
    """Read settings from flags and environment."""
    return load(Kettle, flags, environment, program="kettle", purpose="Boil water.")


def test_defaults_are_written_as_a_person_would_write_them() -> None:
    """They go through the same parser as any other value."""
    assert read() == Kettle(boil_seconds=180.0, cups=2, place="kitchen")


def test_a_flag_wins_over_its_variable_which_wins_over_the_default() -> None:
    """Names come from the field; the unit of a duration is in its value."""
    environment = {"AGENT_MEMORY_BOIL": "90s", "AGENT_MEMORY_CUPS": "4", "ROOM": "garden"}

    assert read("--boil", "10s", **environment) == Kettle(boil_seconds=10.0, cups=4, place="garden")


@pytest.mark.parametrize(
    ("flags", "environment", "sentence"),
    [
        (("--cups", "0"), {}, "argument --cups: '0' is not a whole number from 1 on"),
        ((), {"AGENT_MEMORY_CUPS": "many"}, "environment variable AGENT_MEMORY_CUPS: 'many' is not a whole number"),
        ((), {"AGENT_MEMORY_BOIL": "90"}, "environment variable AGENT_MEMORY_BOIL: '90' is not a duration: write"),
        (("--sugar", "1"), {}, "unrecognized arguments: --sugar 1"),
    ],
)
def test_a_value_that_cannot_be_read_ends_the_process_with_a_sentence(
    flags: tuple[str, ...], environment: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names where the value came from."""
    with pytest.raises(SystemExit, match="2"):
        read(*flags, **environment)

    assert sentence in capsys.readouterr().err


def test_every_setting_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    """The same words are in --help and in the reference."""
    rows = [(row.flag, row.variable, row.default) for row in describe(Kettle)]
    with pytest.raises(SystemExit, match="0"):
        read("--help")

    assert rows == [
        ("--boil", "AGENT_MEMORY_BOIL", "3m"),
        ("--cups", "AGENT_MEMORY_CUPS", "2"),
        ("--place", "ROOM", ""),
    ]
    assert "how long, 100% of it" in capsys.readouterr().out


def test_an_address_may_lack_its_host_or_be_off() -> None:
    """Without a host it means all addresses."""
    assert [address(text) for text in ("127.0.0.1:80", ":80", "[::1]:80", "")] == [
        ("127.0.0.1", 80),
        ("0.0.0.0", 80),
        ("::1", 80),
        None,
    ]


@pytest.mark.parametrize("text", ["80", "host:", "host:eighty", "host:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The sentence shows the form."""
    with pytest.raises(ValueError, match="is not an address: write HOST:PORT"):
        address(text)


def test_small_readers() -> None:
    """Lists, levels and optional paths."""
    assert (names("a, b,"), names(""), level("debug"), optional_path("")) == (("a", "b"), (), 10, None)
    assert optional_path("/x") == Path("/x")
    with pytest.raises(ValueError, match="'loud' is not a log level: write debug, info, warning or error"):
        level("loud")
