"""Every field of the specification has a module here that shows what it does, and no other has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memory_core.crd import render_crd


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each field that has no fields below it."""
    if "properties" not in schema:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from leaves(child, f"{path}.{name}".removeprefix("."))


def test_every_field_is_shown_to_do_something() -> None:
    """A field that is added without a test of its effect fails here: a field that does nothing does not exist."""
    (version,) = render_crd()["spec"]["versions"]
    fields = leaves(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    expected = {re.sub(r"\.|(?=[A-Z])", "_", field).lower() for field in fields}
    modules = {file.stem.removeprefix("test_field_") for file in Path(__file__).parent.glob("test_field_*.py")}

    assert modules - {"modules"} == expected
