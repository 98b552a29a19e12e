"""How refusals become errors of the client."""

import pickle
import re

import pytest

from agent_memory import errors
from agent_memory.errors import AgentMemoryError, from_problem


def test_a_reason_becomes_the_class_of_its_name() -> None:
    """Everything that the problem says is kept."""
    problem = {
        "type": "urn:agentmemory:problem:LimitExceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "the conversation is full",
        "reason": "LimitExceeded",
        "totals": {"messages": 3},
    }
    error = from_problem(429, problem, retry_after_seconds=2.0)

    assert type(error) is errors.LimitExceeded
    assert (error.status, error.reason, error.detail) == (429, "LimitExceeded", "the conversation is full")
    assert error.facts == {"totals": {"messages": 3}}
    assert error.retry_after_seconds == 2.0
    assert str(error) == "LimitExceeded: the conversation is full"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.InvalidRequest),
        (403, errors.AccessDenied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.Unprocessable),
        (423, errors.RequestRefused),
        (429, errors.TooMuch),
        (500, errors.Internal),
        (503, errors.Unavailable),
        (507, errors.ServerFailed),
        (302, errors.ProtocolError),
    ],
)
def test_an_unknown_reason_becomes_the_class_of_its_status(status: int, expected: type[AgentMemoryError]) -> None:
    """A newer sidecar may refuse for reasons that this client does not know; it keeps them."""
    error = from_problem(status, {"reason": "SomethingNew", "detail": "so it is"})

    assert type(error) is expected
    assert error.reason == "SomethingNew"


@pytest.mark.parametrize("problem", [{}, {"reason": 7, "detail": None}])
def test_a_problem_without_words_is_still_an_error(problem: dict[str, object]) -> None:
    """A proxy or a crash may answer without a problem."""
    error = from_problem(500, problem)

    assert error.reason == "Internal"
    assert "500" in error.detail


def test_a_client_side_class_is_never_made_from_a_reason() -> None:
    """A reason that is named like an error of our own side does not claim that nothing was sent."""
    assert type(from_problem(400, {"reason": "SocketMissing", "detail": "?"})) is errors.InvalidRequest


def test_errors_survive_pickling() -> None:
    """A worker process can hand its error to its parent."""
    error = from_problem(409, {"reason": "VersionConflict", "detail": "older", "version": 4})
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is errors.VersionConflict
    assert (copy.detail, copy.facts, copy.status) == ("older", {"version": 4}, 409)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Each class stands in the drawing, below its parent."""
    lines = [line[4:] for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    tree = [re.sub(r"(\w)  .*", r"\1", line) for line in lines]

    assert tree == drawn(AgentMemoryError)


def drawn(branch: type[AgentMemoryError], label: str = "", indent: str = "") -> list[str]:
    """Draw a branch as the docstring does."""
    lines = [label + branch.__name__]
    children = branch.__subclasses__()
    for child in children:
        last = child is children[-1]
        lines += drawn(child, indent + ("└── " if last else "├── "), indent + ("    " if last else "│   "))
    return lines
