"""Everything the operator asks of the Kubernetes API, and the translation of its errors. Nothing above knows HTTP.

Requests go through the connection pool, the credentials and the kubeconfig handling of the official client; its
generated methods are left out, because they validate and copy every body (a quarter more processor time a request) and
cannot ask for metadata alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, Configuration

from memory_core.keys import MemoryRef
from memory_operator.election import LeaseRecord
from memory_operator.errors import ApiConflict, ApiError, ApiNotFound, ApiRefused, ApiUnavailable
from memory_operator.memories import FINALIZER, GROUP, PLURAL, VERSION, Memory, Uid

_MEMORIES: Final = f"/apis/{GROUP}/{VERSION}"
_LEASES: Final = "/apis/coordination.k8s.io/v1"
_EVENTS: Final = "/apis/events.k8s.io/v1"
_MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_LEASE_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)  # a renewal that takes longer is better tried again
_PAGE: Final = 1000

_ERRORS: Final[Mapping[int, type[ApiError]]] = {
    404: ApiNotFound,
    409: ApiConflict,
    410: ApiConflict,
    429: ApiUnavailable,
}


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    resource_version: str


class _Item(msgspec.Struct):
    metadata: _Meta


class _ListMeta(msgspec.Struct):
    next: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Item] | None  # null when there are none


class _Version(msgspec.Struct):
    major: str
    minor: str


class Cluster:
    """The Kubernetes API, as one identity. An async context manager."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._url = configuration.host.rstrip("/")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]  # untyped library

    async def minor_version(self) -> int:
        """Return the minor version of the API server, such as 34."""
        version = msgspec.json.decode(await self._request("GET", "/version"), type=_Version)
        return int(version.minor.rstrip("+"))

    async def serves_memories(self) -> bool:
        """Whether the kind MemoryResource is installed."""
        try:
            answer = await self._request("GET", _MEMORIES)
        except ApiNotFound:
            return False
        return any(resource["name"] == PLURAL for resource in msgspec.json.decode(answer)["resources"])

    async def list_versions(self, namespaces: Sequence[str]) -> dict[MemoryRef, tuple[Uid, str]]:
        """Return uid and resource version of every memory; of all namespaces when none is given."""
        found: dict[MemoryRef, tuple[Uid, str]] = {}
        for place in [f"/namespaces/{namespace}" for namespace in namespaces] or [""]:
            token = ""
            while True:
                query = f"?limit={_PAGE}" + (f"&continue={token}" if token else "")
                answer = await self._request("GET", f"{_MEMORIES}{place}/{PLURAL}{query}", accept=_METADATA_ONLY)
                page = msgspec.json.decode(answer, type=_List)
                for meta in (item.metadata for item in page.items or ()):
                    found[MemoryRef(meta.namespace, meta.name)] = (Uid(meta.uid), meta.resource_version)
                token = page.metadata.next
                if not token:
                    break
        return found

    async def add_finalizer(self, memory: Memory) -> Memory:
        """Add our finalizer; raises ApiConflict when the object is not what was looked at."""
        return await self._patch_finalizers(memory, [*memory.finalizers, FINALIZER])

    async def release_finalizer(self, memory: Memory) -> Memory:
        """Remove our finalizer; others keep theirs."""
        return await self._patch_finalizers(memory, [name for name in memory.finalizers if name != FINALIZER])

    async def patch_status(self, memory: Memory, status: Mapping[str, object]) -> Memory:
        """Change members of the status; raises ApiConflict when the object is not what was looked at."""
        patch = {"metadata": _precondition(memory), "status": status}
        return await self._patch(memory, "/status", patch)

    async def read_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """Return the lease, or None when there is none."""
        try:
            answer = await self._request("GET", _lease_path(namespace, name), timeout=_LEASE_TIMEOUT)
        except ApiNotFound:
            return None
        return _lease_record(msgspec.json.decode(answer))

    async def write_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create (no version) or update the lease; raises ApiConflict when somebody else did meanwhile."""
        method, path = ("PUT", _lease_path(namespace, name)) if record.version else ("POST", _lease_path(namespace))
        body = _lease_body(namespace, name, record)
        answer = await self._request(method, path, body=body, timeout=_LEASE_TIMEOUT)
        return _lease_record(msgspec.json.decode(answer))

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Record an event of the group events.k8s.io."""
        await self._request("POST", f"{_EVENTS}/namespaces/{namespace}/events", body=event)

    async def _patch_finalizers(self, memory: Memory, finalizers: Sequence[str]) -> Memory:
        return await self._patch(memory, "", {"metadata": {**_precondition(memory), "finalizers": finalizers}})

    async def _patch(self, memory: Memory, subresource: str, patch: Mapping[str, object]) -> Memory:
        path = f"{_MEMORIES}/namespaces/{memory.ref.namespace}/{PLURAL}/{memory.ref.name}{subresource}"
        answer = await self._request("PATCH", path, body=patch, content_type=_MERGE_PATCH)
        return Memory.from_body(msgspec.json.decode(answer))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        timeout: aiohttp.ClientTimeout = _TIMEOUT,  # noqa: ASYNC109  # the connection pool keeps it
    ) -> bytes:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": "memory-operator"}
        token: Any = await self._configuration.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        try:
            answer = await self._client.rest_client.request(  # type: ignore[no-untyped-call]  # untyped library
                method, self._url + path, headers=headers, body=body, _request_timeout=timeout
            )
            data: bytes = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"the Kubernetes API does not answer: {error!r}") from error
        if answer.status < 400:
            return data
        raise _error(answer.status, f"{method} {path}", data)


def _error(status: int, request: str, data: bytes) -> ApiError:
    kind = _ERRORS.get(status) or (ApiUnavailable if status >= 500 else ApiRefused)
    try:
        message = msgspec.json.decode(data)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = data[:200].decode(errors="replace")
    return kind(f"the Kubernetes API answered {status} to {request}: {message}", status=status)


def _precondition(memory: Memory) -> dict[str, object]:
    return {"uid": memory.uid, "resourceVersion": memory.resource_version}


def _lease_path(namespace: str, name: str = "") -> str:
    return f"{_LEASES}/namespaces/{namespace}/leases" + (f"/{name}" if name else "")


def _lease_body(namespace: str, name: str, record: LeaseRecord) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata = {"namespace": namespace, "name": name}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": record.holder,
            "leaseDurationSeconds": record.duration_seconds,
            "leaseTransitions": record.transitions,
            "acquireTime": record.acquired_at or now,
            "renewTime": now,
        },
    }


def _lease_record(body: Mapping[str, Any]) -> LeaseRecord:
    spec = body.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        duration_seconds=spec.get("leaseDurationSeconds") or 1,
        transitions=spec.get("leaseTransitions") or 0,
        acquired_at=spec.get("acquireTime") or "",
        version=body["metadata"]["resourceVersion"],
    )
