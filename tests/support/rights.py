"""Give up root for a while: root may open any file, and what others are refused cannot be shown."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def as_somebody_without_rights() -> Iterator[None]:
    """Run the block as nobody where it would run as root; anybody else stays who they are."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
