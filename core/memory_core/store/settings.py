"""Where the store is and how to log in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from memory_core.errors import InvalidConfiguration

_FORMS = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS) or unix:///PATH"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of the connection to the store.

    The password comes from a file (a mounted Secret), which is read anew at every connect, so that it can be rotated.
    """

    url: str = "redis://127.0.0.1:6379/0"
    username: str | None = None  # None: the store's default user
    password_file: Path | None = None
    ca_file: Path | None = None  # for rediss://; None: the system's authorities
    command_timeout_seconds: float = 2.0  # a connection without an answer for longer is given up
    max_pending: int = 100_000  # commands waiting for an answer; bounds memory when the store is slow

    def address(self) -> StoreAddress:
        """Return the parts of the URL.

        Raises InvalidConfiguration with the forms that are understood.
        """
        try:
            parts = urlsplit(self.url)
            port = parts.port or 6379
            in_path = parts.path.strip("/") if parts.hostname and parts.scheme != "unix" else ""
            database = int(parse_qs(parts.query).get("db", [in_path])[0] or 0)
            (parts.hostname or "").encode("idna")  # a name that no resolver takes is an error here, not when connecting
        except ValueError as error:
            raise InvalidConfiguration(f"the store URL cannot be read ({error}): write {_FORMS}") from error
        if parts.password:
            raise InvalidConfiguration("the store URL holds a password: put it into a file and name that file instead")
        if parts.username:
            raise InvalidConfiguration("the store URL holds a user: set it as the user name instead")
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            return StoreAddress(path=unquote(parts.path), database=database)
        if parts.scheme in {"redis", "rediss"} and parts.hostname:
            return StoreAddress(host=parts.hostname, port=port, database=database, tls=parts.scheme == "rediss")
        raise InvalidConfiguration(f"the store URL {self.url!r} is not understood: write {_FORMS}")

    def password(self) -> str | None:
        """Read the password; None when there is none.

        Raises InvalidConfiguration when the file cannot be read.
        """
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfiguration(f"the store's password file cannot be read: {error}") from error

    def tls_context(self) -> ssl.SSLContext:
        """Return a context that verifies the store's certificate."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A parsed store URL: either a path, or a host and port."""

    host: str = ""
    port: int = 0
    path: str = ""
    database: int = 0
    tls: bool = False

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"
