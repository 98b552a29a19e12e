"""Which failures of a call are followed by another attempt, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory import errors
from agent_memory.errors import AgentMemoryError
from agent_memory.retry import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Retries

DEADLINE = 10.0


def retries(*, repeatable: bool, now: float = 0.0, luck: float = 0.5) -> Retries:
    """Return the attempts of a call that stands at a moment, with the randomness given."""
    return Retries(repeatable, DEADLINE, clock=lambda: now, random=lambda: luck)


def refused(kind: type[AgentMemoryError], after: float | None = None) -> AgentMemoryError:
    """Return a refusal by the sidecar."""
    return kind("not now", retry_after_seconds=after)


ALWAYS = [
    errors.SocketMissing("gone"),
    errors.SidecarUnreachable("nobody listens"),
    errors.RequestTimeout("half a request"),
    refused(errors.ConfigurationUnavailable, 1.0),
    refused(errors.TokenizerUnavailable, 1.0),
    refused(errors.Overloaded, 1.0),
    refused(errors.TooMuch, 1.0),
]
REPEATABLE_ONLY = [
    errors.ConnectionLost("broken"),
    errors.AnswerTimeout("late"),
    refused(errors.StoreUnavailable, 1.0),
    refused(errors.Unavailable, 1.0),
]
NEVER = [
    errors.SocketForbidden("not yours"),
    errors.ClientClosed("closed"),
    errors.ProtocolError("garbage"),
    errors.ResponseTooLarge("too long"),
    refused(errors.StoreUnavailable),
    refused(errors.LimitExceeded),
    refused(errors.InvalidRequest, 1.0),
    refused(errors.StoreError, 1.0),
    refused(errors.Internal),
]


@pytest.mark.parametrize("error", ALWAYS, ids=lambda error: error.reason)
@pytest.mark.parametrize("repeatable", [True, False])
def test_what_proves_that_nothing_was_done_is_repeated(error: AgentMemoryError, repeatable: bool) -> None:
    """Even a clear may be sent again then."""
    assert retries(repeatable=repeatable).pause_seconds(error) >= 0


@pytest.mark.parametrize("error", REPEATABLE_ONLY, ids=lambda error: error.reason)
def test_what_may_have_been_done_is_repeated_only_when_that_is_safe(error: AgentMemoryError) -> None:
    """An append has its idempotency key; a clear could remove what came after it."""
    assert retries(repeatable=True).pause_seconds(error) >= 0
    with pytest.raises(type(error)):
        retries(repeatable=False).pause_seconds(error)


@pytest.mark.parametrize("error", NEVER, ids=lambda error: f"{error.reason}-{error.retry_after_seconds}")
def test_what_will_not_change_is_never_repeated(error: AgentMemoryError) -> None:
    """A refusal without Retry-After stays a refusal."""
    with pytest.raises(type(error)):
        retries(repeatable=True).pause_seconds(error)


def test_the_first_lost_connection_is_tried_again_at_once() -> None:
    """It was most likely an idle one; the next loss waits."""
    attempts = retries(repeatable=True)

    assert attempts.pause_seconds(errors.ConnectionLost("broken")) == 0
    assert attempts.pause_seconds(errors.ConnectionLost("broken")) > 0


@given(luck=st.floats(0, 1, exclude_max=True), failures=st.integers(0, 900))
def test_pauses_grow_to_a_bound_and_are_jittered(luck: float, failures: int) -> None:
    """Full jitter below an exponential that stops growing."""
    attempts = retries(repeatable=True, luck=luck)
    attempts.failures = failures

    pause = attempts.pause_seconds(errors.SocketMissing("gone"))

    assert pause == luck * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (failures + 1))


def test_retry_after_is_waited_in_full() -> None:
    """Jitter comes on top, so that clients do not return together."""
    assert 3.0 < retries(repeatable=True).pause_seconds(refused(errors.Overloaded, 3.0)) < 4.0


def test_no_pause_goes_beyond_the_deadline() -> None:
    """Waiting for nothing helps nobody: the error comes at once, and says how often it was tried."""
    attempts = retries(repeatable=True, now=8.0)
    error = refused(errors.Overloaded, 3.0)

    with pytest.raises(errors.Overloaded) as raised:
        attempts.pause_seconds(error)

    assert raised.value.__notes__ == ["gave up after 1 attempt"]
