"""Loads the function library into the store, and repairs it when it is missing or was changed.

This is administration of a server, so it speaks through redis-py, not through the shared connection. Only the operator
imports this module: redis-py takes 15 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from memory_core.errors import StoreError, StoreUnavailable
from memory_core.store.settings import StoreSettings

NAME: Final = "am1"  # 1 is the version of the key layout and of the functions' arguments

# One library of several files, one idea each; later ones use what earlier ones define.
_FILES: Final = ("library", "counters", "units", "append", "read", "remove", "memory", "register")

SOURCE: Final = "\n".join(files("memory_core").joinpath(f"lua/{name}.lua").read_text() for name in _FILES)


@dataclass(frozen=True, slots=True)
class Ensured:
    """What `ensure` found: `loaded` is true when it had to act."""

    loaded: bool


async def ensure(settings: StoreSettings) -> Ensured:
    """Make the store hold exactly this library.

    Raises StoreUnavailable when the store does not answer, StoreError when it refuses.
    """
    client = _administrator(settings)
    try:
        found = await client.function_list(library=NAME, withcode=True)
        if found and _code(found[0]) == SOURCE:
            return Ensured(loaded=False)
        await client.function_load(SOURCE, replace=True)
        return Ensured(loaded=True)
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise StoreUnavailable(f"the store at {settings.address()} is not reachable: {error}") from error
    except exceptions.RedisError as error:
        raise StoreError(f"the store refused the function library: {error}") from error
    finally:
        await client.aclose()


def _administrator(settings: StoreSettings) -> redis.Redis:
    address = settings.address()
    place: dict[str, Any] = {"host": address.host, "port": address.port}
    if address.path:
        place = {"unix_socket_path": address.path}
    if address.tls:
        place |= {"ssl": True, "ssl_ca_certs": str(settings.ca_file) if settings.ca_file else None}
    return redis.Redis(
        **place,
        db=address.database,
        username=settings.username,
        password=settings.password(),
        protocol=3,
        decode_responses=True,
        socket_timeout=settings.command_timeout_seconds,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(NoBackoff(), 0),  # who calls tries again at its own pace
    )


def _code(library: Any) -> str:
    """Return the source of one entry of FUNCTION LIST, whose shape depends on the protocol."""
    entry = library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))
    return str(entry["library_code"])
