"""Renders results as text and as a JSON document; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks import growth
from benchmarks.figures import Line, summarise
from benchmarks.processes import Side
from benchmarks.rounds import Results
from benchmarks.stage import Plan
from benchmarks.table import aligned, bound, measured, remarks, render
from benchmarks.targets import Target, Verdict, verdicts

FORMAT = 2
"""The version of the JSON document; a reader refuses others."""
BUSY = 0.10
"""If other work takes more than this share of the CPU, the rates are not reliable."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The compared servers, the machine, the plan and the targets."""

    ours: Side
    theirs: Side
    floor: Side | None
    facts: Mapping[str, str]
    plan: Plan
    rounds: int
    targets: Sequence[Target]


def text(results: Results, setting: Setting) -> str:
    """Return the tables with all notes that are needed to read them."""
    ours, theirs = setting.ours.name, setting.theirs.name
    lines = list(results.lines.values())
    growing = [line for line in lines if line.figure.key.startswith(growth.PREFIX)]
    plain = [line for line in lines if line not in growing]
    parts = [_head(results, setting)]
    if plain:
        parts.append(render("measurement", plain, ours, theirs))
    if any(line.whole_floors() for line in plain):
        parts.append(floor_table(plain, ours, theirs))
    if growing:
        parts.append(render("how cost grows", growing, ours, theirs))
    if judged := verdicts(results.lines, setting.targets):
        parts.append(target_table(judged, results.lines))
    if said := _remarks(results, lines):
        parts.append("\n".join(f"- {remark}" for remark in said))
    return "\n\n".join(parts)


def _head(results: Results, setting: Setting) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in setting.facts.items())
    sides = [side for side in (setting.ours, setting.theirs, setting.floor) if side]
    lines = [
        f"machine: {machine}",
        f"CPU used by others during each round: {', '.join(map(str, results.company))}",
        *(f"{side.name}: {side.version}" for side in sides),
        f"rounds: {setting.rounds}, shown as median (lowest-highest); the ratio is taken per "
        f"round, above 1 x means {setting.ours.name} is ahead",
    ]
    return "\n".join(lines)


def _remarks(results: Results, lines: Sequence[Line]) -> list[str]:
    notes = [*remarks(lines), *dict.fromkeys(results.notes)]
    shares = [(line, summarise(line.client_shares)) for line in lines if line.client_shares]
    if shares:
        said = "; ".join(f"{line.figure.title} {share.median:.0%}" for line, share in shares)
        notes.append(f"the client's share of the CPU used by it and our server: {said}")
    if any(company.others > BUSY for company in results.company):
        notes.append("Other work took part of the CPU: rates are lower than this machine can do.")
    return notes


def floor_table(lines: Sequence[Line], ours: str, theirs: str) -> str:
    """Return a table of each server's values as multiples of the floor's."""
    rows = [["against the floor", "unit", "floor", ours, theirs]]
    rows += [
        [
            f"{line.figure.title} / {name}",
            line.figure.unit,
            measured(summarise(floor)),
            *_against(line, floor),
        ]
        for line in lines
        for name, floor in line.whole_floors().items()
    ]
    return aligned(rows)


def _against(line: Line, floor: Sequence[float]) -> list[str]:
    if not line.is_reported:
        return ["not reported", ""]
    ratios = ([a / b for a, b in zip(v, floor, strict=True)] for v in (line.ours, line.theirs))
    return [f"{measured(summarise(values))} x" for values in ratios]


def target_table(judged: Sequence[Verdict], lines: Mapping[str, Line]) -> str:
    """Return a table of every target, the reached value and the verdict."""
    rows = [["target", "unit", "must reach", "reached", "met"]]
    rows += [
        [
            lines[verdict.target.key].figure.title,
            lines[verdict.target.key].figure.unit,
            bound(verdict.target),
            _reached(verdict),
            str(verdict),
        ]
        for verdict in judged
    ]
    return aligned(rows, left=3)


def _reached(verdict: Verdict) -> str:
    if not verdict.values:
        return ""
    return f"{measured(summarise(verdict.values))} {verdict.target.unit}"


def document(results: Results, setting: Setting) -> dict[str, object]:
    """Return the content of a result file."""
    sides = [side for side in (setting.ours, setting.theirs, setting.floor) if side]
    return {
        "format": FORMAT,
        "machine": dict(setting.facts),
        "servers": {side.name: side.version for side in sides},
        "plan": asdict(setting.plan),
        "rounds": setting.rounds,
        "company": [asdict(company) for company in results.company],
        "notes": results.notes,
        "figures": [_line(line) for line in results.lines.values()],
        "targets": [_target(verdict) for verdict in verdicts(results.lines, setting.targets)],
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
        "floors": line.floors,
        "client_shares": line.client_shares,
        "failures": line.failures,
        "notes": line.notes,
    }


def _target(verdict: Verdict) -> dict[str, object]:
    target = verdict.target
    return {
        "key": target.key,
        "must_reach": bound(target),
        "values": list(verdict.values),
        "is_met": verdict.is_met,
    }
