"""Error replies of the store become this package's errors."""

import re

import pytest

from memory_core import errors
from memory_core.store.library import SOURCE
from memory_core.store.replies import translate


@pytest.mark.parametrize(
    ("reply", "kind", "facts"),
    [
        ("AMSTALE 7 ", errors.StaleConfiguration, {"revision": 7}),
        ("AMCONFLICT 1700000000000001 ", errors.VersionConflict, {"version": 1700000000000001}),
        ("AMNOINSTANCE ", errors.InstanceNotFound, {}),
        ("AMNOMESSAGE ", errors.MessageNotFound, {}),
        ("AMDUPLICATE m1 ", errors.DuplicateMessageId, {"id": "m1"}),
        ("AMTOOLARGE 3 900 ", errors.MessageTooLarge, {"messages": 3, "tokens": 900}),
        (
            "AMLIMIT 5 1 2 3 ",
            errors.LimitExceeded,
            {"version": 5, "totals": {"messages": 1, "tokens": 2, "bytes": 3}},
        ),
        ("AMMISMATCH ", errors.IdempotencyMismatch, {}),
        ("AMNOCONFIG ", errors.ConfigurationUnavailable, {}),
        ("AMFENCED 4 ", errors.FencedEpoch, {"epoch": 4}),
        ("AMCORRUPT m1 ", errors.StoreError, {}),
    ],
)
def test_refusals_of_the_functions(reply: str, kind: type[errors.AgentMemoryError], facts: dict[str, object]) -> None:
    """Each code has one error, which carries the numbers as facts."""
    error = translate(reply)

    assert type(error) is kind
    assert error.facts == facts


def test_every_code_of_the_functions_is_translated() -> None:
    """A refusal that the library gains must be translated: none ends as an unknown error of the store."""
    codes = set(re.findall(r"fail\('([A-Z]+)'", SOURCE))

    assert len(codes) == 11
    for code in codes:
        assert "the store refused" not in translate(f"AM{code} 1 2 3 4 ").detail


@pytest.mark.parametrize(
    "reply",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "READONLY You can't write against a read only replica.",
        "OOM allow-oom flag is not set on the function, can not run it when used memory > 'maxmemory'",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "ERR Function not found",
    ],
)
def test_states_that_pass_ask_to_try_again(reply: str) -> None:
    """A server that cannot serve now is unavailable."""
    assert type(translate(reply)) is errors.StoreUnavailable


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            "does not accept the user name or the password",
        ),
        ("NOAUTH HELLO must be called with the client already authenticated", "asks for a password: name its file"),
    ],
)
def test_a_refused_login_says_what_to_do(reply: str, sentence: str) -> None:
    """The sentence is about settings, not about commands."""
    assert sentence in translate(reply).detail


def test_anything_else_is_shown() -> None:
    """What is not known is passed on in the server's words."""
    error = translate("WRONGTYPE Operation against a key holding the wrong kind of value")

    assert type(error) is errors.StoreError
    assert error.detail.endswith("WRONGTYPE Operation against a key holding the wrong kind of value")
