"""`registry-server scrub`: find damage, say so, and repair it if asked to.

Exit codes: 0 nothing is wrong, or all that was is repaired; 1 something is left, or the storage
could not be worked with; 2 the call or the configuration can't be used; 3 interrupted, and the
next scrub goes on from there. Notes (`Kind.is_note`) make none of these 1.
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
from registry_server.config.sizes import parse_rate
from storage.errors import EXHAUSTED, AlreadyRunning, reason_of
from storage.maintenance.scrub.findings import Finding, shown
from storage.maintenance.scrub.run import Listener, Options, Scrub, Summary
from storage.values.sizes import format_size

# What ends a scrub.
_TROUBLE = (OSError, MemoryError, sqlite3.Error)


def scrub(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be; corrupt blobs go to quarantine.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin anew instead of where the last was interrupted."),
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Blobs to read at once.")] = 2,
    rate: Annotated[
        str | None, typer.Option(help="Bytes per second in all, as 50MB or 100MiB; else no limit.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of lines.")
    ] = False,
) -> None:
    """Read and hash every blob, and check links and manifests. Safe while the registry serves.

    Exit code 1 when damage is left, 3 when interrupted: the next scrub goes on from there.
    """
    options = Options(repair=repair, restart=restart, parallel=parallel, rate=_rate(rate))
    settings = settings_of_registry(only_config(argument, config), root)
    # What is wrong on the disk is a finding; the log would say it a second time.
    logging.getLogger("storage").setLevel(logging.CRITICAL)
    logging.getLogger("storage.maintenance.scrub").setLevel(logging.WARNING)
    report = JsonReport() if as_json else TextReport()
    try:
        summary, trouble = asyncio.run(_run(settings, options, report))
    except AlreadyRunning as error:
        fail(str(error), FAILED)
    except _TROUBLE as error:
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
    """Scrub; return what was done, and the error that ended the scrub, if it had begun."""
    storage = opened(settings) if options.repair else opened_for_reading(settings)
    async with storage as driver:
        with progress.shown() as shown_progress:
            work = Scrub(driver, options, report, shown_progress)
            try:
                await _until_signalled(work)
            except _TROUBLE as error:
                if not work.has_begun:
                    raise
                return work.summary, error
        return work.summary, None


def _sentence(error: Exception) -> str:
    """Say what ended a scrub; for lack of descriptors or memory the path at fault is no matter."""
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return f"the storage can't be worked with: {reason_of(error)}"
    return f"the storage can't be worked with: {error}"


async def _until_signalled(work: Scrub) -> None:
    """Run to the end, or until SIGINT or SIGTERM; then what was done is written down."""
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
        fail("--rate must be more than nothing")
    return rate


class Report(Listener, Protocol):
    """What a scrub says on stdout."""

    def end(self, summary: Summary) -> None:
        """Say what was done."""


class TextReport:
    """A line for each finding, as it is found, and some for the summary."""

    def found(self, finding: Finding) -> None:
        """Print a finding."""
        result = "repaired: " if finding.repaired else ""
        how = f" ({result}{finding.how})" if finding.how else ""
        typer.echo(f"{finding.kind.value} {shown(finding.path)}: {shown(finding.what + how)}")

    def end(self, summary: Summary) -> None:
        """Print what was done."""
        if summary.continued_from:
            typer.echo(f"went on from an interrupted scrub: {summary.continued_from}")
        typer.echo(
            f"{summary.blobs} blobs ({format_size(summary.size)}) and "
            f"{summary.repositories} repositories checked"
        )
        typer.echo(
            f"{summary.repaired} repaired, {summary.errors} damaged and left, {summary.notes} notes"
        )
        if summary.position:
            typer.echo(f"interrupted: {summary.position}; the next scrub goes on from there")


class JsonReport:
    """One document, printed piece by piece: a list of findings may be long."""

    def __init__(self) -> None:
        self._before = '{"findings": [\n'

    def found(self, finding: Finding) -> None:
        """Print an element of the list."""
        typer.echo(f"{self._before}{json.dumps(finding.document())}", nl=False)
        self._before = ",\n"

    def end(self, summary: Summary) -> None:
        """Print the rest."""
        begun = self._before if self._before.startswith("{") else "\n"
        document = {**asdict(summary), "complete": not summary.position}
        typer.echo(f'{begun}], "summary": {json.dumps(document)}}}')
