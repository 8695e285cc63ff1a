"""Run scenarios in rounds: in each round every scenario runs on one server, then on the other.

The two halves of a ratio are taken seconds apart, and who goes first alternates, so that whatever
else the machine does falls on both.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Line
from benchmarks.floor import Floor, measure_floor
from benchmarks.layout import Tree
from benchmarks.machine import Activity, Company
from benchmarks.material import Material
from benchmarks.servers import Side, running
from benchmarks.stage import Measure, Plan, Scenario, Stage
from benchmarks.wrk import REPORT

FAILURES = (BenchmarkError, OSError, subprocess.SubprocessError)
FLOOR_OF = "push"


@dataclass(slots=True)
class Results:
    """The lines of the table, the floor of a push, and who else used the machine."""

    lines: dict[str, Line] = field(default_factory=dict)
    floor: list[Floor] = field(default_factory=list)
    company: list[Company] = field(default_factory=list)

    def add(self, measure: Measure, values: Sequence[float], *, is_ours: bool) -> None:
        """Keep the values of one measure on one side, in one round."""
        for figure, value in zip(measure.figures, values, strict=True):
            line = self.lines[figure.key]
            (line.ours if is_ours else line.theirs).append(value)

    def fail(self, measure: Measure, reason: str) -> None:
        """Keep why a measure has no value, which takes its figures out of the table."""
        for figure in measure.figures:
            self.lines[figure.key].failures.append(reason)

    def note(self, measure: Measure, notes: Sequence[str]) -> None:
        """Keep what a reader must know about a measure."""
        for figure in measure.figures[:1]:
            self.lines[figure.key].notes.extend(notes)


class Bench:
    """Two sides, a plan, and a folder that everything is written into."""

    def __init__(self, ours: Side, theirs: Side, plan: Plan, folder: Path) -> None:
        self._sides = (ours, theirs)
        self._plan = plan
        self._folder = folder
        self._script = folder / "report.lua"
        self._script.write_text(REPORT)
        self._material = Material(folder, plan.served_bytes, plan.pushed_bytes, plan.warmup_bytes)

    def run(self, scenarios: Sequence[Scenario], rounds: int) -> Results:
        """Measure every scenario in every round; failures become part of the results."""
        results = Results()
        for figure in (f for s in scenarios for m in s.measures for f in m.figures):
            results.lines[figure.key] = Line(figure)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            before = Activity.now()
            self._round(scenarios, number, results)
            results.company.append(Company.between(before, Activity.now()))
        return results

    def _round(self, scenarios: Sequence[Scenario], number: int, results: Results) -> None:
        if any(scenario.name == FLOOR_OF for scenario in scenarios):
            results.floor.append(measure_floor(self._material.pushed, self._folder / "floor"))
        for scenario in scenarios:
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                self._scenario(scenario, side, results)

    def start_once(self) -> None:
        """Start and stop each server, so that no measured start is the first of its program.

        Raises `BenchmarkError` naming the server that does not start.
        """
        for number, side in enumerate(self._sides):
            try:
                with running(side, self._folder / f"root-{number}-first", self._run_folder(number)):
                    pass
            except BenchmarkError as error:
                raise BenchmarkError(f"{side.name}: {error}") from None

    def _scenario(self, scenario: Scenario, number: int, results: Results) -> None:
        side = self._sides[number]
        done: list[Measure] = []
        try:
            root = self._root(scenario, number)
            with running(side, root, self._run_folder(number)) as server:
                for measure in scenario.measures:
                    done.append(measure)
                    stage = Stage(server, self._material, self._plan, self._script)
                    self._measure(measure, stage, results, number)
        except FAILURES as error:  # it did not start, so there is nothing to measure
            for measure in (m for m in scenario.measures if m not in done):
                results.fail(measure, f"{side.name}: {error}")
        finally:
            if not scenario.keeps_root:
                shutil.rmtree(self._root_folder(scenario, number), ignore_errors=True)

    def _measure(self, measure: Measure, stage: Stage, results: Results, number: int) -> None:
        name = self._sides[number].name
        try:
            values = measure.take(stage)
        except FAILURES as error:
            results.fail(measure, f"{name}: {error or type(error).__name__}")
            say(f"  {name}: {measure.figures[0].title}: failed: {error}")
        else:
            results.add(measure, values, is_ours=number == 0)
            shown = ", ".join(
                f"{value:,.2f} {figure.unit}"
                for figure, value in zip(measure.figures, values, strict=True)
            )
            say(f"  {name}: {measure.figures[0].title}: {shown}")
        results.note(measure, stage.notes)

    def _root(self, scenario: Scenario, number: int) -> Path:
        """Return the root of a scenario, written now unless it was kept from an earlier round."""
        root = self._root_folder(scenario, number)
        if not root.exists():
            root.mkdir()
            scenario.prepare(Tree(root), self._material, self._plan)
        return root

    def _root_folder(self, scenario: Scenario, number: int) -> Path:
        return self._folder / f"root-{number}-{scenario.name}"

    def _run_folder(self, number: int) -> Path:
        return self._folder / f"server-{number}"


def say(line: str) -> None:
    """Show progress, apart from the table on standard output."""
    print(line, file=sys.stderr, flush=True)
