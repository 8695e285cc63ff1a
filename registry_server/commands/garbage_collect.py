"""`registry-server garbage-collect`: give back the space of what nothing needs.

Exit codes: 0 done; 1 another collection is running, or something could not be read or removed; 2
the call or the configuration can't be used; 3 interrupted, and the next one does the rest.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Annotated

import typer

from registry_server.commands import progress
from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import (
    FAILED,
    INTERRUPTED,
    ConfigFile,
    RootFolder,
    fail,
    opened,
    settings_of_registry,
)
from registry_server.config import Settings
from storage.errors import AlreadyRunning
from storage.maintenance.garbage.collect import carry_out, planned
from storage.maintenance.garbage.plan import Options, Plan
from storage.maintenance.garbage.report import described, outlook, summary, warnings
from storage.maintenance.progress import Stop, Stopped


def garbage_collect(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-d", help="Print what would go and why, remove nothing.")
    ] = False,
    delete_untagged: Annotated[
        bool,
        typer.Option(
            "--delete-untagged", "-m", help="Manifests go too that no tag leads to in any way."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the last line alone, and no progress.")
    ] = False,
) -> None:
    """Remove what no manifest needs. Safe while the registry serves.

    What was pushed or used within storage.maintenance.garbagecollection.grace stays. Ctrl-C ends
    it at any point, and the next one does the rest.
    """
    settings = settings_of_registry(only_config(argument, config), root)
    grace = settings.storage.maintenance.garbagecollection.grace.total_seconds()
    options = Options(grace, delete_untagged=delete_untagged)
    try:
        code = asyncio.run(_run(settings, options, dry_run=dry_run, quiet=quiet))
    except AlreadyRunning as error:
        fail(str(error), FAILED)
    except Stopped:
        fail("interrupted before anything was removed", INTERRUPTED)
    except (OSError, sqlite3.Error) as error:
        fail(f"the collection failed; the next one does the rest: {error}", FAILED)
    raise typer.Exit(code)


async def _run(settings: Settings, options: Options, *, dry_run: bool, quiet: bool) -> int:
    """Collect, or print the plan; return the exit code."""
    stop = Stop()
    with progress.ended_by_signals(stop), progress.shown(quiet=quiet) as shown:
        async with opened(settings) as driver, planned(driver, options, shown, stop) as plan:
            if dry_run:
                return _print_plan(plan, quiet=quiet)
            swept = await carry_out(driver, plan, shown, stop)
    typer.echo(summary(swept))
    _warn(*swept.failed, *warnings(plan))
    if swept.was_stopped:
        return INTERRUPTED
    return FAILED if swept.failed or plan.trouble or plan.unreadable else 0


def _print_plan(plan: Plan, *, quiet: bool) -> int:
    for line in () if quiet else described(plan):
        typer.echo(line)
    typer.echo(outlook(plan))
    _warn(*warnings(plan))
    return FAILED if plan.trouble or plan.unreadable else 0


def _warn(*lines: str) -> None:
    for line in lines:
        typer.echo(f"registry-server: {line}", err=True)
