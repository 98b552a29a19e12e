"""Log lines of both processes: one JSON object each."""

import json
import logging

import pytest

from memory_core.logs import JsonLines, Log, configure


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Collect log lines as they are written."""
    caplog.handler.setFormatter(JsonLines())
    caplog.set_level(logging.INFO)
    return caplog


def test_a_line_is_one_json_object_with_event_and_context(lines: pytest.LogCaptureFixture) -> None:
    """Whatever is in the context, it stays one line."""
    Log("memory_core.x").info("leading", epoch=3, detail='it said "no"\nand left', where=object)

    (text,) = lines.text.splitlines()
    line = json.loads(text)
    assert (line["level"], line["event"], line["logger"]) == ("info", "leading", "memory_core.x")
    assert (line["epoch"], line["detail"], line["where"]) == (3, 'it said "no"\nand left', "<class 'object'>")


def test_an_unexpected_error_has_its_traceback(lines: pytest.LogCaptureFixture) -> None:
    """Logged once, at the edge."""
    try:
        _ = 1 / len(())
    except ZeroDivisionError as error:
        Log("memory_core.x").error("failed", error=error)

    assert "ZeroDivisionError" in json.loads(lines.text)["traceback"]


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own packages from the level that was asked for."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure(logging.DEBUG)
        Log("memory_sidecar.x").debug("ours")
        logging.getLogger("library").info("theirs")
    finally:
        root.handlers[:], root.level = before
        for package in ("memory_core", "memory_operator", "memory_sidecar"):
            logging.getLogger(package).setLevel(logging.NOTSET)

    written = capsys.readouterr().err
    assert "ours" in written
    assert "theirs" not in written
