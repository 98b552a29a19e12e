"""The process ``memctl``: command line in, text and an exit code out. Each kind of failure has its code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import TextIO

from agent_memory.client import MemoryClient
from agent_memory.errors import (
    AgentMemoryError,
    ConnectionLost,
    KeyInvalid,
    KeyRequired,
    MemoryNotFound,
    ReadOnlyBinding,
    RequestRefused,
    SidecarUnreachable,
    SocketMissing,
    Unavailable,
    VariableMissing,
    VariableUnknown,
)
from agent_memory.memctl.arguments import parse
from agent_memory.memctl.commands import UsageError, run
from agent_memory.memctl.output import text_of
from agent_memory.memctl.screen import Screen, one_line
from agent_memory.settings import Settings, socket_path
from agent_memory.sockets import connect

DONE, REFUSED, WRONG_USAGE, UNREACHABLE, TRY_AGAIN, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_ADVICE: tuple[tuple[type[AgentMemoryError], str], ...] = (
    (
        SocketMissing,
        "run memctl where the memory sidecar runs, or name its socket with --socket PATH",
    ),
    (KeyRequired, "name the conversation with --key KEY"),
    (KeyInvalid, "name the conversation with --key KEY"),
    (VariableMissing, "give it with --var NAME=VALUE (--key KEY for the variable `key`)"),
    (VariableUnknown, "leave out that --var (or --key); `memctl get MEMORY` shows the template"),
    (MemoryNotFound, "`memctl get` lists the memories of this pod"),
    (ReadOnlyBinding, "the pod's binding allows reading only; its annotations set the mode"),
    (Unavailable, "`memctl get` shows which memories are ready; try again in a moment"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run memctl and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # JSON is UTF-8, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    given = parse(arguments)
    try:
        path = socket_path(given.socket)
        connect(path).close()  # say at once that there is no sidecar, and do not wait for one as an agent would
        with MemoryClient(path, settings=Settings(timeout_seconds=given.timeout)) as client:
            result = run(client, given)
        sys.stdout.write(text_of(result, given.output, Screen.of(sys.stdout)))
        sys.stdout.flush()
    except UsageError as error:
        return _complain(str(error), code=WRONG_USAGE)
    except AgentMemoryError as error:
        return _complain(str(error), *getattr(error, "__notes__", ()), _advice(error), code=_exit_code(error))
    except BrokenPipeError:
        return _reader_left(sys.stdout)
    except KeyboardInterrupt:
        return INTERRUPTED
    if result.note and given.output == "table":
        sys.stderr.write(f"{one_line(result.note)}\n")
    return DONE


def _advice(error: AgentMemoryError) -> str:
    return next((words for kind, words in _ADVICE if isinstance(error, kind)), "")


def _exit_code(error: AgentMemoryError) -> int:
    if isinstance(error, RequestRefused):
        return REFUSED
    if isinstance(error, SidecarUnreachable):
        return UNREACHABLE
    return TRY_AGAIN if isinstance(error, (ConnectionLost, Unavailable)) else FAILED


def _complain(*sentences: str, code: int) -> int:
    """Say what is wrong and what to do about it on standard error; return the exit code."""
    screen = Screen.of(sys.stderr)
    first, *others = (one_line(sentence) for sentence in sentences if sentence)
    lines = [f"{screen.paint('memctl:', 'red')} {first}", *(f"        {other}" for other in others)]
    sys.stderr.write("\n".join(lines) + "\n")
    return code


def _reader_left(stream: TextIO) -> int:
    """End quietly when the reader of the pipe (head, less) has enough; the interpreter must not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return DONE


if __name__ == "__main__":
    sys.exit(main())
