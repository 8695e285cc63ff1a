"""`registry-server du`: what takes up the disk, and why it is kept.

Exit codes: 0 done; 1 something could not be read, or a repository does not exist; 2 the command
line or the configuration is invalid; 3 interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from enum import Enum
from typing import Annotated

import typer

from registry_server.commands import progress
from registry_server.commands.arguments import ConfigAndNames, ConfigOption, read_arguments
from registry_server.commands.common import (
    RootFolder,
    fail,
    opened_for_reading,
    settings_of_registry,
)
from registry_server.commands.exit_codes import FAILED, INTERRUPTED
from registry_server.commands.usage_report import JsonReport, Report, TextReport
from registry_server.config import Settings
from storage.drivers.filesystem.file_census import FileCensus
from storage.errors import RepositoryUnknown
from storage.maintenance.progress import Stop, Stopped
from storage.maintenance.usage.examination import Usage, usage_of
from storage.maintenance.usage.usage_database import RepositoryDiskUsage
from storage.values.names import RepositoryName


class Order(Enum):
    """The order in which repositories are listed."""

    SIZE = "size"
    NAME = "name"


def du(
    arguments: ConfigAndNames = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    sort: Annotated[Order, typer.Option(help="Sort by needed bytes or by name.")] = Order.SIZE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON document, with exact sizes.")
    ] = False,
) -> None:
    """Show disk usage by repository, and what can be freed. Safe while the server runs.

    With NAMEs, only those repositories are listed. Changes nothing.
    """
    path, names = read_arguments(arguments or [], config)
    settings = settings_of_registry(path, root)
    # The report names what can't be read or is damaged; the log would repeat it.
    logging.getLogger("storage").setLevel(logging.CRITICAL)
    report = JsonReport() if as_json else TextReport()
    try:
        code = asyncio.run(_run(settings, names, report, by_size=sort is Order.SIZE))
    except Stopped:
        fail("interrupted", INTERRUPTED)
    except (OSError, sqlite3.Error) as error:
        fail(f"the storage can't be read: {error}", FAILED)
    raise typer.Exit(code)


async def _run(
    settings: Settings, names: Sequence[RepositoryName], report: Report, *, by_size: bool
) -> int:
    """Examine the storage and print the report; return the exit code."""
    census = FileCensus(settings.storage.filesystem.rootdirectory)
    grace = settings.storage.maintenance.garbagecollection.grace.total_seconds()
    async with opened_for_reading(settings) as driver, AsyncExitStack() as stack:
        stop = Stop()
        with progress.ended_by_signals(stop), progress.shown() as shown:
            examination = usage_of(driver, census, grace, shown, stop)
            usage = await stack.enter_async_context(examination)
        unknown = [name for name in names if usage.database.repository(name) is None]
        report.show(_listed(usage, names, by_size=by_size), usage)
    for name in unknown:
        typer.echo(f"registry-server: {RepositoryUnknown(name.text)}", err=True)
    return 0 if usage.coverage.is_complete and not unknown else FAILED


def _listed(
    usage: Usage, names: Sequence[RepositoryName], *, by_size: bool
) -> Iterator[RepositoryDiskUsage]:
    chosen = frozenset(names)
    for repository in usage.database.repositories(by_size=by_size):
        if not chosen or repository.name in chosen:
            yield repository
