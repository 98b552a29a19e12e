"""What is in the repository works elsewhere too: no path of one machine, no address of a package index, no binary."""

import re
from pathlib import Path

import pytest

from support.drift import project_files
from support.processes import REPOSITORY

# Spelled in parts, so that this file does not find itself.
PLACES_OF_ONE_MACHINE = "|".join(
    ["/wor" + "k/", "/roo" + "t/", "/tm" + "p/scratch", r"/hom" + r"e/\w+/", "/User" + "s/"]
)
INDEX_ADDRESSES = "|".join(
    [
        "--(extra-)?index" + "-url",
        "--find" + "-links",
        "pypi.org/sim" + "ple",
        "files.python" + "hosted",
        "PIP_" + "INDEX",
    ]
)
LARGEST_BYTES = 2_000_000
FILES = [path for path in project_files() if path.name != Path(__file__).name]


def texts() -> dict[str, str]:
    """Return the text of each file of the repository that is text."""
    contents = {str(path): (REPOSITORY / path).read_bytes() for path in FILES}
    return {name: data.decode() for name, data in contents.items() if b"\0" not in data and not name.endswith(".gz")}


@pytest.mark.parametrize("pattern", [PLACES_OF_ONE_MACHINE, INDEX_ADDRESSES], ids=["machine", "index"])
def test_no_file_names_a_place_that_others_do_not_have(pattern: str) -> None:
    """Neither a path of one machine nor the address of a package index is written anywhere."""
    found = {name: match[0] for name, text in texts().items() if (match := re.search(pattern, text))}

    assert found == {}


def test_locks_are_hashed_and_name_no_address() -> None:
    """Each pinned package has hashes, and where it comes from is left to who installs it."""
    for lock in (REPOSITORY / "requirements").glob("*.txt"):
        entries = re.split(r"^(?=[\w.-]+==)", lock.read_text(), flags=re.MULTILINE)[1:]
        assert entries, lock.name
        assert all("--hash=sha256:" in entry for entry in entries), lock.name
        assert "://" not in lock.read_text(), lock.name


def test_no_file_is_a_program_or_very_large() -> None:
    """Binaries are built or installed, never kept here."""
    magic = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe")
    offenders = [
        str(path)
        for path in FILES
        if (REPOSITORY / path).stat().st_size > LARGEST_BYTES or (REPOSITORY / path).read_bytes()[:4].startswith(magic)
    ]

    assert offenders == []
