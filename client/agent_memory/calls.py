"""The operations, as values: what to send, how to read the answer, whether it may be sent twice.

Sync and async clients run the same calls; nothing here touches a socket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from agent_memory import answers
from agent_memory.answers import Json
from agent_memory.errors import AgentMemoryError, InvalidRequest, ProtocolError, from_problem
from agent_memory.wire import Response, request_bytes

Answer = TypeVar("Answer")
NewMessage: TypeAlias = Mapping[str, Any]
Order: TypeAlias = Literal["asc", "desc"]
Variables: TypeAlias = Mapping[str, str]

_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Call(NamedTuple, Generic[Answer]):
    """One request and how to read its answer. ``facts`` are added to the error when it fails.

    A tuple, and not a frozen dataclass, since one is made for each call: 0.3 us against 1.5.
    """

    request: bytes
    read: Callable[[Json], Answer]
    repeatable: bool
    facts: Mapping[str, object] = MappingProxyType({})
    unavailable_is_an_answer: bool = False

    def answer(self, response: Response) -> Answer:
        """Return what the response says, or raise its problem."""
        data = _json_object(response)
        if response.status == 200 or (
            self.unavailable_is_an_answer and response.status == 503 and "reason" not in data
        ):
            try:
                return self.read(data)
            except (KeyError, TypeError, AttributeError) as error:
                raise ProtocolError(f"the sidecar's answer is not as expected: {error!r}") from error
        raise from_problem(response.status, data, retry_after_seconds=_retry_after_seconds(response))


def list_memories() -> Call[tuple[answers.Binding, ...]]:
    """Ask for the memories that this pod may use."""
    return Call(request_bytes("GET", "/v1/memories"), answers.read_bindings, repeatable=True)


class MemoryCalls:
    """The calls to one memory, with a key and variables that every call has unless it brings its own."""

    __slots__ = ("_key", "_messages", "_path", "_variables", "name")

    def __init__(self, name: str, key: str | None = None, variables: Variables | None = None) -> None:
        self.name = name
        self._path = f"/v1/memories/{_segment(name)}"
        self._messages = f"{self._path}/messages"
        self._key = key
        self._variables = dict(variables or {})

    def append(
        self,
        messages: NewMessage | Iterable[NewMessage],
        *,
        key: str | None = None,
        variables: Variables | None = None,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Call[answers.Appended]:
        """Append one message or several, all or none. Without an idempotency key it gets one of its own."""
        identity = idempotency_key or os.urandom(16).hex()
        body = self._scope(key, variables)
        body["messages"] = [messages] if isinstance(messages, Mapping) else list(messages)
        body["idempotency_key"] = identity
        if expected_version is not None:
            body["expected_version"] = expected_version
        request = request_bytes("POST", self._messages, _json_bytes(body))
        return Call(request, answers.read_appended, repeatable=True, facts={"idempotency_key": identity})

    def read(
        self,
        *,
        key: str | None = None,
        variables: Variables | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        order: Order = "asc",
        roles: Sequence[str] = (),
    ) -> Call[answers.Page]:
        """Ask for one page of messages."""
        query: dict[str, object] = {"after": after, "before": before, "limit": limit}
        query |= {"order": order if order != "asc" else None, "roles": ",".join(roles) or None}
        target = self._target("/messages", key, variables, query)
        return Call(request_bytes("GET", target), answers.read_page, repeatable=True)

    def delete_message(
        self, message_id: str, *, key: str | None = None, variables: Variables | None = None
    ) -> Call[answers.Removed]:
        """Remove one message; a tool call and its results go together."""
        target = self._target(f"/messages/{_segment(message_id)}", key, variables)
        return Call(request_bytes("DELETE", target), answers.read_removed, repeatable=False)

    def delete_instance(self, *, key: str | None = None, variables: Variables | None = None) -> Call[answers.Deleted]:
        """Remove the whole conversation."""
        target = self._target("/instances", key, variables)
        return Call(request_bytes("DELETE", target), answers.read_deleted, repeatable=False)

    def clear(self, *, key: str | None = None, variables: Variables | None = None) -> Call[answers.Cleared]:
        """Remove all messages of the conversation, which stays."""
        body = self._scope(key, variables) | {"confirm": True}
        request = request_bytes("POST", f"{self._path}/clear", _json_bytes(body))
        return Call(request, answers.read_cleared, repeatable=False)

    def stats(self, *, key: str | None = None, variables: Variables | None = None) -> Call[answers.Stats]:
        """Ask what the conversation holds."""
        target = self._target("/stats", key, variables)
        return Call(request_bytes("GET", target), answers.read_stats, repeatable=True)

    def explain_key(self, *, key: str | None = None, variables: Variables | None = None) -> Call[answers.ExplainedKey]:
        """Ask what the memory's key template renders to."""
        target = self._target("/key", key, variables)
        return Call(request_bytes("GET", target), answers.read_explained_key, repeatable=True)

    def describe(self) -> Call[answers.Description]:
        """Ask for the memory's effective policy."""
        return Call(request_bytes("GET", self._path), answers.read_description, repeatable=True)

    def health(self) -> Call[answers.Health]:
        """Ask whether the memory can be used now; that it cannot is an answer, too."""
        request = request_bytes("GET", f"{self._path}/health")
        return Call(request, answers.read_health, repeatable=True, unavailable_is_an_answer=True)

    def _scope(self, key: str | None, variables: Variables | None) -> dict[str, Any]:
        """Return what names the conversation in a body: the call's own, over the handle's."""
        key = self._key if key is None else key
        sent = {**self._variables, **variables} if variables else self._variables
        if not sent:
            return {} if key is None else {"key": key}
        return {"variables": sent if key is None else {**sent, "key": key}}

    def _target(
        self, path: str, key: str | None, variables: Variables | None, query: Mapping[str, object] | None = None
    ) -> str:
        """Return a request target whose query names the conversation."""
        pairs: dict[str, object] = {}
        key = self._key if key is None else key
        if key is not None:
            pairs["key"] = key
        if self._variables or variables:
            pairs |= {f"var.{name}": value for name, value in {**self._variables, **(variables or {})}.items()}
        if query:
            pairs |= {name: value for name, value in query.items() if value is not None}
        try:
            return f"{self._path}{path}?{urlencode(pairs)}" if pairs else f"{self._path}{path}"
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"a key or variable is not text that can be sent: {error}") from error


def _segment(text: str) -> str:
    """Return the text as one segment of a path."""
    try:
        return quote(text, safe="")
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"a name or id is not text that can be sent: {error}") from error


def _json_bytes(value: object) -> bytes:
    """Return the value as JSON; raise InvalidRequest for what JSON cannot carry."""
    try:
        return _JSON.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the messages cannot be sent as JSON: {error}") from error


def _json_object(response: Response) -> dict[str, Any]:
    """Return the body's JSON object; an error without one is an empty problem."""
    try:
        data = json.loads(response.body.decode())
    except (ValueError, RecursionError) as error:
        if response.status >= 400:
            return {}
        raise ProtocolError(f"the sidecar answered {response.status} without JSON: {error}") from error
    if isinstance(data, dict):
        return data
    if response.status >= 400:
        return {}
    raise ProtocolError(f"the sidecar answered {response.status} with JSON that is no object")


def _retry_after_seconds(response: Response) -> float | None:
    """Return the Retry-After header, which the sidecar sends in seconds."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() and value.isascii() else None


def with_facts(error: AgentMemoryError, call: Call[Any]) -> AgentMemoryError:
    """Return the error with what the call knows, so that a caller can continue (an append's idempotency key)."""
    error.facts = {**call.facts, **error.facts}
    return error
