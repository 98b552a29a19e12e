"""The reference page of the store says what keys.py and the function library do."""

import re
from pathlib import Path

import pytest

from memory_core.keys import InstallationKeys, InstanceKeys, MemoryKeys, MemoryRef
from memory_core.store.library import SOURCE
from memory_core.store.replies import translate

REF = MemoryRef("shop", "tickets")
INSTANCE = InstanceKeys(REF, "ada@example.org")
MEMORY = MemoryKeys(REF)
INSTALLATION = InstallationKeys("agents", "memory-operator")

TYPES = {"STRING": "string", "HASH": "hash", "ZSET": "sorted set"}


@pytest.fixture
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/reference/store.md").read_text()


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables of a section, without their heads and without code marks."""
    section = re.split(r"\n#+ ", page.partition(f"# {heading}\n")[2])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    ends = [position for position, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for position, row in enumerate(cells) if position not in ends and position + 1 not in ends]


def test_every_key_is_listed(page: str) -> None:
    """As it is spelled, and no other."""
    listed = {row[0].encode() for row in rows(page, "Keys")}

    assert listed == {*INSTANCE.all, MEMORY.config, MEMORY.instances, MEMORY.channel, INSTALLATION.memories}


def test_types_are_those_of_the_library(page: str) -> None:
    """The header of the Lua source names the type of each key of an instance."""
    header = dict(re.findall(r"^--   (meta|index|messages|units) +(STRING|ZSET|HASH) ", SOURCE, re.MULTILINE))
    types = {row[0].rpartition(":")[2]: row[1] for row in rows(page, "Keys")}

    assert len(header) == 4
    assert {name: types[name] for name in header} == {name: TYPES[kind] for name, kind in header.items()}


def test_counters_are_listed_in_their_order(page: str) -> None:
    """Eight bytes each, in the order in which the library unpacks them."""
    unpacked = re.search(r"local (version, [^=]+) =\s+struct.unpack", SOURCE)

    assert unpacked is not None
    names = unpacked[1].replace("\n", " ").split(", ")
    assert [(int(offset), name) for offset, name, _ in rows(page, "meta")] == [
        (8 * position, name) for position, name in enumerate(names)
    ]


def test_every_function_is_listed(page: str) -> None:
    """With the number of keys that its stub sends, and which are read-only."""
    registered = dict(re.findall(r"^register\('(\w+)', \w+, (READS|FREES|\{\})\)", SOURCE, re.MULTILINE))
    listed = {row[0].removeprefix("am1_"): row for row in rows(page, "Functions") if row[0].startswith("am1_")}
    stubs = Path(__file__).parents[2].joinpath("core/memory_core/store/functions.py").read_text()
    sent = dict(re.findall(r'b"am1_(\w+)",\s+b"(\d)"', stubs))

    assert listed.keys() == registered.keys() == sent.keys()
    for name, (_, keys, meaning) in listed.items():
        assert len(keys.split()) == int(sent[name])
        assert meaning.endswith("Read-only") == (registered[name] == "READS")
    refused = {name for name, flags in registered.items() if flags == "{}"}
    assert refused == {"append", "register_instance"}
    assert "`am1_append` and `am1_register_instance` are refused" in page


def test_every_refusal_is_listed(page: str) -> None:
    """With the error that it becomes."""
    listed = {row[0]: row[1] for row in rows(page, "Functions") if re.fullmatch("AM[A-Z]+", row[0])}

    assert listed.keys() == {f"AM{code}" for code in re.findall(r"fail\('([A-Z]+)'", SOURCE)}
    assert all(type(translate(f"{code} 1 2 3 4 ")).__name__ == error for code, error in listed.items())


def test_every_command_that_a_function_calls_is_granted(page: str) -> None:
    """The table of rights is complete; that it suffices is tested with real users."""
    granted = {command for row in rows(page, "Rights") for command in row[2].split()}
    called = {command.lower() for command in re.findall(r"redis\.call\('([A-Z]+)'", SOURCE)} | {"zrange"}

    assert called <= granted
    assert granted - called == {"fcall", "fcall_ro", "sadd", "srem", "smembers"}
