"""The command `memory-sidecar`: settings, logs, run, exit status."""

from __future__ import annotations

import os
import sys
from typing import Final

from memory_core.errors import AgentMemoryError
from memory_core.logs import Log, configure
from memory_core.settings import load
from memory_sidecar import process
from memory_sidecar.settings import Settings
from memory_sidecar.sockets import SocketUnusable

_log: Final = Log("memory_sidecar")


def main() -> None:
    """Serve until told to stop; status 1 with one log line when that is impossible."""
    purpose = "Serve a pod's memories on a Unix socket."
    settings = load(Settings, sys.argv[1:], os.environ, program="memory-sidecar", purpose=purpose)
    configure(settings.log_level)
    try:
        process.run(settings, os.environ)
    except (SocketUnusable, AgentMemoryError) as error:
        _log.error("cannot serve", detail=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
