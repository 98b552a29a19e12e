"""Vocabularies: the published ones, shipped with the package, loaded once, and refused when they are not intact."""

import gzip
import hashlib
import shutil
import subprocess
import sys
import threading
from base64 import b64decode
from pathlib import Path

import pytest
import tiktoken
from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # tiktoken types only its other package

from memory_core.errors import TokenizerUnavailable
from memory_core.tokens.vocabulary import FOLDER, SHARED, VOCABULARIES, EncodingLoader

NAMES = sorted(VOCABULARIES)


def file_of(name: str) -> Path:
    """Return where a vocabulary is shipped."""
    return FOLDER / f"{name}.tiktoken.gz"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let tiktoken find the shipped files where it would otherwise keep its downloads."""
    for name in NAMES:
        address = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        content = gzip.decompress(file_of(name).read_bytes())
        (tmp_path / hashlib.sha1(address.encode()).hexdigest()).write_bytes(content)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_an_encoding_is_what_tiktoken_defines(name: str, published: Path) -> None:
    """tiktoken checks the hash itself; pattern and special tokens are compared."""
    defined = openai_public.ENCODING_CONSTRUCTORS[name]()

    assert (VOCABULARIES[name].pattern, VOCABULARIES[name].special_tokens) == (
        defined["pat_str"],
        defined["special_tokens"],
    )
    text = "Order 48213 isn't here :( — 您好 😊\n\n\t<|endoftext|> naïve CamelCase"
    assert SHARED.load(name).result().encode_ordinary(text) == tiktoken.Encoding(**defined).encode_ordinary(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_compressed_reproducibly_and_its_origin_is_noted(name: str) -> None:
    """Neither time nor name in the gzip header; NOTICE has the hash of the content."""
    header = file_of(name).read_bytes()[:10]

    assert header[3] == 0, "flags: no name"
    assert header[4:8] == bytes(4), "no time"
    assert VOCABULARIES[name].sha256 in (FOLDER / "NOTICE").read_text()


def test_all_callers_share_one_load() -> None:
    """Sixteen threads ask at the same moment for the same encoding."""
    loader, loads, barrier = EncodingLoader(), [], threading.Barrier(16)

    def ask() -> None:
        barrier.wait()
        loads.append(loader.load("cl100k_base"))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id(load) for load in loads}) == 1
    assert loads[0].result().encode_ordinary("hello world") == [15339, 1917]


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """Nothing is downloaded instead."""
    with pytest.raises(TokenizerUnavailable, match=r"cl100k_base\.tiktoken\.gz cannot be read .* install the package"):
        EncodingLoader(tmp_path).load("cl100k_base").result()


@pytest.mark.parametrize("keep", [0, 5, 100, 700_000])
def test_a_truncated_file_is_an_error(tmp_path: Path, keep: int) -> None:
    """Wherever it ends."""
    target = tmp_path / file_of("cl100k_base").name
    target.write_bytes(file_of("cl100k_base").read_bytes()[:keep])

    with pytest.raises(TokenizerUnavailable, match="install the package again"):
        EncodingLoader(tmp_path).load("cl100k_base").result()


def test_another_vocabulary_is_an_error(tmp_path: Path) -> None:
    """A file under the wrong name would count, but wrongly."""
    shutil.copy(file_of("cl100k_base"), tmp_path / file_of("o200k_base").name)

    with pytest.raises(TokenizerUnavailable, match="is not the published one"):
        EncodingLoader(tmp_path).load("o200k_base").result()


def test_an_unknown_encoding_is_an_error_that_names_the_known_ones() -> None:
    """An operator may be newer than a sidecar."""
    with pytest.raises(TokenizerUnavailable, match="write one of cl100k_base, o200k_base"):
        EncodingLoader().load("p9000_base").result()


def test_every_line_of_a_vocabulary_is_a_token_and_its_rank() -> None:
    """The format that the loader relies on: base64, a blank, a number that grows."""
    lines = gzip.decompress(file_of("cl100k_base").read_bytes()).splitlines()

    assert [int(line.split()[1]) for line in lines] == list(range(100_256))
    assert b64decode(lines[0].split()[0]) == b"!"


MEASURE = """
import re
from memory_core.tokens.vocabulary import SHARED
import tiktoken

def resident() -> int:
    return int(re.search(r"^Rss: +([0-9]+) kB", open("/proc/self/smaps_rollup").read(), re.M)[1])

before = resident()
encoding = SHARED.load("o200k_base").result()
print(resident() - before)
"""


def test_a_loaded_vocabulary_is_kept_once() -> None:
    """Without the dictionary it was made from, which alone takes more than 30 MB, o200k_base stays below 60 MB."""
    environment = {"PYTHONPATH": str(FOLDER.parent.parent)}
    done = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=True)

    assert int(done.stdout) < 60_000
