"""The one place where keys of the store are spelled.

    am:1:{NAMESPACE/MEMORY}:config|instances             a memory
    am:1:{NAMESPACE/MEMORY/KEY}:meta|index|messages|...  an instance (one conversation)
    am:1:operator:{NAMESPACE/LEASE}:memories             an installation of the operator

Rule: every segment is percent-encoded, so that no segment can contain a separator or a brace. Two different names
therefore never share a key, and the part in braces, which a cluster hashes, keeps all keys of one instance on one node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote

PREFIX: Final = "am:1:"  # 1 is the version of the layout

MAX_KEY_LENGTH: Final = 512  # characters of a rendered conversation key


def _encode(segment: str) -> str:
    """Percent-encode everything but letters, digits and `_.-~`."""
    return quote(segment, safe="")


@dataclass(frozen=True, slots=True)
class MemoryRef:
    """Names a MemoryResource."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def encode(self) -> bytes:
        """Return the name as one word, as sets of memories hold it."""
        return f"{_encode(self.namespace)}/{_encode(self.name)}".encode()

    @classmethod
    def decode(cls, word: bytes) -> MemoryRef:
        """Read what `encode` wrote; raises ValueError for anything else."""
        namespace, name = word.decode().split("/")
        return cls(unquote(namespace), unquote(name))


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """Keys of one installation of the operator, which its Lease names. No pattern of a memory matches them."""

    namespace: str
    lease: str
    memories: bytes = field(init=False)  # SET: memories whose configuration this installation has written

    def __post_init__(self) -> None:
        tag = f"{_encode(self.namespace)}/{_encode(self.lease)}"
        object.__setattr__(self, "memories", f"{PREFIX}operator:{{{tag}}}:memories".encode())


@dataclass(frozen=True, slots=True)
class MemoryKeys:
    """Keys of a memory as a whole. All share one slot of a cluster."""

    ref: MemoryRef
    config: bytes = field(init=False)  # HASH: the compiled configuration, its revision and the operator's epoch
    instances: bytes = field(init=False)  # ZSET: conversation keys by the time of their registration
    channel: bytes = field(init=False)  # publish/subscribe channel: the revision, whenever it changes

    def __post_init__(self) -> None:
        base = f"{PREFIX}{{{_encode(self.ref.namespace)}/{_encode(self.ref.name)}}}:"
        for part in ("config", "instances", "channel"):
            object.__setattr__(self, part, f"{base}{part}".encode())

    @property
    def instance_pattern(self) -> bytes:
        """Return the SCAN pattern that matches every key of every instance, and nothing of another memory.

        Encoded segments contain no character that is special in a pattern.
        """
        return f"{PREFIX}{{{_encode(self.ref.namespace)}/{_encode(self.ref.name)}/*".encode()


@dataclass(frozen=True, slots=True)
class InstanceKeys:
    """Keys of one conversation. All share one slot of a cluster."""

    ref: MemoryRef
    key: str
    meta: bytes = field(init=False)  # STRING: version, last sequence number, totals, packed
    index: bytes = field(init=False)  # ZSET: a short header per message, scored by sequence number
    messages: bytes = field(init=False)  # HASH: message id to its body
    units: bytes = field(init=False)  # HASH: which tool results answer which tool call
    idem0: bytes = field(init=False)  # HASH: answers by idempotency key, of days with an even number
    idem1: bytes = field(init=False)  # HASH: the same for odd days

    def __post_init__(self) -> None:
        base = f"{PREFIX}{{{_encode(self.ref.namespace)}/{_encode(self.ref.name)}/{_encode(self.key)}}}:"
        for part in ("meta", "index", "messages", "units", "idem0", "idem1"):
            object.__setattr__(self, part, f"{base}{part}".encode())

    @property
    def all(self) -> tuple[bytes, ...]:
        """Return every key the instance may own."""
        return (self.meta, self.index, self.messages, self.units, self.idem0, self.idem1)


def parse_instance_key(name: bytes) -> tuple[MemoryRef, str]:
    """Return which memory and conversation a key of an instance belongs to.

    Raises ValueError for any other key.
    """
    text = name.decode()
    if not text.startswith(PREFIX + "{"):
        raise ValueError(f"not a key of an instance: {text!r}")
    tag, closed, _part = text.removeprefix(PREFIX + "{").partition("}:")
    segments = tag.split("/")
    if not closed or len(segments) != 3:
        raise ValueError(f"not a key of an instance: {text!r}")
    namespace, memory, key = (unquote(segment) for segment in segments)
    return MemoryRef(namespace, memory), key


def instance_hash(ref: MemoryRef, key: str) -> str:
    """Return 16 hexadecimal digits that stand for a conversation in logs, where its key must not appear."""
    digest = blake2b(digest_size=8)
    for segment in (ref.namespace, ref.name, key):
        raw = segment.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.hexdigest()
