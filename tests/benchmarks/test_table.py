"""What the table shows, and what it must not show."""

from benchmarks.figures import Better, Figure, Line, summarise
from benchmarks.table import measured, number, remarks, render

GET = Figure("get", "GET", "requests/s", Better.MORE)
HEAD = Figure("head", "HEAD", "requests/s", Better.MORE)


def test_numbers_keep_about_three_digits() -> None:
    assert [number(value) for value in (12345.6, 99.44, 1.234)] == ["12,346", "99.4", "1.23"]


def test_a_wide_spread_is_marked_and_a_single_value_has_none() -> None:
    assert measured(summarise([100, 200, 300])) == "200 (100-300) ~"
    assert measured(summarise([100, 101, 102])) == "101 (100-102)"
    assert measured(summarise([100])) == "100"


def test_columns_are_aligned_and_the_ratio_is_shown() -> None:
    lines = render("what", [Line(GET, ours=[300], theirs=[100])], "ours", "theirs").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split("|")[3:6] == ["  300 ", "    100 ", " 3.00 x "]


def test_a_failed_figure_shows_no_number_but_its_reason() -> None:
    failed = Line(GET, ours=[300], theirs=[], failures=["theirs: answered 500"])
    assert "300" not in render("what", [failed], "ours", "theirs")
    assert remarks([failed]) == ["not reported: GET: theirs: answered 500"]


def test_the_same_failure_of_two_figures_is_one_remark() -> None:
    lines = [Line(GET, failures=["it ended", "it ended"]), Line(HEAD, failures=["it ended"])]
    assert remarks(lines) == ["not reported: GET; HEAD: it ended"]


def test_the_mark_has_a_legend_only_where_it_is_used() -> None:
    assert remarks([Line(GET, ours=[100, 101], theirs=[100, 101])]) == []
    assert len(remarks([Line(GET, ours=[100, 200], theirs=[100, 101])])) == 1
