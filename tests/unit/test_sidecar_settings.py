"""Settings of the sidecar."""

from pathlib import Path

import pytest

from memory_core.settings import describe, load
from memory_sidecar.settings import Settings


def read(*arguments: str, **environment: str) -> Settings:
    """Read settings; environment variables are given without AGENT_MEMORY_."""
    variables = {f"AGENT_MEMORY_{name.upper()}": value for name, value in environment.items()}
    return load(Settings, arguments, variables, program="memory-sidecar", purpose="test")


def test_the_defaults_suit_an_injected_pod():
    """Socket, metrics and store of the documentation."""
    settings = read()

    assert settings.socket == Path("/run/agentmemory/memory.sock")
    assert settings.metrics_address == ("0.0.0.0", 9464)
    assert settings.socket_mode == 0o666
    assert settings.max_body_bytes == 4 * 1024 * 1024


def test_a_flag_wins_over_its_variable():
    """And the variable over the default."""
    assert read("--socket", "/a", socket="/b").socket == Path("/a")
    assert read(socket="/b").socket == Path("/b")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("socket", "/" + "x" * 107, "may have 107 bytes"),
        ("socket_mode", "rw", "write 0660 or 0666"),
        ("socket_mode", "0000", "lets a client in"),
        ("socket_mode", "07777", "lets a client in"),
        ("metrics_address", "9464", "write HOST:PORT"),
        ("log_level", "loud", "write debug, info, warning or error"),
        ("max_connections", "0", "from 1 on"),
        ("grace", "5", "not a duration"),
    ],
)
def test_a_value_that_cannot_be_read_ends_with_a_sentence(
    name: str, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
):
    """From a flag as from a variable, naming it."""
    for arguments, environment in (([f"--{name.replace('_', '-')}", text], {}), ([], {name: text})):
        with pytest.raises(SystemExit) as ended:
            read(*arguments, **environment)
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err


def test_metrics_are_switched_off_by_an_empty_address():
    """Nothing listens then."""
    assert read(metrics_address="").metrics_address is None


def test_every_setting_says_what_it_is_for():
    """In --help and in the reference."""
    for row in describe(Settings):
        assert len(row.help) > 10
