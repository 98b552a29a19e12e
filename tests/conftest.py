"""What every test shares: Hypothesis without a clock, and the logs of the programs that a failed test started."""

from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from support.processes import Program

pytest_plugins = [
    "support.servers",
    "support.conversations",
    "support.pod",
    "support.operators",
    "support.sidecars",
    "support.specified",
]

PROGRAMS = pytest.StashKey[list[Program]]()

hypothesis.settings.register_profile("shared-machine", deadline=None)  # other programs run beside the tests
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Generator[list[Program]]:
    """Collect the programs of a test: they are stopped after it, in reverse, and their logs are shown when it fails."""
    started: list[Program] = request.node.stash.setdefault(PROGRAMS, [])
    yield started
    for program in reversed(started):
        if program.running:
            program.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the logs of a failed test's programs to its report."""
    report = yield
    if report.failed:
        report.sections += [(each.name, each.tail()) for each in item.stash.get(PROGRAMS, [])]
    return report


@pytest.fixture
def repository() -> Path:
    """Return the root of the repository."""
    return Path(__file__).parents[1]
