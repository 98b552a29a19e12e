"""Routes about the process itself: alive, ready, its metrics, its document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from memory_core.errors import ConfigurationUnavailable, StoreUnavailable
from memory_core.store import Store
from memory_sidecar import metrics, schemas
from memory_sidecar.http.messages import Response
from memory_sidecar.http.server import HttpServer
from memory_sidecar.memories import Memories
from memory_sidecar.routing import Call


class Probes:
    """Answers for the process."""

    def __init__(self, store: Store, memories: Memories, page: metrics.Page, document: Callable[[], bytes]) -> None:
        self._store = store
        self._memories = memories
        self._page = page
        self._document = document

    async def healthz(self, _call: Call) -> schemas.Alive:
        """Say that the process serves; the store and the configuration do not matter."""
        return schemas.Alive()

    async def readyz(self, _call: Call) -> schemas.Ready:
        """Say whether every binding can be used, or what is missing."""
        if not self._store.connected:
            raise StoreUnavailable(f"not connected to the store: {self._store.failure}")
        missing = [each.missing for each in self._memories if each.current is None]
        if self._memories.trouble is not None:
            missing.append(self._memories.trouble)
        if missing:
            raise ConfigurationUnavailable("; ".join(missing), missing=missing)
        return schemas.Ready()

    async def openapi(self, _call: Call) -> Response:
        """Return the document of this API."""
        return Response(200, self._document())

    async def metrics(self, _call: Call) -> Response:
        """Return the Prometheus page."""
        return Response(200, self._page.render(), metrics.CONTENT_TYPE)


class ProcessGauges:
    """What the metrics page looks up."""

    def __init__(self, store: Store, memories: Memories) -> None:
        self._store: Final = store
        self._memories: Final = memories
        self.server: HttpServer | None = None

    @property
    def store_connects(self) -> int:
        """Connections made to the store since the start."""
        return self._store.connects

    @property
    def store_connected(self) -> bool:
        """Whether there is one now."""
        return self._store.connected

    @property
    def connections(self) -> int:
        """Open connections on the Unix socket."""
        return len(self.server.connections) if self.server else 0

    @property
    def held_bytes(self) -> int:
        """Bytes in hand on the Unix socket."""
        return self.server.budget.used if self.server else 0

    def revisions(self) -> Iterable[tuple[str, int]]:
        """Each bound memory and the revision in effect."""
        return [(each.label, each.current.revision if each.current else 0) for each in self._memories]
