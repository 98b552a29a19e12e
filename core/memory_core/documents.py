"""Read JSON that somebody else wrote, and say what is wrong with it in words of that document.

Parsing is msgspec's; this module turns its errors, and those of hostile input (too deep, not UTF-8, half a surrogate
pair), into InvalidRequest with the place first: `messages[3].name: expected a string, got a whole number`.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from memory_core.errors import InvalidRequest

_T = TypeVar("_T")

_PLACED: Final = re.compile(r"^(?P<what>.*) - at `(?:key in )?\$\.?(?P<place>.*)`$", re.DOTALL)
_CODE: Final = re.compile(r"`([^`]*)`")
_LENGTH: Final = re.compile(r"Expected `(?P<kind>str|array)` of length (?P<bound><=|>=) (?P<number>\d+)")
_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_PATTERN: Final = re.compile(r"a string matching regex '(?P<pattern>.*?)(?:\(\?!\\\\n\))?'$")
_ALLOWED: Final = {"role": "system, developer, user, assistant or tool", "type": "function"}  # enumerations, by member
_TOO_DEEP: Final = "nested too deeply"
_CUT_SHORT: Final = "JSON is malformed: it is cut short, or ends in half a surrogate pair"

# Patterns end in $(?!\n) instead of \Z, which JSON Schema does not know; $ alone lets a last line end pass.
PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"


def decode(decoder: msgspec.json.Decoder[_T], raw: bytes | msgspec.Raw) -> _T:
    """Decode a whole document.

    Raises InvalidRequest with the place and what was expected there.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest(_explain(error)) from error


def read_object(raw: msgspec.Raw, place: str, *, max_depth: int) -> dict[str, Any]:
    """Return the object that a part of a document holds, which is to be kept as it was written.

    Raises InvalidRequest when it is no object, or not one that every reader could read.
    """
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{place}: {_explain(error)}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place}: expected an object")
    if _depth_exceeds(value, max_depth):
        raise InvalidRequest(f"{place}: at most {max_depth} levels of nesting")
    return value


class _Messages(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw(b"null")


_MESSAGES: Final = msgspec.json.Decoder(_Messages)
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


def request_fingerprint(body: bytes) -> str:
    """Return 32 hexadecimal digits that tell whether two append requests carry the same messages.

    Taken of the messages as the caller sent them, so that ids and times given by the system do not matter; the order of
    members, white space and escapes do not either. Beside the messages nothing counts: a caller that did not see the
    first answer may expect another version by now.
    """
    messages = decode(_MESSAGES, body).messages
    try:
        canonical = _CANONICAL.encode(msgspec.json.decode(messages))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"messages: {_explain(error)}") from error
    return blake2b(canonical, digest_size=16).hexdigest()


def _depth_exceeds(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        level = [
            member
            for container in level
            for member in (container.values() if isinstance(container, dict) else container)
            if isinstance(member, dict | list)
        ]
        if not level:
            return False
    return True


def _explain(error: Exception) -> str:
    """Return one sentence, the place first, without words of the parser or of Python."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    text = str(error)
    placed = _PLACED.match(text)
    what, place = (placed["what"], placed["place"]) if placed else (text, "")
    sentence = _CODE.sub(_name_kind, _LENGTH.sub(_name_length, what))
    sentence = sentence.removeprefix("Object ").replace("Input data was truncated", _CUT_SHORT)
    sentence = _PATTERN.sub(_name_pattern, sentence)
    allowed = _ALLOWED.get(place.rpartition(".")[2])
    if allowed and sentence.startswith("Invalid enum value"):
        sentence += f", write {allowed}"
    sentence = sentence[:1].lower() + sentence[1:] if not sentence.startswith("JSON") else sentence
    return f"{place}: {sentence}" if place else sentence


def _name_kind(code: re.Match[str]) -> str:
    kinds = code[1].split(" | ")
    if all(kind in _KINDS for kind in kinds):
        return " or ".join(_KINDS[kind] for kind in kinds)
    return repr(code[1])


def _name_length(length: re.Match[str]) -> str:
    one, many = ("character", "characters") if length["kind"] == "str" else ("entry", "entries")
    side = "most" if length["bound"] == "<=" else "least"
    return f"At {side} {length['number']} {one if length['number'] == '1' else many}"


def _name_pattern(found: re.Match[str]) -> str:
    pattern = found["pattern"].replace("\\\\", "\\")
    return "text without control characters" if PRINTABLE.startswith(pattern) else f"a string matching {pattern}"
