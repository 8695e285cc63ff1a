"""`python -m benchmarks.compare A.json B.json`: show what changed between two result files.

Exit codes: 0 compared, 2 a file is not a result of `python -m benchmarks`.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.errors import BenchmarkError, NotReady
from benchmarks.figures import Better, Summary, ratio, summarise
from benchmarks.report import FORMAT
from benchmarks.table import aligned, measured, number

SMALLEST = 0.02
"""Smaller differences do not count as a change, however well the values of each file agree."""
FEWEST = 3
"""With fewer rounds the ranges are too often disjoint by chance."""


class Measured(BaseModel):
    """One figure of a result file; values are one per round."""

    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    unit: str
    better: Better
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    failures: tuple[str, ...]


class Document(BaseModel):
    """The part of a result file that a comparison needs."""

    model_config = ConfigDict(frozen=True)

    format: int
    servers: dict[str, str]
    plan: dict[str, float]
    figures: tuple[Measured, ...]

    def by_key(self) -> dict[str, Measured]:
        """Return the figures that have values of ours, by key."""
        usable = (figure for figure in self.figures if figure.ours and not figure.failures)
        return {figure.key: figure for figure in usable}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in two files: our values, and the change of the other registry.

    `times` is above 1 if the second file is better. `drift` is the same ratio for the other
    registry, which did not change between the files: it shows what the machine did, and is 1 if it
    was not measured. `rounds` is the smaller number of rounds.
    """

    figure: Measured
    first: Summary
    second: Summary
    times: float
    drift: float
    rounds: int

    @property
    def is_outside_noise(self) -> bool:
        """Whether the ranges are disjoint and the change exceeds the other registry's."""
        apart = self.first.high < self.second.low or self.second.high < self.first.low
        moved = abs(math.log(self.times))
        return (
            self.rounds >= FEWEST
            and apart
            and moved > max(abs(math.log(self.drift)), math.log1p(SMALLEST))
        )


def read(file: Path) -> Document:
    """Read a result file; raise `NotReady` if it is not one."""
    try:
        document = Document.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise NotReady(f"{file} is not a result of the benchmarks: {reason}") from None
    if document.format != FORMAT:
        raise NotReady(f"{file} has format {document.format}; this version reads {FORMAT}")
    return document


def changes(first: Document, second: Document) -> list[Change]:
    """Compare the figures that both files have, in the order of the second."""
    before = first.by_key()
    return [
        _change(before[key], figure)
        for key, figure in second.by_key().items()
        if key in before and before[key].title == figure.title
    ]


def text(first: Document, second: Document) -> str:
    """Return the table of changes with notes."""
    common = changes(first, second)
    rows = [["measurement", "unit", "first", "second", "change", "other server", "outside noise"]]
    rows += [_row(change) for change in common]
    said = [aligned(rows)] if common else ["no figure is in both files"]
    notes = [
        "change is above 1 x where the second is better; the other server did not change, so its "
        "change is noise",
        "outside the noise: the ranges do not overlap, and the change is larger than that of the "
        f"other server and than {SMALLEST:.0%}; this needs {FEWEST} rounds in each file",
    ]
    if first.plan != second.plan:
        notes.append("the plans differ in sizes or durations")
    missing = sorted(first.by_key().keys() ^ second.by_key().keys())
    if missing:
        notes.append(f"in one file only: {', '.join(missing)}")
    servers = [
        f"{name}: {', '.join(document.servers.values())}"
        for name, document in (("first", first), ("second", second))
    ]
    return "\n\n".join(["\n".join(servers), *said, "\n".join(f"- {note}" for note in notes)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison of two files and return the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.compare", description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args(arguments)
    try:
        print(text(read(options.first), read(options.second)))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    return 0


def _change(before: Measured, after: Measured) -> Change:
    first, second = summarise(before.ours), summarise(after.ours)
    times, drift = ratio(after.better, second.median, first.median), 1.0
    if before.theirs and after.theirs:
        medians = summarise(after.theirs).median, summarise(before.theirs).median
        drift = ratio(after.better, *medians)
    rounds = min(len(before.ours), len(after.ours))
    return Change(after, first, second, times, drift, rounds)


def _row(change: Change) -> list[str]:
    figure = change.figure
    values = [measured(change.first), measured(change.second)]
    ratios = [f"{number(change.times)} x", f"{number(change.drift)} x"]
    return [figure.title, figure.unit, *values, *ratios, "yes" if change.is_outside_noise else ""]


if __name__ == "__main__":
    sys.exit(main())
