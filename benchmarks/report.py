"""Turn results into what is printed, and into JSON; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.figures import Line, summarise
from benchmarks.rounds import Results
from benchmarks.servers import Side
from benchmarks.stage import Plan
from benchmarks.table import aligned, measured, remarks, render

BUSY = 0.10
"""Above this share of the machine for other work, the rates say as much about that."""


def text(results: Results, ours: Side, theirs: Side, facts: Mapping[str, str], rounds: int) -> str:
    """Return the table of ratios with everything that is needed to read it."""
    lines = list(results.lines.values())
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    head = [
        f"machine: {machine}",
        f"CPU used by others during each round: {', '.join(map(str, results.company))}",
        f"{ours.name}: {ours.version}",
        f"{theirs.name}: {theirs.version}",
        f"rounds: {rounds}, shown as median (lowest-highest); the ratio is taken per round, "
        f"above 1 x means {ours.name} is ahead",
    ]
    parts = ["\n".join(head), render(lines, ours.name, theirs.name)]
    if results.floor:
        parts.append(floor_table(results, ours.name, theirs.name))
    found = remarks(lines)
    if any(company.others > BUSY for company in results.company):
        found.append("Other work took part of the CPU: rates are lower than this machine can do.")
    if found:
        parts.append("\n".join(f"- {remark}" for remark in found))
    return "\n\n".join(parts)


def floor_table(results: Results, ours: str, theirs: str) -> str:
    """Compare the CPU of pushes with that of hashing and of a copy with fsync."""
    hashers = {
        "sha256sum + copy": [floor.sha256sum + floor.copy for floor in results.floor],
        "OpenSSL + copy": [floor.openssl + floor.copy for floor in results.floor],
    }
    rows = [["CPU of a push against its floor", "floor, s/GB", ours, theirs]]
    rows += [
        [f"{line.figure.title} / {name}", measured(summarise(floor)), *_against(line, floor)]
        for line in results.lines.values()
        if line.figure.key.startswith("push.") and line.figure.key.endswith(".cpu")
        for name, floor in hashers.items()
    ]
    return aligned(rows, left=1)


def _against(line: Line, floor: Sequence[float]) -> list[str]:
    if not line.is_reported:
        return ["not reported", ""]
    ratios = ([a / b for a, b in zip(v, floor, strict=True)] for v in (line.ours, line.theirs))
    return [f"{measured(summarise(each))} x" for each in ratios]


def document(
    results: Results, ours: Side, theirs: Side, facts: Mapping[str, str], plan: Plan
) -> dict[str, object]:
    """Return everything that was measured, for `--json`."""
    return {
        "machine": dict(facts),
        "servers": {side.name: side.version for side in (ours, theirs)},
        "plan": asdict(plan),
        "company": [asdict(company) for company in results.company],
        "floor": [asdict(floor) for floor in results.floor],
        "figures": [_line(line) for line in results.lines.values()],
    }


def _line(line: Line) -> dict[str, object]:
    figure = line.figure
    return {
        "key": figure.key,
        "title": figure.title,
        "unit": figure.unit,
        "better": figure.better.value,
        "ours": line.ours,
        "theirs": line.theirs,
        "ratios": line.ratios() if line.is_reported else [],
        "failures": line.failures,
        "notes": line.notes,
    }
