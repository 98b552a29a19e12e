"""The socket file: who may own the path, and how it gets there.

A path belongs to the process that answers on it. A file that nobody answers on is what a killed process left, and is
replaced. The new socket is bound under a temporary name, with its mode, and renamed when it listens: clients never see
a socket that refuses them. All of it happens under a lock on the folder, so that of two processes that start at once
one is refused.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_BACKLOG: Final = 1024
_MAX_PATH_BYTES: Final = 107  # sockaddr_un holds 108, one of them the final zero


class SocketUnusable(Exception):
    """The path cannot be served; the message says what to do."""


class SocketFile:
    """A listening socket and the file that names it."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.listener = listener
        self._inode = path.stat().st_ino

    @classmethod
    def open(cls, path: Path, mode: int) -> SocketFile:
        """Listen at `path` with that file mode.

        Raises SocketUnusable when the folder is missing, the path too long, in use, or not a socket.
        """
        temporary = path.with_name(f".{path.name}")
        if len(os.fsencode(temporary)) > _MAX_PATH_BYTES:
            raise SocketUnusable(f"the path {path} is too long for a Unix socket; choose a shorter --socket")
        if not path.parent.is_dir():
            raise SocketUnusable(f"the folder {path.parent} does not exist; mount a volume there or change --socket")
        try:
            with _locked(path.parent):
                _check_free(path)
                return cls(path, _listen(temporary, path, mode))
        except OSError as error:
            raise SocketUnusable(f"cannot listen on {path}: {error.strerror}") from error

    def remove(self) -> None:
        """Remove the file on the way out, unless another process has taken the path meanwhile."""
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            return


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; the kernel releases it when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_free(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise SocketUnusable(f"{path} exists and is not a socket; remove it or change --socket")
    if _answers(path):
        raise SocketUnusable(f"another process serves {path}; stop it or change --socket")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # its queue is full: alive, and busy
        return True


def _listen(temporary: Path, path: Path, mode: int) -> socket.socket:
    """Listen under the temporary name, then rename; the file never has a wider mode than asked for."""
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listener.setblocking(False)
        listener.bind(os.fspath(temporary))
        listener.listen(_BACKLOG)
        temporary.rename(path)
    except OSError:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.umask(before)
    return listener
