"""Two agents that work on one support ticket at the same time; they know each other only through the shared memory.

What they say is read from conversation.jsonl, where a model would be asked. Each line names the agent that writes it
and the line it answers: an agent waits until it sees that line in the memory, whoever wrote it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory import Appended, AsyncMemory

CONVERSATION = Path(__file__).with_name("conversation.jsonl")


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the conversation, and the line that must be in the memory before it (0: none)."""

    number: int
    agent: str
    after: int
    message: dict[str, Any]

    @property
    def id(self) -> str:
        """Return the message's id in the memory."""
        return line_id(self.number)


Report = Callable[[Line, Appended], Awaitable[None]]


def line_id(number: int) -> str:
    """Return the id that a line's message gets."""
    return f"line-{number:02}"


def read_conversation(path: Path = CONVERSATION) -> tuple[Line, ...]:
    """Read the lines of a conversation, in order."""
    rows = map(json.loads, path.read_text().splitlines())
    return tuple(Line(row["line"], row["agent"], row["after"], row["message"]) for row in rows)


async def act(agent: str, lines: Sequence[Line], memory: AsyncMemory, report: Report) -> None:
    """Play one agent: wait for what each of its lines answers, remember the line, report what the memory said."""
    for line in lines:
        if line.agent != agent:
            continue
        if line.after:
            await _seen(memory, line_id(line.after))
        await report(line, await memory.append({"id": line.id, **line.message}))


async def _seen(memory: AsyncMemory, message_id: str) -> None:
    """Wait until a message is among the newest of the conversation."""
    while True:
        page = await memory.read(order="desc", limit=20)
        if any(message.id == message_id for message in page.messages):
            return
        await asyncio.sleep(0.02)


async def work_together(lines: Sequence[Line], memory: AsyncMemory, report: Report) -> None:
    """Let all agents of the conversation work at the same time."""
    async with asyncio.TaskGroup() as group:
        for agent in sorted({line.agent for line in lines}):
            group.create_task(act(agent, lines, memory, report))
