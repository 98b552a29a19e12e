"""Answers requests by the table of routes: finds the route, decodes, checks the mode, calls, encodes, counts."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from memory_core.documents import decode
from memory_core.errors import AgentMemoryError, InvalidRequest, ReadOnlyBinding
from memory_core.logs import Log
from memory_sidecar.errors import Internal, UnsupportedMediaType
from memory_sidecar.http.messages import Request, Response
from memory_sidecar.memories import BoundMemory, Memories
from memory_sidecar.metrics import Meters
from memory_sidecar.problems import problem, status_of
from memory_sidecar.routing import Call, Route, Router

_log: Final = Log(__name__)

_MAX_QUERY_FIELDS: Final = 64
_NO_ROUTE: Final = "none"


class Application:
    """One set of routes, bound to the objects that carry them out."""

    def __init__(
        self, routes: Sequence[Route], services: Mapping[type, Any], memories: Memories, meters: Meters
    ) -> None:
        self._router = Router(routes)
        self._handlers = {route.name: _bind(route, services) for route in routes}
        self._decoders = {route.name: msgspec.json.Decoder(route.body) for route in routes if route.body is not None}
        self._encode = msgspec.json.Encoder().encode
        self._memories = memories
        self._meters = meters

    def answer(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Return the coroutine that answers; it does not raise."""
        return self._answer(request)

    def count_refusal(self, error: AgentMemoryError) -> None:
        """Count a request that was refused before there was one to answer."""
        self._meters.refusals[error.reason] += 1
        self._meters.requests["", _NO_ROUTE, status_of(error) // 100] += 1

    async def _answer(self, request: Request) -> Response:
        started = time.monotonic()
        name, memory = _NO_ROUTE, ""
        try:
            if request.method == b"OPTIONS":
                name = "options"
                response = Response(204, b"", headers=((b"Allow", self._router.allow(request.path).encode()),))
            else:
                route, values = self._router.find(request.method, request.path)
                name = route.name
                call = self._read(route, request, values)
                memory = call.memory.label if route.names_memory else ""
                result = await self._handlers[name](call)
                response = result if isinstance(result, Response) else Response(200, self._encode(result))
        except AgentMemoryError as error:
            self._meters.refusals[error.reason] += 1
            response = problem(error)
        except Exception as error:  # noqa: BLE001 - the edge of the process: one request fails, the others go on
            _log.error("request failed", error=error, route=name, memory=memory)
            self._meters.refusals[Internal.__name__] += 1
            response = problem(Internal("the sidecar failed on this request; its log says why"))
        self._meters.requests[memory, name, response.status // 100] += 1
        self._meters.request_seconds[name].observe(time.monotonic() - started)
        return response

    def _read(self, route: Route, request: Request, values: list[str]) -> Call:
        """Take a request apart.

        Raises InvalidRequest, MemoryNotFound, ReadOnlyBinding, UnsupportedMediaType.
        """
        memory: Any = None
        if route.names_memory:
            memory = self._memories.find(values[0])
            if route.writes:
                _check_mode(memory)
        query, variables = _read_query(route, request.query)
        body = None
        if route.body is not None:
            _check_media(request)
            body = decode(self._decoders[route.name], request.body)
        parameters = {"id": values[1]} if len(values) > 1 else {}
        return Call(memory, parameters, query, variables, body, request.body)


def _bind(route: Route, services: Mapping[type, Any]) -> Any:
    """Return the handler of a route, bound to the service whose method it is."""
    owner = next(kind for kind in services if getattr(kind, route.handler.__name__, None) is route.handler)
    return route.handler.__get__(services[owner])


def _check_mode(memory: BoundMemory) -> None:
    if not memory.may_write:
        raise ReadOnlyBinding(
            f"this pod binds memory {memory.label} read-only; set mode ReadWrite in its annotation to change it"
        )


def _check_media(request: Request) -> None:
    kind = request.content_type.partition(b";")[0].strip().lower()
    if request.content_encoding:
        raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
    if kind and kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise UnsupportedMediaType("send JSON, with the header Content-Type: application/json")


def _read_query(route: Route, raw: bytes) -> tuple[Any, dict[str, str]]:
    """Return the query of a route and the variables in it.

    Raises InvalidRequest for what the route does not know, and for a name given twice.
    """
    if route.query is None:
        if raw:
            raise InvalidRequest("this path takes no query")
        return None, {}
    values: dict[str, str] = {}
    variables: dict[str, str] = {}
    for name, value in _pairs(raw):
        place, known = (variables, name[4:]) if name.startswith("var.") else (values, name)
        if known in place:
            raise InvalidRequest(f"{name[:80]} is given twice in the query")
        place[known] = value
    try:
        return msgspec.convert(values, route.query, strict=False), variables
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"in the query: {error}") from error


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as error:
        raise InvalidRequest(f"the query cannot be read: {error}") from error
