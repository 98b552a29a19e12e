"""The errors that only a sidecar has; all others are memory_core.errors.

RequestError
├── RouteNotFound          no such path
├── MethodNotAllowed       the path exists, the method does not
├── RequestTimeout         the request did not arrive in time
├── BodyTooLarge           the body is over the limit
├── HeadersTooLarge        request line and headers are over the limit
└── UnsupportedMediaType   the body is not JSON
UnavailableError
└── Overloaded             too many connections or bytes at once
AgentMemoryError
└── Internal               a fault of the sidecar itself
"""

from __future__ import annotations

from memory_core.errors import AgentMemoryError, RequestError, UnavailableError


class RouteNotFound(RequestError):
    """There is no such path."""


class MethodNotAllowed(RequestError):
    """The path exists, the method does not; `allow` in the facts lists those that do."""


class RequestTimeout(RequestError):
    """The request did not arrive in time."""


class BodyTooLarge(RequestError):
    """The body of the request is over the limit; `limit_bytes` is in the facts."""


class HeadersTooLarge(RequestError):
    """Request line and headers are over the limit; `limit_bytes` is in the facts."""


class UnsupportedMediaType(RequestError):
    """The body is not what the route reads."""


class Overloaded(UnavailableError):
    """The sidecar has too many connections or bytes in hand at once."""


class Internal(AgentMemoryError):
    """A fault of the sidecar itself; its log says more."""
