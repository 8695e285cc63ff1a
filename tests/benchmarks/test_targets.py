"""The targets of the figures, and when they are met."""

import pytest

from benchmarks.figures import Better, Figure, Line
from benchmarks.scenarios import scenarios
from benchmarks.stage import Plan
from benchmarks.table import bound
from benchmarks.targets import (
    Target,
    Verdict,
    absolute,
    against_floor,
    against_line,
    against_peer,
    targets,
    verdicts,
)

RATE = Figure("rate", "GET", "requests/s", Better.MORE)
COST = Figure("cost", "GET, server CPU", "us/request", Better.LESS)


def judge(target: Target, *lines: Line) -> Verdict:
    """Return the verdict on one target."""
    (found,) = verdicts({line.figure.key: line for line in lines}, [target])
    return found


@pytest.mark.parametrize(("limit", "is_met"), [(0.5, True), (0.4, False)])
def test_a_cost_is_compared_as_ours_over_theirs_round_by_round(limit: float, is_met: bool) -> None:
    line = Line(COST, ours=[1, 9, 2], theirs=[2, 10, 8])
    found = judge(against_peer("cost", Better.LESS, limit), line)
    assert list(found.values) == [0.5, 0.9, 0.25]
    assert found.is_met is is_met


@pytest.mark.parametrize(("limit", "is_met"), [(3, True), (3.1, False)])
def test_a_rate_has_to_be_at_least_so_many_times_theirs(limit: float, is_met: bool) -> None:
    found = judge(against_peer("rate", Better.MORE, limit), Line(RATE, ours=[6], theirs=[2]))
    assert found.is_met is is_met


def test_a_floor_counts_only_when_it_was_measured_in_every_round() -> None:
    target = against_floor("cost", "nginx", Better.LESS, 1.3)
    whole = Line(COST, ours=[3, 5], theirs=[1, 1], floors={"nginx": [2, 5]})
    assert list(judge(target, whole).values) == [1.5, 1]
    partly: list[dict[str, list[float]]] = [
        {},
        {"nginx": []},
        {"nginx": [2.0]},
        {"other": [2.0, 5.0]},
    ]
    for floors in partly:
        partial = Line(COST, ours=[3, 5], theirs=[1, 1], floors=floors)
        assert str(judge(target, partial)) == "not measured"


def test_two_lines_of_ours_are_compared_whatever_theirs_are() -> None:
    target = against_line("rate", "other", Better.MORE, 0.8, "the rate of other")
    line = Line(RATE, ours=[4], theirs=[1])
    other = Line(Figure("other", "HEAD", "requests/s", Better.MORE), ours=[5], theirs=[100])
    assert judge(target, line, other).is_met
    assert not judge(target, line).is_met


def test_a_failed_figure_meets_nothing() -> None:
    failed = Line(COST, ours=[1], theirs=[], failures=["theirs: answered 500"])
    found = judge(absolute("cost", 5, "ms"), failed)
    assert (found.is_met, str(found)) == (False, "not measured")


def test_a_verdict_says_in_how_many_rounds_when_they_differ() -> None:
    target = absolute("cost", 5, "ms")
    lines = {
        "yes": Line(COST, ours=[4, 5, 3], theirs=[1, 1, 1]),
        "NO": Line(COST, ours=[6, 7, 8], theirs=[1, 1, 1]),
        "yes (2 of 3 rounds)": Line(COST, ours=[4, 5, 6], theirs=[1, 1, 1]),
        "NO (1 of 3 rounds)": Line(COST, ours=[4, 6, 6], theirs=[1, 1, 1]),
    }
    assert {said: str(judge(target, line)) for said, line in lines.items()} == {
        said: said for said in lines
    }


def test_a_bound_reads_as_a_sentence_and_has_no_end_to_trim() -> None:
    assert bound(against_peer("rate", Better.MORE, 20)) == "at least 20 x docker-registry"
    assert bound(absolute("cost", 5, "ms")) == "at most 5 ms"


def test_every_target_is_about_a_figure_that_is_measured() -> None:
    plan = Plan()
    figures = {
        figure.key for each in scenarios(plan) for m in each.measures for figure in m.figures
    }
    assert {target.key for target in targets(plan.streams, plan.clients)} <= figures
    # A figure that is not there would silently drop its target from the table.
    lines = {key: Line(RATE, ours=[1], theirs=[1], floors={}) for key in figures}
    unmeasured = [
        target
        for target in targets(plan.streams, plan.clients)
        if not target.reached(lines) and "nginx" not in target.claim and "sum" not in target.claim
    ]
    assert unmeasured == []


def test_every_scenario_writes_into_a_root_of_its_own() -> None:
    keys = [scenario.key for scenario in scenarios(Plan())]
    assert len(set(keys)) == len(keys)
