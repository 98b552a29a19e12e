"""The OpenAPI 3.1 document, made of the table of routes and the shapes of requests and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from memory_core.errors import AgentMemoryError
from memory_sidecar import schemas
from memory_sidecar.problems import STATUS, Problem
from memory_sidecar.routes import EVERYWHERE
from memory_sidecar.routing import Route

_REF: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ABOUT: Final = (
    "The memories of one pod, on its Unix socket. A conversation is named by the variables of the memory's key "
    "template: `key`, or `var.NAME` in a query and `variables` in a body. Errors are RFC 9457 problems; programs "
    "depend on `reason`, people read `detail`."
)

Json = dict[str, Any]


def document(routes: Sequence[Route]) -> bytes:
    """Return the document of these routes."""
    types = sorted({each for route in routes for each in _types(route)}, key=lambda each: each.__name__)
    _, components = msgspec.json.schema_components([*types, schemas.StoredMessage, Problem], ref_template=_REF)
    queries = {route.query.__name__ for route in routes if route.query is not None}  # listed as parameters instead
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Agent memory", "version": _version(), "description": _ABOUT},
        "servers": [{"url": "http://localhost", "description": "over the Unix socket AGENT_MEMORY_SOCKET"}],
        "paths": paths,
        "components": {"schemas": {name: components[name] for name in sorted(components) if name not in queries}},
    }
    return msgspec.json.encode(whole)


def _version() -> str:
    try:
        return version("agentmemory-platform")
    except PackageNotFoundError:  # run from a source tree
        return "0"


def _types(route: Route) -> list[type[msgspec.Struct]]:
    given = [route.body, route.query, *(kind for _, kind in route.others)]
    types = [each for each in given if each is not None]
    return types if isinstance(route.answer, str) else [*types, route.answer]


def _operation(route: Route, components: dict[str, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, components)],
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(route.body)}
    return operation


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route, components: dict[str, Json]) -> list[Json]:
    if route.query is None:
        return []
    properties: dict[str, Json] = components[route.query.__name__]["properties"]
    parameters: list[Json] = [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    if route.takes_variables:
        variables = {"type": "object", "additionalProperties": {"type": "string"}}
        about = "A variable of the key template, sent as var.NAME=value."
        parameters.append({"name": "var.NAME", "in": "query", "description": about, "schema": variables})
    return parameters


def _responses(route: Route) -> Json:
    answer: Json = {"description": HTTPStatus.OK.phrase}
    answer["content"] = {route.answer: {}} if isinstance(route.answer, str) else _json(route.answer)
    responses: Json = {"200": answer}
    for status, reasons in _by_status((*EVERYWHERE, *route.reasons)).items():
        responses[str(status)] = _problem(status, reasons)
    for status, kind in route.others:
        shared = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": {}})
        shared["content"] |= _json(kind)
    return responses


def _by_status(errors: Iterable[type[AgentMemoryError]]) -> dict[int, list[str]]:
    statuses: dict[int, list[str]] = {}
    for error in errors:
        statuses.setdefault(STATUS[error], []).append(error.__name__)
    return dict(sorted(statuses.items()))


def _problem(status: int, reasons: list[str]) -> Json:
    reason = {"type": "object", "properties": {"reason": {"enum": reasons}}}
    schema = {"allOf": [{"$ref": _REF.format(name="Problem")}, reason]}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(reasons)}",
        "content": {"application/problem+json": {"schema": schema}},
    }


def _json(kind: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}
