"""The encodings that are shipped, and loading them: from files beside this package, verified, at most once per process.

A vocabulary takes about 50 MB (o200k_base) or 30 MB (cl100k_base) once loaded, so it is loaded by the first count that
needs it, in a thread of its own; callers that come meanwhile wait for the same load. Nothing is ever downloaded.
"""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import sys
import threading
import zlib
from base64 import b64decode
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memory_core.errors import TokenizerUnavailable

if TYPE_CHECKING:
    from tiktoken import Encoding

FOLDER: Final = Path(__file__).resolve().parent.parent / "vocabularies"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What defines an encoding: ranked byte strings (in a file) and the pattern that splits text before merging.

    Source of hashes, patterns and special tokens: tiktoken_ext/openai_public.py; a test compares them.
    """

    name: str
    sha256: str
    pattern: str
    special_tokens: dict[str, int]


_CL100K: Final = Vocabulary(
    name="cl100k_base",
    sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    pattern=(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    special_tokens={
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
)

_O200K: Final = Vocabulary(
    name="o200k_base",
    sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    pattern="|".join(
        (
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
    special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
)

VOCABULARIES: Final = {vocabulary.name: vocabulary for vocabulary in (_CL100K, _O200K)}


class EncodingLoader:
    """Loads each encoding at most once. Safe to use from any thread and any event loop."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._loads: dict[str, Future[Encoding]] = {}
        self._lock = threading.Lock()

    def load(self, name: str) -> Future[Encoding]:
        """Return the one load of this encoding, started in a thread of its own when it is the first.

        The future fails with TokenizerUnavailable; so it does for every later caller, since shipped files do not heal.
        """
        with self._lock:
            load = self._loads.get(name)
            if load is None:
                load = self._loads[name] = Future()
                load.set_running_or_notify_cancel()  # from now on a caller that gives up cannot cancel it for others
                threading.Thread(target=self._run, args=(name, load), name=f"load-{name}", daemon=True).start()
        return load

    def _run(self, name: str, load: Future[Encoding]) -> None:
        try:
            load.set_result(_build(name, self._folder))
        except BaseException as error:  # noqa: BLE001  (edge of the thread: every outcome belongs to those who wait)
            load.set_exception(error)


SHARED: Final = EncodingLoader()  # vocabularies are immutable and large: one per process is the point


def _build(name: str, folder: Path) -> Encoding:
    """Return the encoding without the dictionary it was made from, which nobody needs afterwards."""
    from tiktoken import Encoding  # noqa: PLC0415  (late: a process that counts nothing does not pay for it)

    vocabulary = VOCABULARIES.get(name)
    if vocabulary is None:
        raise TokenizerUnavailable(f"there is no encoding {name!r}; write one of {', '.join(sorted(VOCABULARIES))}")
    ranks = _read_ranks(folder / f"{name}.tiktoken.gz", vocabulary.sha256)
    encoding = Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens=vocabulary.special_tokens
    )
    ranks.clear()  # the encoding refers to this very dictionary, but counting uses its compiled copy only
    _return_free_memory()
    return encoding


def _read_ranks(path: Path, sha256: str) -> dict[bytes, int]:
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise TokenizerUnavailable(
            f"vocabulary {path.name} cannot be read ({error}); install the package again"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TokenizerUnavailable(f"vocabulary {path.name} is not the published one; install the package again")
    pairs = (line.split() for line in content.splitlines())
    return {b64decode(token): int(rank) for token, rank in pairs}


def _return_free_memory() -> None:
    """Give the memory of the dictionary back to the system: 34 MB for o200k_base. Other C libraries do so unasked."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
