"""The targets for the figures, and whether they are met; pure.

A target compares our values with those of `docker-registry`, with a floor, with another of our
lines, or with a number. It is met if the median over the rounds meets it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import Better, Line

Lines = Mapping[str, Line]
MOST_MEMORY_MB = 30
SHA256SUM = "sha256sum + copy"
NGINX = "nginx"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for the values of `reached`: one per round, none if not measured.

    `better` is MORE for at least `limit`, LESS for at most `limit`.
    """

    key: str
    claim: str
    unit: str
    better: Better
    limit: float
    reached: Callable[[Lines], Sequence[float]]

    def holds(self, value: float) -> bool:
        """Return True if one value meets the limit."""
        return value >= self.limit if self.better is Better.MORE else value <= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and the reached values, none if they could not be measured."""

    target: Target
    values: Sequence[float]

    @property
    def is_met(self) -> bool:
        """Whether the median meets the target."""
        return bool(self.values) and self.target.holds(median(self.values))

    @property
    def rounds_met(self) -> int:
        """The number of rounds that met it."""
        return sum(self.target.holds(value) for value in self.values)

    def __str__(self) -> str:
        if not self.values:
            return "not measured"
        word = "yes" if self.is_met else "NO"
        if self.rounds_met in (0, len(self.values)):
            return word
        return f"{word} ({self.rounds_met} of {len(self.values)} rounds)"


def verdicts(lines: Lines, targets: Sequence[Target]) -> list[Verdict]:
    """Return the verdict of every target that has a line, in the order of the targets."""
    return [Verdict(target, target.reached(lines)) for target in targets if target.key in lines]


def against_peer(key: str, better: Better, limit: float, name: str = "docker-registry") -> Target:
    """Require at least (or at most) `limit` times the value of the other server, `name`."""

    def reached(lines: Lines) -> Sequence[float]:
        line = lines.get(key)
        return _over(line.ours, line.theirs) if line and line.is_reported else []

    return Target(key, name, "x", better, limit, reached)


def against_floor(key: str, floor: str, better: Better, limit: float) -> Target:
    """Require at least (or at most) `limit` times the value of a floor."""

    def reached(lines: Lines) -> Sequence[float]:
        line = lines.get(key)
        if line is None or not line.is_reported or floor not in line.whole_floors():
            return []
        return _over(line.ours, line.floors[floor])

    return Target(key, floor, "x", better, limit, reached)


def against_line(key: str, other: str, better: Better, limit: float, claim: str) -> Target:
    """Require at least (or at most) `limit` times the value of another of our lines."""

    def reached(lines: Lines) -> Sequence[float]:
        line, base = lines.get(key), lines.get(other)
        both = line and base and line.is_reported and base.is_reported
        return _over(line.ours, base.ours) if line and base and both else []

    return Target(key, claim, "x", better, limit, reached)


def absolute(key: str, limit: float, unit: str) -> Target:
    """Require at most `limit`."""

    def reached(lines: Lines) -> Sequence[float]:
        line = lines.get(key)
        return line.ours if line and line.is_reported else []

    return Target(key, "", unit, Better.LESS, limit, reached)


def _over(values: Sequence[float], base: Sequence[float]) -> list[float]:
    return [value / divisor for value, divisor in zip(values, base, strict=True)]


def targets(streams: int, clients: int) -> list[Target]:
    """Return every target, in the order of the table."""
    same = "the rate of"
    return [
        against_peer("manifest.get.rate", Better.MORE, 20),
        against_peer("manifest.head.rate", Better.MORE, 20),
        against_line("base.rate", "manifest.get.rate", Better.MORE, 0.8, f"{same} GET manifest"),
        against_line(
            "blob.head.rate", "manifest.head.rate", Better.MORE, 0.8, f"{same} HEAD manifest"
        ),
        *(target for count in (1, streams) for target in _download(f"blob.get.{count}")),
        *(target for form in ("content-length", "chunked") for target in _push(f"push.{form}")),
        against_peer(f"tiny.{clients}.rate", Better.MORE, 3),
        *(absolute(f"chunks.{form}.{what}", 1.2, "x") for form in _FORMS for what in _GROWTHS),
        *_listings(),
        absolute("flat.resident", MOST_MEMORY_MB, "MB"),
        absolute("start", 1000, "ms"),
    ]


_FORMS = ("same", "new")
_GROWTHS = ("cpu.growth", "time.growth")


def _download(key: str) -> list[Target]:
    return [
        against_peer(f"{key}.rate", Better.MORE, 1),
        against_floor(f"{key}.rate", NGINX, Better.MORE, 1),
        against_peer(f"{key}.cpu", Better.LESS, 0.6),
        against_floor(f"{key}.cpu", NGINX, Better.LESS, 1.3),
    ]


def _push(key: str) -> list[Target]:
    return [
        against_peer(f"{key}.rate", Better.MORE, 3),
        against_peer(f"{key}.cpu", Better.LESS, 0.5),
        against_floor(f"{key}.cpu", SHA256SUM, Better.LESS, 2),
    ]


def _listings() -> list[Target]:
    first = "what the first page costs"
    return [
        against_peer("tags.all.rate", Better.MORE, 1),
        against_peer("tags.page.rate", Better.MORE, 1),
        against_line("tags.page.cpu", "tags.first.cpu", Better.LESS, 1.2, first),
        absolute("catalog.first.latency", 5, "ms"),
        absolute("catalog.middle.latency", 5, "ms"),
        against_line("catalog.middle.cpu", "catalog.first.cpu", Better.LESS, 1.2, first),
    ]
