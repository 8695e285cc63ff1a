"""The arithmetic of a table's line."""

import pytest

from benchmarks.figures import Better, Figure, Line, ratio, summarise

RATE = Figure("rate", "GET", "requests/s", Better.MORE)
COST = Figure("cost", "GET, server CPU", "us/request", Better.LESS)


@pytest.mark.parametrize(
    ("better", "ours", "theirs", "expected"),
    [(Better.MORE, 300, 100, 3), (Better.LESS, 100, 300, 3), (Better.MORE, 50, 100, 0.5)],
)
def test_a_ratio_above_one_means_ours_is_ahead_whichever_way_is_better(
    better: Better, ours: float, theirs: float, expected: float
) -> None:
    assert ratio(better, ours, theirs) == expected


def test_ratios_are_taken_per_round_not_between_medians() -> None:
    line = Line(COST, ours=[1, 10, 4], theirs=[2, 10, 1])
    assert line.ratios() == [2, 1, 0.25]
    assert summarise(line.ratios()).median == 1


def test_a_spread_is_wide_above_a_fifth_of_the_median() -> None:
    assert not summarise([95, 100, 115]).is_wide
    assert summarise([94, 100, 115]).is_wide


def test_one_failure_in_any_round_excludes_the_figure() -> None:
    assert Line(RATE, ours=[1, 2], theirs=[1, 2]).is_reported
    assert not Line(RATE, ours=[1, 2], theirs=[1, 2], failures=["answered 500"]).is_reported
    assert not Line(RATE, ours=[1], theirs=[1, 2]).is_reported
    assert not Line(RATE).is_reported
