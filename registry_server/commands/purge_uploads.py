"""`registry-server purge-uploads`: remove abandoned upload sessions.

Exit codes: 0 done; 1 the storage failed; 2 the command line or the configuration is invalid.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import (
    ConfigFile,
    RootFolder,
    fail,
    opened,
    opened_for_reading,
    parse_option,
    settings_of_registry,
)
from registry_server.commands.exit_codes import FAILED
from registry_server.config import Settings
from registry_server.config.units import parse_duration_with_unit
from registry_server.jobs.purging import purge_uploads as purge
from storage.maintenance.stale_uploads import StaleUpload


def purge_uploads(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    age: Annotated[
        str | None,
        typer.Option(help="Minimum idle time, such as 168h.", show_default="the configuration's"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Remove abandoned uploads. Safe while the server runs."""
    settings = settings_of_registry(only_config(argument, config), root)
    oldest = settings.storage.maintenance.uploadpurging.age if age is None else _duration(age)
    try:
        purged = asyncio.run(_purge(settings, oldest, dry_run=dry_run))
    except OSError as error:
        fail(f"the storage failed: {error}", FAILED)

    if as_json:
        typer.echo(json.dumps(_document(purged, dry_run=dry_run), indent=2))
        return
    for upload in purged:
        typer.echo(f"{upload.name} {upload.id} {upload.size}")
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{len(purged)} uploads {verb}, {_size(purged)} bytes")


async def _purge(settings: Settings, age: timedelta, *, dry_run: bool) -> list[StaleUpload]:
    storage = opened_for_reading(settings) if dry_run else opened(settings)
    async with (
        storage as driver,
        aclosing(purge(driver, age.total_seconds(), dry_run=dry_run)) as purged,
    ):
        return [upload async for upload in purged]


def _document(purged: Sequence[StaleUpload], *, dry_run: bool) -> dict[str, object]:
    uploads = [
        {
            "repository": upload.name.text,
            "id": upload.id.text,
            "bytes": upload.size,
            "idle_since": datetime.fromtimestamp(upload.touched, UTC).isoformat(timespec="seconds"),
        }
        for upload in purged
    ]
    return {"dry_run": dry_run, "uploads": uploads, "bytes": _size(purged)}


def _size(purged: Sequence[StaleUpload]) -> int:
    return sum(upload.size for upload in purged)


def _duration(text: str) -> timedelta:
    age = parse_option("--age", text, parse_duration_with_unit)
    if age < timedelta(0):
        fail(f"--age {text!r} must not be negative")
    return age
