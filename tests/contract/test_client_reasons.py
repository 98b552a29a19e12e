"""The client knows every reason that the sidecar gives, with the status that the sidecar gives it."""

import pytest

from agent_memory.errors import from_problem
from memory_core.errors import AgentMemoryError
from memory_sidecar.problems import STATUS


@pytest.mark.parametrize("refusal", STATUS, ids=lambda refusal: refusal.__name__)
def test_each_reason_of_the_sidecar_is_a_class_of_the_client(refusal: type[AgentMemoryError]) -> None:
    """An agent can catch what it can do something about by name."""
    error = from_problem(STATUS[refusal], {"reason": refusal.__name__, "detail": "so it is"})

    assert type(error).__name__ == refusal.__name__
    assert type(error).default_status == STATUS[refusal]
