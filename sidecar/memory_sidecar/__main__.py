"""The command `memory-sidecar`: settings, logs, run, exit status."""

from __future__ import annotations

import logging
import os
import sys

from memory_core.errors import AgentMemoryError
from memory_core.settings import load
from memory_sidecar import logs, process
from memory_sidecar.settings import Settings
from memory_sidecar.sockets import SocketUnusable


def main() -> None:
    """Serve until told to stop; status 1 with one log line when that is impossible."""
    purpose = "Serve a pod's memories on a Unix socket."
    settings = load(Settings, sys.argv[1:], os.environ, program="memory-sidecar", purpose=purpose)
    logs.set_up(settings.log_level)
    try:
        process.run(settings, os.environ)
    except (SocketUnusable, AgentMemoryError) as error:
        logging.getLogger("memory_sidecar").critical("cannot serve", extra={"why": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
