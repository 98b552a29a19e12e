"""What memctl understands: its commands, their arguments and their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from agent_memory.settings import DEFAULT_SOCKET, SOCKET_VARIABLE
from agent_memory.version import __version__

EXIT_CODES = """\
exit codes:
  0   done
  1   refused by the sidecar: the same request will be refused again
  2   wrong usage; nothing was sent
  3   the socket cannot be reached
  4   not ready, or no answer in time: try again
  5   the sidecar failed, or answered something that memctl cannot read
  130 interrupted
"""
ROLES = ("system", "developer", "user", "assistant", "tool")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line (by default this process's) says; end the process where it is wrong."""
    top = parser()
    given, rest = top.parse_known_args(words)
    if rest:
        _place(top, given, rest)
    return given


def _place(top: argparse.ArgumentParser, given: argparse.Namespace, rest: Sequence[str]) -> None:
    """Give words that stand behind an option to the optional arguments that argparse took for absent before it."""
    dashes = rest.index("--") if "--" in rest else len(rest)
    words = [*rest[:dashes], *rest[dashes + 1 :]]
    places = [name for name in ("role", "content", "id") if getattr(given, name, "") is None]
    if len(words) > len(places) or any(word.startswith("-") for word in rest[:dashes]):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    for name, word in zip(places, words, strict=False):
        setattr(given, name, word)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        "memctl",
        description="Look at and change the memories of this pod.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
    )
    top.add_argument("--version", action="version", version=f"memctl {__version__}")
    top.set_defaults(socket=None, output="table", timeout=5.0)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str, *, memory: str | None = None, scope: bool = True) -> argparse.ArgumentParser:
        parents = [_common(), _scope()] if scope else [_common()]
        added = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", parents=parents)
        added.add_argument("memory", metavar="MEMORY", nargs=memory, help="name of the memory")
        return added

    command("get", "list the memories of this pod, or describe one", memory="?", scope=False)
    _append_arguments(command("append", "append a message, or many from standard input"))
    _read_arguments(command("read", "show messages, oldest first"))
    command("stats", "show what a conversation holds, against its limits")
    _confirm(command("clear", "remove all messages of a conversation"))
    delete = command("delete", "remove one message, or a whole conversation")
    delete.add_argument("id", metavar="ID", nargs="?", help="id of the message; a tool call takes its results along")
    delete.add_argument("--instance", action="store_true", help="remove the whole conversation instead")
    _confirm(delete)
    command("explain-key", "show which conversation a key and variables name")
    return top


def _common() -> argparse.ArgumentParser:
    """Return what may stand before or after the command; SUPPRESS keeps the one from hiding the other.

    A new one each time: parsers share the options of a parent, and top.set_defaults would change them for all.
    """
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--socket", metavar="PATH", help=f"the sidecar's socket (default: ${SOCKET_VARIABLE}, else {DEFAULT_SOCKET})"
    )
    common.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="longest wait for an answer (default: 5)")
    common.add_argument(
        "-o", "--output", choices=("table", "json", "yaml"), help="table for people (default), json or yaml"
    )
    return common


def _scope() -> argparse.ArgumentParser:
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument("-k", "--key", metavar="KEY", help="the conversation")
    scope.add_argument(
        "--var",
        metavar="NAME=VALUE",
        type=_variable,
        action="append",
        default=[],
        dest="variables",
        help="a variable of the memory's key template; may be repeated",
    )
    return scope


def _append_arguments(append: argparse.ArgumentParser) -> None:
    append.add_argument("role", metavar="ROLE", nargs="?", help=f"who speaks: {', '.join(ROLES)}")
    append.add_argument("content", metavar="CONTENT", nargs="?", help="the text")
    append.epilog = (
        "Without ROLE and CONTENT, standard input is read: one JSON object a line, "
        'such as {"role": "user", "content": "hello"}. Every 500 lines are one append, all or none.'
    )


def _read_arguments(read: argparse.ArgumentParser) -> None:
    read.add_argument("--limit", metavar="N", type=_positive, help="messages a page (the sidecar's default: 50)")
    read.add_argument("--all", action="store_true", help="all pages, not only the first")
    edge = read.add_mutually_exclusive_group()
    edge.add_argument("--after", metavar="SEQ", type=_positive, help="only what comes after this place")
    edge.add_argument("--before", metavar="SEQ", type=_positive, help="only what comes before this place")
    read.add_argument("--order", choices=("asc", "desc"), default="asc", help="oldest (default) or newest first")
    read.add_argument("--roles", metavar="ROLE[,ROLE]", default="", help="only messages of these roles")


def _confirm(command: argparse.ArgumentParser) -> None:
    command.add_argument("--confirm", action="store_true", help="do not ask; needed without a terminal")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise argparse.ArgumentTypeError(f"write NAME=VALUE, not {text!r}")
    return name, value


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to 3600")
    return seconds
