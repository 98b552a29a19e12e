"""Turns errors that the store replies with into this package's errors; nothing above knows the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memory_core.errors import (
    AgentMemoryError,
    ConfigurationUnavailable,
    DuplicateMessageId,
    FencedEpoch,
    IdempotencyMismatch,
    InstanceNotFound,
    LimitExceeded,
    MessageNotFound,
    MessageTooLarge,
    StaleConfiguration,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)

# What the function library refuses: "AMCODE ARGUMENT ...".
_REFUSALS: Final[dict[str, Callable[[list[str]], AgentMemoryError]]] = {
    "AMSTALE": lambda words: StaleConfiguration(
        "the memory's configuration has changed; read it again and repeat the request", revision=int(words[0])
    ),
    "AMCONFLICT": lambda words: VersionConflict(
        f"the conversation is at version {words[0]}; read it again and decide anew", version=int(words[0])
    ),
    "AMNOINSTANCE": lambda _: InstanceNotFound("there is no such conversation; it begins with its first message"),
    "AMNOMESSAGE": lambda _: MessageNotFound("there is no message with that id in the conversation"),
    "AMDUPLICATE": lambda words: DuplicateMessageId(
        f"the conversation has a message with the id {words[0]!r} already; send another id, or none", id=words[0]
    ),
    "AMTOOLARGE": lambda words: MessageTooLarge(
        f"{words[0]} message(s) with {words[1]} tokens can never fit the memory's limits; send less at once",
        messages=int(words[0]),
        tokens=int(words[1]),
    ),
    "AMLIMIT": lambda words: LimitExceeded(
        "the conversation is full and nothing in it may be evicted; clear it, or raise the memory's limits",
        version=int(words[0]),
        totals={"messages": int(words[1]), "tokens": int(words[2]), "bytes": int(words[3])},
    ),
    "AMMISMATCH": lambda _: IdempotencyMismatch(
        "the idempotency key was used with another request; use a new key for a new request"
    ),
    "AMNOCONFIG": lambda _: ConfigurationUnavailable(
        "the memory has no configuration in the store; the operator writes it when the MemoryResource exists"
    ),
    "AMFENCED": lambda words: FencedEpoch(f"an operator of epoch {words[0]} has taken over", epoch=int(words[0])),
    "AMCORRUPT": lambda words: StoreError(
        f"the message {words[0]!r} has no content: something else wrote to the store"
    ),
}

# States of the server that pass.
_PASSING: Final = frozenset(
    {"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MISCONF", "NOREPLICAS"}
)

# A login that did not work.
_LOGIN: Final = {
    "WRONGPASS": "the store does not accept the user name or the password: check both settings",
    "NOAUTH": "the store asks for a password: name its file in the settings",
}


def translate(text: str) -> AgentMemoryError:
    """Return the error that stands for an error reply."""
    code, *words = text.split()
    refusal = _REFUSALS.get(code)
    if refusal is not None:
        return refusal(words)
    if "Function not found" in text:
        return StoreUnavailable("the store lacks the function library; the operator loads it within moments")
    if code in _PASSING:
        return StoreUnavailable(f"the store cannot serve now: {text}")
    return StoreError(_LOGIN.get(code) or f"the store refused: {text}")
