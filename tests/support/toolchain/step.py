"""Run one slow command with its elapsed time on screen: `python -m support.toolchain.step WHAT COMMAND ARGUMENT...`.

The command's own output is shown only when it fails. This module needs nothing but the standard library: it shows how
the environment is made.
"""

import sys

from support.toolchain.errors import ToolchainError
from support.toolchain.progress import Progress, run


def main(what: str, command: list[str]) -> None:
    """Run the command; end with its message when it fails."""
    progress = Progress()
    progress.begin(what)
    try:
        run(command, progress=progress)
    except ToolchainError as error:
        sys.exit(str(error))
    progress.end()


main(sys.argv[1], sys.argv[2:])
