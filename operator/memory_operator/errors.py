"""Errors of the operator's own making; those of the store and of specifications are in memory_core.errors.

AgentMemoryError
├── ApiError            the Kubernetes API did not do what was asked
│   ├── ApiUnavailable  no answer, or an answer that says "later"
│   ├── ApiConflict     the object changed meanwhile; look again
│   ├── ApiNotFound     the object is gone
│   └── ApiRefused      forbidden or invalid: a person must act
└── LeadershipLost      another replica may lead now; this process must not write any more
"""

from __future__ import annotations

from memory_core.errors import AgentMemoryError


class ApiError(AgentMemoryError):
    """The Kubernetes API did not do what was asked."""


class ApiUnavailable(ApiError):
    """There was no answer, or one that says "later"."""


class ApiConflict(ApiError):
    """The object changed meanwhile."""


class ApiNotFound(ApiError):
    """The object is gone, or its kind is not installed."""


class ApiRefused(ApiError):
    """The request is forbidden or invalid; a person must act."""


class LeadershipLost(AgentMemoryError):
    """Another replica may lead now; this process must not write any more."""
