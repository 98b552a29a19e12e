"""Who the pod is: what a sidecar knows of its pod from environment variables and a downward API volume.

Rule: scope comes from here, never from a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from memory_core.errors import BindingInvalid

_LINE: Final = re.compile(r'(?P<key>[^="\s]+)="(?P<value>(?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What identifies a pod; key templates see it."""

    namespace: str
    pod_name: str = ""
    pod_uid: str = ""
    service_account: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], podinfo: Path | None = None) -> PodFacts:
        """Read POD_NAMESPACE, POD_NAME, POD_UID, POD_SERVICE_ACCOUNT, and the file `labels` in the folder `podinfo`.

        Raises BindingInvalid when the namespace is not given or the file cannot be read.
        """
        namespace = environment.get("POD_NAMESPACE", "")
        if not namespace:
            raise BindingInvalid("the pod's namespace is not known: set POD_NAMESPACE from metadata.namespace")
        return cls(
            namespace=namespace,
            pod_name=environment.get("POD_NAME", ""),
            pod_uid=environment.get("POD_UID", ""),
            service_account=environment.get("POD_SERVICE_ACCOUNT", ""),
            labels=MappingProxyType(read_podinfo(podinfo / "labels") if podinfo is not None else {}),
        )


def read_podinfo(path: Path) -> dict[str, str]:
    """Read a file of a downward API volume: labels or annotations.

    Raises BindingInvalid when it is missing or malformed.
    """
    try:
        return parse_podinfo(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BindingInvalid(
            f"{path} cannot be read ({error}); mount a downward API volume with {path.name}"
        ) from error


def parse_podinfo(text: str) -> dict[str, str]:
    """Return what the kubelet wrote: a line `key="value"` for each, the value quoted as in Go (`%q`).

    Raises BindingInvalid for anything else.
    """
    values = {}
    for line in filter(None, text.split("\n")):
        match = _LINE.fullmatch(line)
        if match is None:
            raise BindingInvalid(f'not a line of a downward API volume, which reads key="value": {line[:80]!r}')
        values[match["key"]] = _ESCAPE.sub(_unescape, match["value"])
    return values


def _unescape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code is None:
        return _LETTERS.get(escape[4], escape[4])
    number = int(code, 16)
    return chr(number) if number <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"
