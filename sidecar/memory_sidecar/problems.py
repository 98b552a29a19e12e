"""How errors become answers: RFC 9457 problems, and the one table of reasons and their status codes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from memory_core import errors as core
from memory_core.errors import AgentMemoryError
from memory_sidecar import errors as own
from memory_sidecar.http.messages import Response

CONTENT_TYPE: Final = b"application/problem+json"

_RETRY_AFTER: Final = ((b"Retry-After", b"1"),)

STATUS: Final[dict[type[AgentMemoryError], int]] = {
    core.InvalidRequest: 400,
    core.KeyRequired: 400,
    core.ReadOnlyBinding: 403,
    core.MemoryNotFound: 404,
    core.InstanceNotFound: 404,
    core.MessageNotFound: 404,
    own.RouteNotFound: 404,
    own.MethodNotAllowed: 405,
    own.RequestTimeout: 408,
    core.VersionConflict: 409,
    core.DuplicateMessageId: 409,
    core.MessageTooLarge: 413,
    own.BodyTooLarge: 413,
    own.UnsupportedMediaType: 415,
    core.KeyInvalid: 422,
    core.VariableUnknown: 422,
    core.VariableMissing: 422,
    core.IdempotencyMismatch: 422,
    core.LimitExceeded: 429,
    own.HeadersTooLarge: 431,
    own.Internal: 500,
    core.StoreError: 502,
    core.ConfigurationUnavailable: 503,
    core.StoreUnavailable: 503,
    core.TokenizerUnavailable: 503,
    own.Overloaded: 503,
}


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem. Members that depend on the reason stand beside these."""

    type: str
    title: str
    status: int
    detail: str  # one sentence that says what to do
    reason: str  # stable; the part of the answer that programs may depend on


def status_of(error: AgentMemoryError) -> int:
    """Return the status code of an error; one that no client should see is 500."""
    return STATUS.get(type(error), 500)


def problem(error: AgentMemoryError) -> Response:
    """Return the answer that reports an error."""
    status = status_of(error)
    members = {
        "type": f"urn:agentmemory:problem:{error.reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.detail,
        "reason": error.reason,
    }
    body = msgspec.json.encode({**error.facts, **members})
    return Response(status, body, CONTENT_TYPE, _headers(error))


def _headers(error: AgentMemoryError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, core.UnavailableError):
        return _RETRY_AFTER
    if isinstance(error, own.MethodNotAllowed):
        return ((b"Allow", str(error.facts["allow"]).encode()),)
    return ()
