"""`registry-server garbage-collect`: remove content that no manifest needs.

Exit codes: 0 done; 1 another collection is running, or something could not be read or removed; 2
the command line or the configuration is invalid; 3 interrupted, and the next run continues.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import chain
from typing import Annotated

import typer

from registry_server.commands import progress
from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.collection_report import (
    Grace,
    JsonReport,
    NoReport,
    Report,
    TextReport,
)
from registry_server.commands.common import (
    ConfigFile,
    RootFolder,
    fail,
    opened,
    opened_for_reading,
    parse_option,
    settings_of_registry,
)
from registry_server.commands.exit_codes import FAILED, INTERRUPTED
from registry_server.config import Settings
from registry_server.config.units import parse_duration_with_unit
from storage.errors import AlreadyRunning
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import warnings
from storage.maintenance.progress import Stop, Stopped

_GRACE_KEY = "storage.maintenance.garbagecollection.grace"


def garbage_collect(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-d", help="Print what would be removed, remove nothing.")
    ] = False,
    delete_untagged: Annotated[
        bool,
        typer.Option(
            "--delete-untagged",
            "-m",
            help="Also delete manifests that are not reachable from any tag.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only errors and warnings.")
    ] = False,
    grace: Annotated[
        str | None,
        typer.Option(
            help="Keep content used within this time, such as 30m; must exceed the longest push.",
            show_default="the configuration's",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Remove content that no manifest needs. Safe while the server runs.

    Content that was pushed or used within the grace period is kept. Ctrl-C stops the collection;
    the next run continues.
    """
    settings = settings_of_registry(only_config(argument, config), root)
    grace_period = _grace(settings, grace)
    options = Options(grace_period.period.total_seconds(), delete_untagged=delete_untagged)
    report = _report(grace_period, as_json=as_json, quiet=quiet)
    try:
        code = asyncio.run(_run(settings, options, report, dry_run=dry_run, quiet=quiet))
    except AlreadyRunning as error:
        fail(str(error), FAILED)
    except Stopped:
        fail("interrupted before anything was removed", INTERRUPTED)
    except (OSError, sqlite3.Error) as error:
        fail(f"the collection failed; the next run continues: {error}", FAILED)
    raise typer.Exit(code)


def _report(grace: Grace, *, as_json: bool, quiet: bool) -> Report:
    if as_json:
        return JsonReport(grace)
    return NoReport() if quiet else TextReport(grace)


def _grace(settings: Settings, option: str | None) -> Grace:
    if option is None:
        return Grace(settings.storage.maintenance.garbagecollection.grace, _GRACE_KEY)
    period = parse_option("--grace", option, parse_duration_with_unit)
    if period < timedelta(0):
        fail(f"--grace {option!r} must not be negative")
    return Grace(period, "--grace")


async def _run(
    settings: Settings, options: Options, report: Report, *, dry_run: bool, quiet: bool
) -> int:
    """Collect, or print the plan; return the exit code."""
    stop, swept = Stop(), None
    async with AsyncExitStack() as stack:
        with progress.ended_by_signals(stop), progress.shown(quiet=quiet) as shown:
            storage = opened_for_reading(settings) if dry_run else opened(settings)
            driver = await stack.enter_async_context(storage)
            plan = await stack.enter_async_context(planned(driver, options, shown, stop))
            report.plan(plan)
            if not dry_run:
                swept = await carry_out(driver, plan, shown, stop)
            report.end(plan, swept)
        failed = swept.failed if swept else []
        for line in chain(failed, warnings(plan)):
            typer.echo(f"registry-server: {line}", err=True)
    if swept and swept.was_stopped:
        return INTERRUPTED
    return 0 if plan.coverage.is_complete and not failed else FAILED
