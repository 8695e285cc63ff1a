"""Renders lines as an aligned Markdown table; pure."""

from collections.abc import Sequence

from benchmarks.figures import Better, Line, Summary, summarise
from benchmarks.targets import Target


def number(value: float) -> str:
    """Format a value with about three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def measured(summary: Summary) -> str:
    """Format a median with its extremes, marked `~` if they are far apart."""
    if summary.low == summary.high:
        return number(summary.median)
    mark = " ~" if summary.is_wide else ""
    return f"{number(summary.median)} ({number(summary.low)}-{number(summary.high)}){mark}"


def row(line: Line) -> list[str]:
    """Return the cells of one line; a figure with a failure shows no number."""
    head = [line.figure.title, line.figure.unit]
    if not line.is_reported:
        return [*head, "not reported", "", ""]
    values = [measured(summarise(values)) for values in (line.ours, line.theirs, line.ratios())]
    values[2] += " x"
    return head + values


def aligned(rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Lay out rows as a Markdown table; the first row is the head, `left` columns align left."""
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        + " |"
        for cells in (rows[0], rule, *rows[1:])
    )


def render(title: str, lines: Sequence[Line], ours: str, theirs: str) -> str:
    """Return the table of ratios."""
    head = [title, "unit", ours, theirs, "ratio"]
    return aligned([head, *(row(line) for line in lines)])


def bound(target: Target) -> str:
    """Describe a target in words."""
    side = "at least" if target.better is Better.MORE else "at most"
    return f"{side} {target.limit:,g} {target.unit} {target.claim}".rstrip()


def remarks(lines: Sequence[Line]) -> list[str]:
    """Return one sentence per failure and per note, and the legend of the mark."""
    failed: dict[str, list[str]] = {}
    for line in lines:
        for failure in dict.fromkeys(line.failures):
            failed.setdefault(failure, []).append(line.figure.title)
    notes = [f"not reported: {'; '.join(titles)}: {why}" for why, titles in failed.items()]
    notes += [
        f"{line.figure.title}: {note}" for line in lines for note in dict.fromkeys(line.notes)
    ]
    reported = [line for line in lines if line.is_reported]
    if any(" ~" in cell for line in reported for cell in row(line)):
        notes.append("~ marks a spread (highest minus lowest) wider than 20 % of the median.")
    return notes
