"""Two result files side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.compare import main
from benchmarks.report import FORMAT

RATE: Sequence[float] = (100, 104, 98)


def write(
    file: Path,
    ours: Sequence[float],
    theirs: Sequence[float] = RATE,
    *,
    better: str = "more",
    title: str = "GET",
    failures: Sequence[str] = (),
) -> Path:
    """Write a result file with one figure."""
    figure = {
        "key": "get",
        "title": title,
        "unit": "requests/s",
        "better": better,
        "ours": list(ours),
        "theirs": list(theirs),
        "failures": list(failures),
    }
    document = {
        "format": FORMAT,
        "servers": {"ours": file.stem},
        "plan": {"seconds": 5},
        "figures": [figure],
    }
    file.write_text(json.dumps(document))
    return file


def row(printed: str) -> list[str]:
    """Return the cells of the only line of the table."""
    line = next(line for line in printed.splitlines() if line.startswith("| GET"))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def compare(capsys: pytest.CaptureFixture[str], first: Path, second: Path) -> list[str]:
    """Compare two files and return the cells of the only line."""
    assert main([str(first), str(second)]) == 0
    return row(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("better", "second", "change", "mark"),
    [
        ("more", (200, 210, 196), "2.00 x", "yes"),
        ("more", (50, 52, 49), "0.50 x", "yes"),
        ("less", (50, 52, 49), "2.00 x", "yes"),
        ("more", (103, 110, 112), "1.10 x", ""),  # the ranges overlap
        ("more", (104.1, 104.2, 104.3), "1.04 x", "yes"),
    ],
)
def test_a_change_is_marked_when_the_ranges_do_not_overlap(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    better: str,
    second: Sequence[float],
    change: str,
    mark: str,
) -> None:
    before = write(tmp_path / "a.json", RATE, better=better)
    after = write(tmp_path / "b.json", second, better=better)
    assert compare(capsys, before, after)[4:] == [change, "1.00 x", mark]


def test_a_change_that_the_other_server_made_too_is_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "a.json", RATE)
    after = write(tmp_path / "b.json", (130, 131, 132), theirs=(140, 141, 142))
    assert compare(capsys, before, after)[4:] == ["1.31 x", "1.41 x", ""]


def test_a_change_of_one_per_cent_is_never_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "a.json", (100, 100, 100))
    after = write(tmp_path / "b.json", (101, 101, 101))
    assert compare(capsys, before, after)[4:] == ["1.01 x", "1.00 x", ""]


def test_two_rounds_are_too_few_to_tell_a_change_from_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = write(tmp_path / "a.json", RATE[:2]), write(tmp_path / "b.json", (300, 300))
    assert compare(capsys, before, after)[6] == ""


def test_both_spreads_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = write(tmp_path / "a.json", RATE), write(tmp_path / "b.json", (200, 300, 400))
    assert compare(capsys, before, after)[2:4] == ["100 (98.0-104)", "300 (200-400) ~"]


@pytest.mark.parametrize("change", [{"failures": ["answered 500"]}, {"title": "GET of more"}])
def test_a_figure_that_failed_or_is_another_is_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str]
) -> None:
    before = write(tmp_path / "a.json", RATE)
    after = write(tmp_path / "b.json", RATE, **change)  # type: ignore[arg-type]
    assert main([str(before), str(after)]) == 0
    assert "no figure is in both files" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "", "[]", '{"figures": []}'])
def test_an_invalid_result_file_is_named_in_one_line_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    good, bad = write(tmp_path / "good.json", RATE), tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    assert main([str(good), str(bad)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert str(bad) in said.err


def test_a_file_of_another_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, old = write(tmp_path / "good.json", RATE), write(tmp_path / "old.json", RATE)
    old.write_text(json.dumps({**json.loads(old.read_text()), "format": FORMAT - 1}))
    assert main([str(old), str(good)]) == 2
    assert f"format {FORMAT - 1}" in capsys.readouterr().err
