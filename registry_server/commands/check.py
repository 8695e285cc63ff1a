"""`registry-server check`: read the configuration as `serve` would, and report problems.

Exit codes: 0 valid; 1 valid with warnings, and `--strict` was given; 2 invalid.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import ConfigFile, require_file
from registry_server.commands.exit_codes import FAILED, UNUSABLE
from registry_server.config import ConfigError
from registry_server.config.load import load
from registry_server.config.problems import Place, Problem
from registry_server.serving.startup_error import StartupError
from registry_server.wiring import startup
from registry_server.wiring.access import setup


@dataclass(frozen=True, slots=True)
class Report:
    """The file that was read, if any, with its errors and warnings."""

    file: Path | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    def exit_code(self, *, strict: bool) -> int:
        """Return the exit code of the command."""
        if self.errors:
            return UNUSABLE
        return FAILED if strict and self.warnings else 0

    def as_json(self) -> str:
        """Return the report as a JSON document."""
        report = {
            "configuration": None if self.file is None else str(self.file),
            "usable": not self.errors,
            "errors": [_parts(problem) for problem in self.errors],
            "warnings": [_parts(problem) for problem in self.warnings],
        }
        return json.dumps(report, indent=2)


def check(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if there are warnings.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Check the configuration as `serve` would read it.

    Each warning and error names the file, the line and the key.
    """
    path = only_config(argument, config)
    require_file(path)
    report = examine(path)
    if as_json:
        typer.echo(report.as_json())
    else:
        _print(report)
    raise typer.Exit(report.exit_code(strict=strict))


def examine(path: Path | None) -> Report:
    """Read the configuration and check what `serve` needs; create nothing."""
    try:
        loaded = load(path, os.environ)
    except ConfigError as error:
        return Report(path, error.details)
    try:
        root = loaded.settings.storage.root
        loaded = startup.fit_to_volume(loaded, root)
        found = startup.check(loaded.settings, setup.check_before_start)
    except StartupError as error:
        return Report(loaded.file, (Problem(Place(), "", str(error)),), loaded.notices)
    more = (Problem(Place(), "", text) for text in startup.warnings(loaded.settings))
    return Report(loaded.file, (), (*loaded.notices, *loaded.exposure, *found, *more))


def _print(report: Report) -> None:
    for warning in report.warnings:
        typer.echo(f"registry-server: warning: {warning}", err=True)
    for problem in report.errors:
        typer.echo(f"registry-server: {problem}", err=True)
    if not report.errors:
        typer.echo(f"{report.file or 'the environment'}: the configuration can be used")


def _parts(problem: Problem) -> dict[str, str | int | None]:
    place = problem.place
    return {
        "source": place.source or None,
        "line": place.line,
        "column": place.column,
        "key": problem.key or None,
        "message": problem.text,
    }
