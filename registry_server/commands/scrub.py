"""`registry-server scrub`: report damage, and repair it with `--repair`.

Exit codes: 0 no damage, or all of it is repaired; 1 damage is left, or the storage failed; 2 the
command line or the configuration is invalid; 3 interrupted, and the next scrub continues. Notes
(`Kind.is_note`) are not damage.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import sqlite3
from dataclasses import asdict
from typing import Annotated, Protocol

import typer

from registry_server.commands import progress
from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import (
    ConfigFile,
    RootFolder,
    fail,
    opened,
    opened_for_reading,
    settings_of_registry,
)
from registry_server.commands.exit_codes import FAILED, INTERRUPTED
from registry_server.config import Settings
from registry_server.config.units import parse_rate
from storage.errors import EXHAUSTED, AlreadyRunning, reason_of
from storage.maintenance.scrub.findings import Finding, shown
from storage.maintenance.scrub.record import Listener, Summary
from storage.maintenance.scrub.run import Options, Scrub
from storage.values.sizes import format_size

# Errors that end a scrub.
_FATAL = (OSError, MemoryError, sqlite3.Error)


def scrub(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair damage if possible; quarantine corrupt blobs.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Start over instead of continuing an interrupted scrub."),
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Blobs to read concurrently.")] = 2,
    rate: Annotated[
        str | None,
        typer.Option(help="Total read rate per second, such as 50MB; default: unlimited."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Verify every blob, manifest and link. Safe while the server runs.

    Exit code 1 if damage is left, 3 if interrupted; the next scrub continues.
    """
    options = Options(repair=repair, restart=restart, parallel=parallel, rate=_rate(rate))
    settings = settings_of_registry(only_config(argument, config), root)
    # Damage is reported as a finding; the log would repeat it.
    logging.getLogger("storage").setLevel(logging.CRITICAL)
    logging.getLogger("storage.maintenance.scrub").setLevel(logging.WARNING)
    report = JsonReport() if as_json else TextReport()
    try:
        summary, trouble = asyncio.run(_run(settings, options, report))
    except AlreadyRunning as error:
        fail(str(error), FAILED)
    except _FATAL as error:
        fail(_sentence(error), FAILED)
    report.end(summary)
    if trouble is not None:
        fail(_sentence(trouble), FAILED)
    if summary.position:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(FAILED if summary.errors else 0)


async def _run(
    settings: Settings, options: Options, report: Listener
) -> tuple[Summary, Exception | None]:
    """Scrub; return the summary, and the error that ended a scrub which had begun."""
    storage = opened(settings) if options.repair else opened_for_reading(settings)
    async with storage as driver:
        with progress.shown() as shown_progress:
            work = Scrub(driver, options, report, shown_progress)
            try:
                await _until_signalled(work)
            except _FATAL as error:
                if not work.has_begun:
                    raise
                return work.summary, error
        return work.summary, None


def _sentence(error: Exception) -> str:
    """Describe a fatal error, without its path if descriptors or memory ran out."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return f"the storage failed: {reason_of(error)}"
    return f"the storage failed: {error}"


async def _until_signalled(work: Scrub) -> None:
    """Run until the end or until SIGINT or SIGTERM, which saves the position."""
    task = asyncio.ensure_future(work.run())
    with progress.on_signals(task.cancel):
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = parse_rate(text)
    except ValueError as error:
        fail(f"--rate {text!r} {error}")
    if not rate:
        fail("--rate must be greater than zero")
    return rate


class Report(Listener, Protocol):
    """Prints findings and the summary."""

    def end(self, summary: Summary) -> None:
        """Print the summary."""


class TextReport:
    """Prints a line for each finding, then the summary."""

    def found(self, finding: Finding) -> None:
        """Print a finding."""
        result = "repaired: " if finding.repaired else ""
        how = f" ({result}{finding.how})" if finding.how else ""
        typer.echo(f"{finding.kind.value} {shown(finding.path)}: {shown(finding.what + how)}")

    def end(self, summary: Summary) -> None:
        """Print the summary."""
        if summary.continued_from:
            typer.echo(f"continued an interrupted scrub: {summary.continued_from}")
        typer.echo(
            f"{summary.blobs} blobs ({format_size(summary.size)}) and "
            f"{summary.repositories} repositories checked"
        )
        typer.echo(
            f"{summary.repaired} repaired, {summary.errors} not repaired, {summary.notes} notes"
        )
        if summary.position:
            typer.echo(f"interrupted: {summary.position}; the next scrub continues from there")


class JsonReport:
    """Prints one document in parts, because the list of findings may be long."""

    def __init__(self) -> None:
        self._before = '{"findings": [\n'

    def found(self, finding: Finding) -> None:
        """Print a finding."""
        typer.echo(f"{self._before}{json.dumps(finding.document())}", nl=False)
        self._before = ",\n"

    def end(self, summary: Summary) -> None:
        """Print the summary."""
        begun = self._before if self._before.startswith("{") else "\n"
        document = {**asdict(summary), "complete": not summary.position}
        document["went_on_from"] = document.pop("continued_from")  # the key since the first version
        typer.echo(f'{begun}], "summary": {json.dumps(document)}}}')
