"""The numbers of a benchmark and the arithmetic on them; no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

WIDE = 0.20
"""The table marks a spread above this share of the median."""


class Better(Enum):
    """Whether higher or lower values of a figure are better."""

    MORE = "more"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: title, unit, and which direction is better."""

    key: str
    title: str
    unit: str
    better: Better


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of some values with the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The distance of the extremes as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0

    @property
    def is_wide(self) -> bool:
        """Whether the values vary too much to trust the median to a few per cent."""
        return self.spread > WIDE


@dataclass(slots=True)
class Line:
    """The values of one figure, one per round and side, with failures and notes.

    `floors` has the cost of the bare minimum of work, by a name for it. `client_shares` has the
    client's share of the CPU that it and our server used.
    """

    figure: Figure
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    floors: dict[str, list[float]] = field(default_factory=dict)
    client_shares: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_reported(self) -> bool:
        """Whether every round of both sides succeeded."""
        return not self.failures and bool(self.ours) and len(self.ours) == len(self.theirs)

    def ratios(self) -> list[float]:
        """Return one ratio per round, above 1 when ours is ahead."""
        return [
            ratio(self.figure.better, *pair) for pair in zip(self.ours, self.theirs, strict=True)
        ]

    def whole_floors(self) -> dict[str, list[float]]:
        """Return the floors that were measured in as many rounds as ours."""
        return {name: v for name, v in self.floors.items() if v and len(v) == len(self.ours)}


def ratio(better: Better, ours: float, theirs: float) -> float:
    """Return how many times better `ours` is than `theirs`; both are positive."""
    return ours / theirs if better is Better.MORE else theirs / ours


def summarise(values: Sequence[float]) -> Summary:
    """Return the median and the extremes of at least one value."""
    return Summary(median(values), min(values), max(values))
