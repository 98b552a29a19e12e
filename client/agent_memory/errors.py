"""Everything that can go wrong with a call, in one tree.

A refusal by the sidecar becomes the class named like its ``reason``; a reason that this version does not know becomes
the class of its status, and keeps its own ``reason``. Catch the branch that you can do something about::

    AgentMemoryError
    ├── SidecarUnreachable          no connection: nothing was sent
    │   ├── SocketMissing
    │   └── SocketForbidden
    ├── ConnectionLost              sent, and no answer: it may have been done
    │   └── AnswerTimeout
    ├── ProtocolError               an answer that this client cannot read
    │   └── ResponseTooLarge
    ├── ClientClosed
    ├── RequestRefused              4xx: the same request will be refused again
    │   ├── InvalidRequest          400
    │   │   └── KeyRequired
    │   ├── AccessDenied            403
    │   │   └── ReadOnlyBinding
    │   ├── NotFound                404
    │   │   ├── MemoryNotFound
    │   │   ├── InstanceNotFound
    │   │   ├── MessageNotFound
    │   │   └── RouteNotFound
    │   ├── MethodNotAllowed        405
    │   ├── RequestTimeout          408
    │   ├── Conflict                409
    │   │   ├── VersionConflict
    │   │   └── DuplicateMessageId
    │   ├── TooLarge                413
    │   │   ├── MessageTooLarge
    │   │   └── BodyTooLarge
    │   ├── UnsupportedMediaType    415
    │   ├── Unprocessable           422
    │   │   ├── KeyInvalid
    │   │   ├── VariableUnknown
    │   │   ├── VariableMissing
    │   │   └── IdempotencyMismatch
    │   ├── TooMuch                 429
    │   │   └── LimitExceeded
    │   └── HeadersTooLarge         431
    └── ServerFailed                5xx
        ├── Internal                500
        ├── StoreError              502
        └── Unavailable             503: try again
            ├── StoreUnavailable
            ├── ConfigurationUnavailable
            ├── TokenizerUnavailable
            └── Overloaded
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class AgentMemoryError(Exception):
    """A call that did not succeed.

    ``reason`` is stable and meant for programs, ``detail`` is a sentence for people, ``facts`` are the further members
    of the problem (for example ``totals``), ``status`` is the HTTP status or None where no answer came,
    ``retry_after_seconds`` is what the sidecar asked to wait.
    """

    default_status: int | None = None

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        reason: str | None = None,
        facts: Mapping[str, object] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = type(self).__name__ if reason is None else reason
        self.status = self.default_status if status is None else status
        self.facts = dict(facts or {})
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class SidecarUnreachable(AgentMemoryError):
    """No connection to the socket could be made; nothing was sent."""


class SocketMissing(SidecarUnreachable):
    """The socket's path does not exist."""


class SocketForbidden(SidecarUnreachable):
    """This user may not open the socket."""


class ConnectionLost(AgentMemoryError):
    """The connection broke before the whole answer came; the sidecar may have done what was asked."""


class AnswerTimeout(ConnectionLost):
    """The answer did not come in time; the sidecar may have done what was asked."""


class ProtocolError(AgentMemoryError):
    """The answer is not one that this client can read."""


class ResponseTooLarge(ProtocolError):
    """The answer is larger than ``Settings.max_response_bytes``."""


class ClientClosed(AgentMemoryError):
    """The client was closed before the call."""


class RequestRefused(AgentMemoryError):
    """The sidecar refused the request (4xx)."""


class InvalidRequest(RequestRefused):
    """The request is malformed (400)."""

    default_status = 400


class KeyRequired(InvalidRequest):
    """The memory's key template needs a key and none was sent."""


class AccessDenied(RequestRefused):
    """The pod may not do this (403)."""

    default_status = 403


class ReadOnlyBinding(AccessDenied):
    """The pod's binding to the memory allows reading only."""


class NotFound(RequestRefused):
    """What was named does not exist (404)."""

    default_status = 404


class MemoryNotFound(NotFound):
    """The pod has no binding to a memory of this name."""


class InstanceNotFound(NotFound):
    """The conversation does not exist."""


class MessageNotFound(NotFound):
    """The conversation has no message with this id."""


class RouteNotFound(NotFound):
    """The sidecar does not know this route: it is older than this client, or newer."""


