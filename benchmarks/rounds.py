"""Runs scenarios in rounds: in each round every scenario runs on one server, then on the other.

The two halves of a ratio are measured seconds apart, and the order alternates, so that other work
on the machine affects both.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Line
from benchmarks.floor import measure_floor
from benchmarks.layout import Tree
from benchmarks.machine import Activity, Company
from benchmarks.material import Material, Sizes
from benchmarks.processes import Server, Side, running
from benchmarks.stage import Measure, Scenario, Stage
from benchmarks.wrk import REPORT

FAILURES = (BenchmarkError, OSError, subprocess.SubprocessError)
OURS, THEIRS, FLOOR = range(3)
PUSH = "push."


@dataclass(slots=True)
class Results:
    """The lines of the table, the CPU use of other processes, and notes on missing figures."""

    lines: dict[str, Line] = field(default_factory=dict)
    company: list[Company] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, measure: Measure, values: Sequence[float], number: int, name: str) -> None:
        """Record the values of one measure of one side in one round."""
        for figure, value in zip(measure.figures, values, strict=True):
            line = self.lines[figure.key]
            places = (line.ours, line.theirs, line.floors.setdefault(name, []))
            places[number].append(value)

    def fail(self, measure: Measure, reason: str) -> None:
        """Record why a measure has no value, which removes its figures from the table."""
        for figure in measure.figures:
            self.lines[figure.key].failures.append(reason)

    def note(self, measure: Measure, stage: Stage, number: int, name: str) -> None:
        """Record the notes of a measure and the client's share of the CPU."""
        line = self.lines[measure.figures[0].key]
        line.notes.extend(f"{name}: {note}" for note in stage.notes)
        if number == OURS:
            line.client_shares.extend(stage.client_shares)


class Bench:
    """Two registries, an optional floor, and the folder for all files."""

    def __init__(self, ours: Side, theirs: Side, floor: Side | None, folder: Path) -> None:
        self._sides = (ours, theirs, *([floor] if floor else []))
        self._folder = folder
        self._script = folder / "report.lua"
        self._script.write_text(REPORT)
        self._materials: dict[Sizes, Material] = {}

    def run(self, scenarios: Sequence[Scenario], rounds: int) -> Results:
        """Measure every scenario in every round; record failures in the results."""
        results = Results()
        for figure in (f for s in scenarios for m in s.measures for f in m.figures):
            results.lines[figure.key] = Line(figure)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            before = Activity.now()
            for scenario in scenarios:
                if number == 0 or not scenario.is_once:
                    self._on_every_side(scenario, number, results)
            self._floor_of_pushes(scenarios, results)
            results.company.append(Company.between(before, Activity.now()))
        return results

    def start_once(self) -> None:
        """Start and stop each server, so that no measured start is the program's first.

        Raises `BenchmarkError`, which names the server that does not start.
        """
        for number, side in enumerate(self._sides):
            try:
                with running(side, self._folder / f"root-{number}-first", self._run_folder(number)):
                    pass
            except BenchmarkError as error:
                raise BenchmarkError(f"{side.name}: {error}") from None

    def _on_every_side(self, scenario: Scenario, round_number: int, results: Results) -> None:
        order = [OURS, THEIRS] if round_number % 2 == 0 else [THEIRS, OURS]
        if scenario.has_floor and len(self._sides) > FLOOR:
            order.insert(1, FLOOR)
        for number in order:
            self._scenario(scenario, number, results)

    def _floor_of_pushes(self, scenarios: Sequence[Scenario], results: Results) -> None:
        pushes = [scenario for scenario in scenarios if scenario.key.startswith(PUSH)]
        if not pushes:
            return
        body = self._material(pushes[0]).pushed()
        sums = measure_floor(body, self._folder / "floor").sums()
        for scenario in pushes:
            floors = results.lines[f"{scenario.key.removesuffix('.rate')}.cpu"].floors
            for name, value in sums.items():
                floors.setdefault(name, []).append(value)

    def _scenario(self, scenario: Scenario, number: int, results: Results) -> None:
        side = self._sides[number]
        done: list[Measure] = []
        try:
            root = self._root(scenario, number)
            with running(side, root, self._run_folder(number)) as server:
                for measure in scenario.measures:
                    done.append(measure)
                    stage = self._stage(scenario, server)
                    self._measure(measure, stage, results, number)
        except FAILURES as error:  # the server did not start
            for measure in (m for m in scenario.measures if m not in done):
                self._fail(measure, error, results, number)
        finally:
            if not scenario.keeps_root:
                shutil.rmtree(self._root_folder(scenario, number), ignore_errors=True)

    def _measure(self, measure: Measure, stage: Stage, results: Results, number: int) -> None:
        name = self._sides[number].name
        try:
            values = measure.take(stage)
        except FAILURES as error:
            self._fail(measure, error, results, number)
        else:
            results.add(measure, values, number, name)
            shown = ", ".join(
                f"{value:,.2f} {figure.unit}"
                for figure, value in zip(measure.figures, values, strict=True)
            )
            say(f"  {name}: {measure.figures[0].title}: {shown}")
        results.note(measure, stage, number, name)

    def _stage(self, scenario: Scenario, server: Server) -> Stage:
        material = self._material(scenario)
        return Stage(server, material, scenario.plan, self._script, self._folder)

    def _fail(self, measure: Measure, error: Exception, results: Results, number: int) -> None:
        """Record a failure; a failure of the floor removes the floor, not the figure."""
        reason = f"{self._sides[number].name}: {error or type(error).__name__}"
        say(f"  {measure.figures[0].title}: failed: {reason}")
        if number == FLOOR:
            results.notes.append(f"{measure.figures[0].title}: no floor: {reason}")
        else:
            results.fail(measure, reason)

    def _material(self, scenario: Scenario) -> Material:
        """Return the bodies of a plan; plans of the same sizes share them."""
        sizes = scenario.plan.sizes
        if sizes not in self._materials:
            folder = self._folder / f"material-{len(self._materials)}"
            self._materials[sizes] = Material(folder, sizes)
        return self._materials[sizes]

    def _root(self, scenario: Scenario, number: int) -> Path:
        """Return the root of a scenario; write it unless it is kept from an earlier round."""
        root = self._root_folder(scenario, number)
        if not root.exists():
            root.mkdir()
            scenario.prepare(Tree(root), self._material(scenario), scenario.plan)
        return root

    def _root_folder(self, scenario: Scenario, number: int) -> Path:
        return self._folder / f"root-{number}-{scenario.key}"

    def _run_folder(self, number: int) -> Path:
        return self._folder / f"server-{number}"


def say(line: str) -> None:
    """Print progress to stderr; the table goes to stdout."""
    print(line, file=sys.stderr, flush=True)
