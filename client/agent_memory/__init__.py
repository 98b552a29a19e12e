"""Remember conversations through the memory sidecar of this pod.

>>> from agent_memory import MemoryClient
>>> with MemoryClient() as client:                                   # doctest: +SKIP
...     case = client.memory("support", key="case-4711")
...     case.append({"role": "user", "content": "My parcel is late."})
...     history = [message.data for message in case.iterate()]

AsyncMemoryClient is the same for asyncio. What can go wrong is in ``agent_memory.errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_memory import errors
from agent_memory.answers import (
    Appended,
    AppendedMessage,
    Binding,
    Cleared,
    Deleted,
    Description,
    DroppedMessage,
    ExplainedKey,
    Health,
    Message,
    Page,
    Removed,
    Stats,
    Totals,
)
from agent_memory.client import Memory, MemoryClient
from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings
from agent_memory.version import __version__

if TYPE_CHECKING:
    from agent_memory.async_client import AsyncMemory, AsyncMemoryClient

__all__ = [
    "AgentMemoryError",
    "Appended",
    "AppendedMessage",
    "AsyncMemory",
    "AsyncMemoryClient",
    "Binding",
    "Cleared",
    "Deleted",
    "Description",
    "DroppedMessage",
    "ExplainedKey",
    "Health",
    "Memory",
    "MemoryClient",
    "Message",
    "Page",
    "Removed",
    "Settings",
    "Stats",
    "Totals",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> object:
    """Import the asyncio client when it is asked for: asyncio costs 10 MB and 50 ms that a script may not need."""
    if name in {"AsyncMemory", "AsyncMemoryClient"}:
        from agent_memory import async_client  # noqa: PLC0415 (the reason is in the docstring)

        return getattr(async_client, name)
    raise AttributeError(f"module 'agent_memory' has no attribute {name!r}")
