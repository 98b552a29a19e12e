"""JSON values as YAML that people like to read: block style, and quotes wherever a word could mean something else.

YAML 1.1 and 1.2 readers get the value back. A string is a plain word only when no reader could take it for anything
else; otherwise it is a JSON string, which YAML reads as its double-quoted form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_UNPRINTABLE = re.compile(
    "[^\n\x20-\x7e\u00a0-\u061b\u061d-\u200d\u2010-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LONGEST_PLAIN_NAME = 1000  # readers look for the colon within 1024 characters


def yaml_text(value: object) -> str:
    """Return the value as YAML."""
    return "\n".join(_block(value)) + "\n"


def _block(value: object) -> Iterator[str]:
    """Yield the lines of a value that stands alone."""
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from _member(_string(str(name)), member)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for member in value:
            lines = _block(member)
            yield f"- {next(lines)}"
            yield from (f"  {line}" for line in lines)
    else:
        yield _scalar(value)


def _member(name: str, value: object) -> Iterator[str]:
    """Yield the lines of a mapping's member: a scalar beside its name, anything longer below it."""
    if len(name) > _LONGEST_PLAIN_NAME:
        yield f"? {name}"
        name = ""
    if isinstance(value, (Mapping, list, tuple)) and value:
        yield f"{name}:"
        yield from (f"  {line}" for line in _block(value))
    else:
        yield f"{name}: {_scalar(value)}"


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a word
    return text


def _string(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return escaped(json.dumps(text, ensure_ascii=False))


def escaped(json_text: str) -> str:
    """Return JSON with escapes for what is not printable, such as terminal controls that JSON itself lets through."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)
