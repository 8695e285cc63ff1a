"""The kinds of measures: figures that are taken together, with their titles and units."""

from collections.abc import Callable, Sequence

from benchmarks.figures import Better, Figure
from benchmarks.stage import Measure, Stage

Take = Callable[[Stage], Sequence[float]]


def pair(key: str, title: str, rate: str, cost: str, take: Take) -> Measure:
    """Return a measure of a rate and of the server's CPU."""
    figures = (
        Figure(f"{key}.rate", title, rate, Better.MORE),
        Figure(f"{key}.cpu", f"{title}, server CPU", cost, Better.LESS),
    )
    return Measure(figures, take)


def requests(key: str, title: str, take: Take) -> Measure:
    """Return a measure of requests per second and of their CPU."""
    return pair(key, title, "requests/s", "us/request", take)


def alone(key: str, title: str, unit: str, take: Take) -> Measure:
    """Return a measure of one figure; lower is better."""
    return Measure([Figure(key, title, unit, Better.LESS)], take)
