"""One row of a process's table of metrics; dashboards, alerts and documentation are checked against these tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name as it stands on the page (without the suffixes of a histogram), what it means, its labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
