"""`registry-server purge-uploads`: remove upload sessions that nobody went on with.

Exit codes: 0 done; 1 the storage could not be worked with; 2 the call or the configuration can't
be used.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import (
    FAILED,
    ConfigFile,
    RootFolder,
    fail,
    opened,
    settings_of_registry,
)
from registry_server.config import Settings
from registry_server.config.durations import parse_duration_with_unit
from registry_server.upkeep.purging import purge_uploads as purge


def purge_uploads(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    age: Annotated[
        str | None,
        typer.Option(help="How long without a sign of life, as 168h; else the configuration's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, remove nothing.")
    ] = False,
) -> None:
    """Remove uploads that nobody went on with. Safe while the registry serves."""
    settings = settings_of_registry(only_config(argument, config), root)
    oldest = settings.storage.maintenance.uploadpurging.age if age is None else _duration(age)
    try:
        asyncio.run(_purge(settings, oldest, dry_run=dry_run))
    except OSError as error:
        fail(f"the storage can't be worked with: {error}", FAILED)


async def _purge(settings: Settings, age: timedelta, *, dry_run: bool) -> None:
    async with opened(settings) as driver:
        purged = await purge(driver, age.total_seconds(), dry_run=dry_run)
    verb = "would be removed" if dry_run else "removed"
    for upload in purged:
        typer.echo(f"{upload.name} {upload.id} {upload.size}")
    total = sum(upload.size for upload in purged)
    typer.echo(f"{len(purged)} uploads {verb}, {total} bytes")


def _duration(text: str) -> timedelta:
    try:
        age = parse_duration_with_unit(text)
    except ValueError as error:
        fail(f"--age {text!r} {error}")
    if age < timedelta(0):
        fail(f"--age {text!r} must not be negative")
    return age
