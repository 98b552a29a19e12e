"""What both transports share: connections that wait for the next call, and how a socket's errors are named."""

from __future__ import annotations

import os
import socket

from agent_memory.errors import ConnectionLost, SidecarUnreachable, SocketForbidden, SocketMissing

READ_BYTES = 64 * 1024


class IdleConnections:
    """Open sockets that no call is using. A process that forks does not share them with its child."""

    def __init__(self) -> None:
        self._idle: list[socket.socket] = []
        self._process = os.getpid()

    def take(self) -> socket.socket | None:
        """Return the socket that was used last, or None."""
        if self._process != os.getpid():
            self._idle, self._process = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def put(self, connection: socket.socket) -> None:
        """Keep a socket for the next call."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close them all: after one was found broken, the others most likely are, too."""
        while (connection := self.take()) is not None:
            connection.close()


def connect(path: str) -> socket.socket:
    """Return a non-blocking connection, or raise why there is none.

    A Unix socket connects at once or not at all, so both transports connect here. asyncio's own way takes a full
    backlog (EAGAIN) for a connection in progress, and then for an open one.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _unreachable(path, error) from error
    return connection


def _unreachable(path: str, error: OSError) -> SidecarUnreachable:
    """Return why no connection could be made, in words that say what to do."""
    if isinstance(error, FileNotFoundError):
        return SocketMissing(
            f"there is no socket {path}: check that the sidecar runs in this pod and that AGENT_MEMORY_SOCKET is right"
        )
    if isinstance(error, PermissionError):
        return SocketForbidden(f"this user may not open {path}: give the pod an fsGroup that the socket belongs to")
    if isinstance(error, ConnectionRefusedError):
        return SidecarUnreachable(f"nobody listens on {path}: the sidecar has stopped or is still starting")
    if isinstance(error, BlockingIOError):
        return SidecarUnreachable(f"too many connections wait for the sidecar on {path}")
    return SidecarUnreachable(f"{path} cannot be opened: {error}")


def lost(error: OSError) -> ConnectionLost:
    """Return the error for a connection that broke in the middle of a call."""
    return ConnectionLost(f"the connection to the sidecar broke before it answered: {error}")
