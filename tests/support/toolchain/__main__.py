"""Build programs ahead of their use: `python -m support.toolchain [helm]` prints where they are."""

import sys

from support.toolchain import CONTROL_PLANE, HELM, ToolchainError, provide


def main(names: list[str]) -> None:
    """Provide the programs of these names; without names, those of the control plane."""
    wanted = [tool for tool in (*CONTROL_PLANE, HELM) if tool.name in names] if names else CONTROL_PLANE
    try:
        places = provide(wanted)
    except ToolchainError as error:
        sys.exit(str(error))
    sys.stdout.writelines(f"{place}\n" for place in places.values())


main(sys.argv[1:])
