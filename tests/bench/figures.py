"""A measured figure and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The values of one quantity over the runs, and the bound it should keep."""

    name: str
    unit: str
    values: Sequence[float]
    about: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        middle = median(self.values)
        return (self.at_least is None or middle >= self.at_least) and (
            self.at_most is None or middle <= self.at_most
        )

    def __str__(self) -> str:
        least, middle, most = (shown(f(self.values)) for f in (min, median, max))
        values = f"{least:>9} {middle:>9} {most:>9} {self.unit:<7}"
        return f"{self.name:<28} {values} {self._target():<22} {self.about}"

    def _target(self) -> str:
        bound = self.at_least if self.at_least is not None else self.at_most
        if bound is None:
            return ""
        sign = "≥" if self.at_least is not None else "≤"
        return f"{'met' if self.is_met else 'MISSED'}: {sign} {shown(bound)}"


HEADER = f"{'figure':<28} {'min':>9} {'median':>9} {'max':>9} {'unit':<7} {'target (median)':<22} what it is"


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
