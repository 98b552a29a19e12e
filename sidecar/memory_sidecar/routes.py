"""The API: one table. Serving, the OpenAPI document and the metrics' labels are all made of it."""

from __future__ import annotations

from typing import Final

from memory_core import errors as core
from memory_sidecar import errors as own
from memory_sidecar import metrics, schemas
from memory_sidecar.operations import Operations
from memory_sidecar.probes import Probes
from memory_sidecar.routing import Route

# What any request may be answered with, whatever its route.
EVERYWHERE: Final[tuple[type[core.AgentMemoryError], ...]] = (
    core.InvalidRequest,
    own.RequestTimeout,
    own.HeadersTooLarge,
    own.BodyTooLarge,
    own.Internal,
    own.Overloaded,
    own.MethodNotAllowed,
)

_BOUND: Final = (core.MemoryNotFound,)
_CONFIGURED: Final = (*_BOUND, core.ConfigurationUnavailable)
_NAMED: Final = (
    *_CONFIGURED,
    core.KeyRequired,
    core.KeyInvalid,
    core.VariableUnknown,
    core.VariableMissing,
)
_STORED: Final = (*_NAMED, core.StoreUnavailable, core.StoreError)
_CHANGED: Final = (*_STORED, core.ReadOnlyBinding)

_MEMORY: Final = "/v1/memories/{memory}"

MEMORY_ROUTES: Final = (
    Route(
        name="list_memories",
        method="GET",
        path="/v1/memories",
        summary="List the memories that the pod binds",
        handler=Operations.list_memories,
        answer=schemas.MemoryList,
    ),
    Route(
        name="describe",
        method="GET",
        path=_MEMORY,
        summary="Describe a memory and the policy in effect",
        handler=Operations.describe,
        answer=schemas.MemoryDescription,
        reasons=_CONFIGURED,
    ),
    Route(
        name="append",
        method="POST",
        path=f"{_MEMORY}/messages",
        summary="Append messages to a conversation, all or none",
        handler=Operations.append,
        body=schemas.AppendRequest,
        answer=schemas.AppendAnswer,
        writes=True,
        reasons=(
            *_CHANGED,
            own.UnsupportedMediaType,
            core.VersionConflict,
            core.DuplicateMessageId,
            core.IdempotencyMismatch,
            core.InstanceNotFound,
            core.MessageTooLarge,
            core.LimitExceeded,
            core.TokenizerUnavailable,
        ),
    ),
    Route(
        name="read",
        method="GET",
        path=f"{_MEMORY}/messages",
        summary="Read a page of a conversation",
        handler=Operations.read,
        query=schemas.ReadQuery,
        answer=schemas.Page,
        reasons=_STORED,
    ),
    Route(
        name="delete_message",
        method="DELETE",
        path=f"{_MEMORY}/messages/{{id}}",
        summary="Delete one message; a tool call and its results go together",
        handler=Operations.delete_message,
        query=schemas.Scope,
        answer=schemas.RemovedAnswer,
        writes=True,
        reasons=(*_CHANGED, core.InstanceNotFound, core.MessageNotFound),
    ),
    Route(
        name="delete_instance",
        method="DELETE",
        path=f"{_MEMORY}/instances",
        summary="Delete a conversation with every trace of it",
        handler=Operations.delete_instance,
        query=schemas.Scope,
        answer=schemas.DeletedAnswer,
        writes=True,
        reasons=(*_CHANGED, core.InstanceNotFound),
    ),
    Route(
        name="clear",
        method="POST",
        path=f"{_MEMORY}/clear",
        summary="Remove all messages of a conversation",
        handler=Operations.clear,
        body=schemas.ClearRequest,
        answer=schemas.ClearedAnswer,
        writes=True,
        reasons=(*_CHANGED, own.UnsupportedMediaType, core.InstanceNotFound),
    ),
    Route(
        name="stats",
        method="GET",
        path=f"{_MEMORY}/stats",
        summary="Count what a conversation holds",
        handler=Operations.stats,
        query=schemas.Scope,
        answer=schemas.StatsAnswer,
        reasons=_STORED,
    ),
    Route(
        name="health",
        method="GET",
        path=f"{_MEMORY}/health",
        summary="Probe everything that the memory needs",
        handler=Operations.health,
        answer=schemas.HealthAnswer,
        reasons=_BOUND,
        others=((503, schemas.HealthAnswer),),
    ),
    Route(
        name="explain_key",
        method="GET",
        path=f"{_MEMORY}/key",
        summary="Show what the key template renders to, or why it does not",
        handler=Operations.explain_key,
        query=schemas.Scope,
        answer=schemas.KeyAnswer,
        reasons=_NAMED,
    ),
)

PROBE_ROUTES: Final = (
    Route(
        name="healthz",
        method="GET",
        path="/healthz",
        summary="The process serves",
        handler=Probes.healthz,
        answer=schemas.Alive,
    ),
    Route(
        name="readyz",
        method="GET",
        path="/readyz",
        summary="The store is connected and every binding is configured",
        handler=Probes.readyz,
        answer=schemas.Ready,
        reasons=(core.StoreUnavailable, core.ConfigurationUnavailable),
    ),
)

OPENAPI: Final = Route(
    name="openapi",
    method="GET",
    path="/openapi.json",
    summary="This document",
    handler=Probes.openapi,
    answer="application/json",
)

METRICS: Final = Route(
    name="metrics",
    method="GET",
    path="/metrics",
    summary="Metrics for Prometheus",
    handler=Probes.metrics,
    answer=metrics.CONTENT_TYPE.decode(),
)

SOCKET_ROUTES: Final = (*MEMORY_ROUTES, *PROBE_ROUTES, OPENAPI)  # on the Unix socket
PORT_ROUTES: Final = (*PROBE_ROUTES, METRICS)  # on the TCP port, which strangers can reach: nothing about memories
