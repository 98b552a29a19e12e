"""The commands: each asks the sidecar and returns what to show."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from agent_memory.answers import Appended, AppendedMessage, Message, Page, Stats, Totals
from agent_memory.client import Memory, MemoryClient
from agent_memory.errors import AgentMemoryError
from agent_memory.memctl.output import Result, plain
from agent_memory.memctl.screen import one_line

BATCH_MESSAGES = 500
ROLE_STYLES = {"system": "magenta", "developer": "magenta", "user": "blue", "assistant": "green", "tool": "yellow"}


class UsageError(Exception):
    """The command line or standard input is wrong; nothing was sent."""


def run(client: MemoryClient, arguments: Namespace) -> Result:
    """Run the command that the command line names."""
    if arguments.command == "get":
        return get(client, arguments.memory)
    memory = client.memory(arguments.memory, key=arguments.key, variables=dict(arguments.variables))
    return _COMMANDS[arguments.command](memory, arguments)


def get(client: MemoryClient, name: str | None) -> Result:
    """List the memories of the pod, or describe one."""
    if name is not None:
        description = client.memory(name).describe()
        pairs = _pairs(plain(description))
        return Result(description, lambda screen: screen.facts(pairs))
    bindings = client.memories()
    header = ("NAME", "NAMESPACE", "MODE", "READY", "DESCRIPTION")
    rows = [(one.name, one.namespace, one.mode, "yes" if one.ready else "no", one.description) for one in bindings]
    styles = [None if one.ready else "yellow" for one in bindings]
    note = "" if bindings else "this pod has no memories: its annotations agentmemory.io/memory or /memories name them"
    return Result(bindings, lambda screen: screen.table(header, rows, styles), note)


def append(memory: Memory, arguments: Namespace) -> Result:
    """Append the message of the command line, or those of standard input."""
    if arguments.role is not None:
        if arguments.content is None:
            raise UsageError("append needs ROLE and CONTENT, or neither and messages on standard input")
        answer = memory.append({"role": arguments.role, "content": arguments.content})
    else:
        answer = _append_all(memory, messages_of(sys.stdin))
    rows = [(one.seq, one.id, one.tokens) for one in answer.messages]
    note = f"{answer.key}: {_amount(answer.totals)}, version {answer.version}"
    if answer.evicted:
        note += f"; {len(answer.evicted)} evicted to make room"
    return Result(answer, lambda screen: screen.table(("SEQ", "ID", "TOKENS"), rows), note)


def messages_of(stream: TextIO) -> list[dict[str, Any]]:
    """Return the messages of a stream, one JSON object a line; a bad line is named, and nothing was sent."""
    if stream.isatty():
        raise UsageError("append needs ROLE and CONTENT, or messages on standard input: one JSON object a line")
    messages = []
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"line {number} of standard input is not JSON: {error}") from error
        if not isinstance(message, dict):
            raise UsageError(f'line {number} of standard input is not an object such as {{"role": "user", ...}}')
        messages.append(message)
    if not messages:
        raise UsageError("standard input has no messages")
    return messages


def _append_all(memory: Memory, messages: Sequence[Mapping[str, Any]]) -> Appended:
    """Append in batches; when one fails, the error says what was appended before it."""
    done: list[AppendedMessage] = []
    evicted: list[str] = []
    for start in range(0, len(messages), BATCH_MESSAGES):
        try:
            last = memory.append(messages[start : start + BATCH_MESSAGES])
        except AgentMemoryError as error:
            if done:
                error.add_note(f"the first {len(done)} of {len(messages)} messages were appended")
            raise
        done += last.messages
        evicted += last.evicted
    shown = {name: getattr(last, name) for name in ("key", "version", "totals", "dropped", "flush_due", "durability")}
    return Appended(messages=tuple(done), evicted=tuple(evicted), **shown)


def read(memory: Memory, arguments: Namespace) -> Result:
    """Show one page of messages, or all of them."""
    page = _pages(memory, arguments)
    rows = [(one.seq, one.role, one.tokens, one.text or _calls(one)) for one in page.messages]
    styles = [ROLE_STYLES.get(one.role) for one in page.messages]
    note = f"{page.key}: {len(page.messages)} of {_amount(page.totals)}, version {page.version}"
    if page.next is not None:
        note += f"; more with --{'after' if arguments.order == 'asc' else 'before'} {page.next}, or --all"
    return Result(page, lambda screen: screen.table(("SEQ", "ROLE", "TOKENS", "CONTENT"), rows, styles), note)


def _pages(memory: Memory, arguments: Namespace) -> Page:
    edge = {"after": arguments.after, "before": arguments.before}
    options = {"limit": arguments.limit, "order": arguments.order, "roles": _names(arguments.roles)}
    page = memory.read(**edge, **options)
    messages = list(page.messages)
    while arguments.all and page.next is not None:
        edge["after" if arguments.order == "asc" else "before"] = page.next
        page = memory.read(**edge, **options)
        messages += page.messages
    return Page(page.key, tuple(messages), page.next, page.version, page.totals)


def _calls(message: Message) -> str:
    """Return what an assistant's message without text asks for."""
    names = [call["function"]["name"] for call in message.data.get("tool_calls") or ()]
    return f"calls {', '.join(names)}" if names else ""