class MethodNotAllowed(RequestRefused):
    """The route does not take this method (405)."""

    default_status = 405


class RequestTimeout(RequestRefused):
    """The sidecar did not receive the whole request in time (408)."""

    default_status = 408


class Conflict(RequestRefused):
    """The conversation is not in the state that the request expects (409)."""

    default_status = 409


class VersionConflict(Conflict):
    """The conversation's version is not the expected one; ``facts["version"]`` is the present one."""


class DuplicateMessageId(Conflict):
    """A message with this id is already stored."""


class TooLarge(RequestRefused):
    """The request is larger than allowed (413)."""

    default_status = 413


class MessageTooLarge(TooLarge):
    """One message is larger than the memory can ever hold."""


class BodyTooLarge(TooLarge):
    """The request body is larger than the sidecar accepts."""


class UnsupportedMediaType(RequestRefused):
    """The body is not JSON (415)."""

    default_status = 415


class Unprocessable(RequestRefused):
    """The request is well formed and cannot be followed (422)."""

    default_status = 422


class KeyInvalid(Unprocessable):
    """The rendered key is empty or too long."""


class VariableUnknown(Unprocessable):
    """A variable was sent that the memory's key template does not use."""


class VariableMissing(Unprocessable):
    """The memory's key template needs a variable that was not sent."""


class IdempotencyMismatch(Unprocessable):
    """The idempotency key was used before, for another request."""


class TooMuch(RequestRefused):
    """A limit or a rate was reached (429)."""

    default_status = 429


class LimitExceeded(TooMuch):
    """The memory is full and does not evict; ``facts["totals"]`` says how full."""


class HeadersTooLarge(RequestRefused):
    """The request's headers, the target included, are larger than the sidecar accepts (431)."""

    default_status = 431


class ServerFailed(AgentMemoryError):
    """The sidecar could not do what was asked (5xx)."""


class Internal(ServerFailed):
    """The sidecar failed in a way it did not expect (500)."""

    default_status = 500


class StoreError(ServerFailed):
    """The store refused the command (502)."""

    default_status = 502


class Unavailable(ServerFailed):
    """The sidecar cannot serve this at the moment (503)."""

    default_status = 503


class StoreUnavailable(Unavailable):
    """The store is away; it may have done what was asked."""


class ConfigurationUnavailable(Unavailable):
    """The sidecar has no configuration of the memory yet; nothing was done."""


class TokenizerUnavailable(Unavailable):
    """The tokens cannot be counted and the memory does not accept estimates; nothing was done."""


class Overloaded(Unavailable):
    """The sidecar has too much to do; nothing was done."""


def _tree(branch: type[AgentMemoryError]) -> Iterator[type[AgentMemoryError]]:
    """Yield the branch and everything below it, parents first."""
    yield branch
    for child in branch.__subclasses__():
        yield from _tree(child)


_REFUSALS = (*_tree(RequestRefused), *_tree(ServerFailed))
_BY_REASON = {refusal.__name__: refusal for refusal in _REFUSALS}
_BY_STATUS: dict[int, type[AgentMemoryError]] = {}
for _refusal in _REFUSALS:  # parents come first and stay
    if _refusal.default_status is not None:
        _BY_STATUS.setdefault(_refusal.default_status, _refusal)

_PLAIN_MEMBERS = frozenset({"type", "title", "status", "detail", "reason"})


def from_problem(
    status: int, problem: Mapping[str, object], *, retry_after_seconds: float | None = None
) -> AgentMemoryError:
    """Return the error for an RFC 9457 problem; a reason that is not known here gives the class of its status."""
    reason = problem.get("reason")
    known = _BY_REASON.get(reason) if isinstance(reason, str) else None
    detail = problem.get("detail") or problem.get("title") or f"the sidecar answered with status {status}"
    return (known or _of_status(status))(
        str(detail),
        status=status,
        reason=reason if isinstance(reason, str) else None,
        facts={name: value for name, value in problem.items() if name not in _PLAIN_MEMBERS},
        retry_after_seconds=retry_after_seconds,
    )


def _of_status(status: int) -> type[AgentMemoryError]:
    if found := _BY_STATUS.get(status):
        return found
    if 400 <= status < 500:
        return RequestRefused
    return ServerFailed if status >= 500 else ProtocolError
