"""From method and path to a route. Paths are split on slashes first and decoded after, so an encoded slash is text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from memory_core.errors import AgentMemoryError, InvalidRequest
from memory_sidecar.errors import MethodNotAllowed, RouteNotFound
from memory_sidecar.http.messages import Response
from memory_sidecar.memories import BoundMemory

_PARAMETER: Final = ""  # no segment of a path is empty
_KNOWN_PATHS: Final = 256


class Call(msgspec.Struct):
    """One request, taken apart. `memory` is set on routes under a memory; `raw` is the body as it came."""

    memory: BoundMemory
    parameters: dict[str, str]
    query: Any
    variables: dict[str, str]
    body: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API: everything that is known about a route, for serving and for documenting it."""

    name: str  # operation id, label of metrics
    method: str
    path: str
    summary: str
    handler: Callable[[Any, Call], Awaitable[msgspec.Struct | Response]]
    answer: type[msgspec.Struct] | str  # a shape, or the media type of something else
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    writes: bool = False
    reasons: tuple[type[AgentMemoryError], ...] = ()
    others: tuple[tuple[int, type[msgspec.Struct]], ...] = ()  # further statuses that are no problems
    names_memory: bool = field(init=False)  # whether the path names a memory

    def __post_init__(self) -> None:
        object.__setattr__(self, "names_memory", "{memory}" in self.path)

    @property
    def takes_variables(self) -> bool:
        """Return whether the query may name a conversation with `var.NAME`."""
        return self.query is not None and "key" in self.query.__struct_fields__


class _Node:
    """A place in the tree of paths."""

    __slots__ = ("children", "methods")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.methods: dict[str, Route] = {}

    @property
    def allow(self) -> str:
        methods = set(self.methods) | {"OPTIONS"} | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(methods))


class Router:
    """Finds routes, and remembers what it found: a client asks for the same few paths again and again."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._found: dict[tuple[bytes, bytes], tuple[Route, list[str]]] = {}
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.strip("/").split("/"):
                node = node.children.setdefault(_PARAMETER if segment.startswith("{") else segment, _Node())
            node.methods[route.method] = route

    def find(self, method: bytes, path: bytes) -> tuple[Route, list[str]]:
        """Return the route and the values of its path's parameters.

        Raises RouteNotFound, or MethodNotAllowed with the methods that there are. HEAD is served as GET.
        """
        found = self._found.get((method, path))
        if found is not None:
            return found
        node, values = self._walk(path)
        wanted = method.decode("ascii", "replace")
        route = node.methods.get("GET" if wanted == "HEAD" else wanted)
        if route is None:
            raise MethodNotAllowed(f"{wanted} is not served here; use {node.allow}", allow=node.allow)
        if len(self._found) >= _KNOWN_PATHS:
            self._found.clear()
        self._found[method, path] = route, values
        return route, values

    def allow(self, path: bytes) -> str:
        """Return the methods served at a path, for OPTIONS.

        Raises RouteNotFound.
        """
        return "GET, HEAD, POST, DELETE, OPTIONS" if path == b"*" else self._walk(path)[0].allow

    def _walk(self, path: bytes) -> tuple[_Node, list[str]]:
        node = self._root
        values: list[str] = []
        for segment in _segments(path):
            following = node.children.get(segment)
            if following is None:
                following = node.children.get(_PARAMETER)
                values.append(segment)
            if following is None or not segment:
                raise RouteNotFound("there is nothing at this path; GET /openapi.json lists what there is")
            node = following
        if not node.methods:
            raise RouteNotFound("there is nothing at this path; GET /openapi.json lists what there is")
        return node, values


def _segments(path: bytes) -> list[str]:
    try:
        if b"%" in path:
            return [unquote_to_bytes(segment).decode() for segment in path[1:].split(b"/")]
        return path[1:].decode().split("/")
    except UnicodeDecodeError as error:
        raise InvalidRequest("the path is not UTF-8") from error