def stats(memory: Memory, _: Namespace) -> Result:
    """Show what a conversation holds, against its limits."""
    answer = memory.stats()
    return Result(answer, lambda screen: screen.facts(list(_stats_pairs(answer))))


def _stats_pairs(answer: Stats) -> Iterator[tuple[str, object]]:
    yield "key", answer.key
    yield "exists", "yes" if answer.exists else "no"
    yield "version", answer.version
    for name in ("messages", "tokens", "bytes"):
        used = f"{getattr(answer.totals, name):,}"
        limit, share = answer.limits.get(f"max_{name}"), answer.utilization.get(name)
        yield name, used if limit is None or share is None else f"{used} of {limit:,} ({share:.0%})"
    yield "roles", ", ".join(f"{count} {role}" for role, count in answer.roles.items()) or "-"
    yield "last seq", answer.last_seq
    for name in ("created_at", "updated_at", "expires_at"):
        yield name.replace("_", " "), getattr(answer, name) or "-"


def clear(memory: Memory, arguments: Namespace) -> Result:
    """Remove all messages of a conversation, after asking."""
    _confirm(memory, arguments, "remove all messages of")
    answer = memory.clear()
    return Result(answer, lambda _: f"{answer.key}: removed {_messages(answer.removed)}")


def delete(memory: Memory, arguments: Namespace) -> Result:
    """Remove one message, or a whole conversation after asking."""
    if arguments.instance == (arguments.id is not None):
        raise UsageError("delete needs either the ID of a message or --instance for the whole conversation")
    if arguments.id is not None:
        removed = memory.delete_message(arguments.id)
        return Result(removed, lambda _: f"{removed.key}: removed {', '.join(removed.removed)}")
    _confirm(memory, arguments, "delete the conversation")
    deleted = memory.delete_instance()
    return Result(deleted, lambda _: f"{deleted.key}: deleted, with {_messages(deleted.messages)}")


def explain_key(memory: Memory, _: Namespace) -> Result:
    """Show what the memory's key template renders to, and from what."""
    answer = memory.explain_key()
    variables = [(f"  {name}", value) for name, value in answer.variables.items()]
    pairs = [("template", answer.template), ("variables", "" if variables else "-"), *variables, ("key", answer.key)]
    return Result(answer, lambda screen: screen.facts(pairs))


_COMMANDS: Mapping[str, Callable[[Memory, Namespace], Result]] = {
    "append": append,
    "read": read,
    "stats": stats,
    "clear": clear,
    "delete": delete,
    "explain-key": explain_key,
}


def _confirm(memory: Memory, arguments: Namespace, action: str) -> None:
    """Return when the user agrees; without a terminal only --confirm says so."""
    if arguments.confirm:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"this would {action} the given key: add --confirm")
    present = memory.stats()
    sys.stderr.write(one_line(f"This will {action} {present.key}: {_amount(present.totals)}.") + "\nGo on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise UsageError("not confirmed; nothing was changed")


def _pairs(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Return a nested object as flat pairs for people."""
    pairs: list[tuple[str, object]] = []
    for name, value in data.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            pairs += _pairs(value, f"{label} ")
        else:
            pairs.append((label, "-" if value in (None, "") else value))
    return pairs


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _amount(totals: Totals) -> str:
    return f"{_messages(totals.messages)} ({totals.tokens:,} tokens)"


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"
