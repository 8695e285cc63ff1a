"""`registry-server delete`: remove whole repositories.

Exit codes: 0 done; 1 a repository is not known, or the storage failed, and the others are removed;
2 the call or the configuration can't be used, or the configuration forbids to delete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Protocol

import typer

from registry_server.commands.arguments import ConfigAndNames, ConfigOption, read_arguments
from registry_server.commands.common import (
    RootFolder,
    fail,
    opened,
    opened_for_reading,
    settings_of_registry,
)
from registry_server.commands.exit_codes import FAILED
from registry_server.config import Settings
from storage.drivers.base import Driver
from storage.errors import OperationDisabled, RepositoryUnknown
from storage.maintenance.tolerant import TolerantReader
from storage.maintenance.usage.tally import Tally, tally
from storage.values.names import RepositoryName

_ALLOW = {
    "deleting": "storage.delete.enabled is false; for this once: "
    "REGISTRY_STORAGE_DELETE_ENABLED=true registry-server delete ...",
    "writing": "storage.maintenance.readonly.enabled is true",
}


def delete(
    arguments: ConfigAndNames = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, remove nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of lines.")
    ] = False,
) -> None:
    """Remove repositories with all their manifests, tags and uploads. Safe while serving.

    Repositories below them are kept: a/b when a is removed. The next garbage-collect frees the
    space.
    """
    path, names = read_arguments(arguments or [], config)
    if not names:
        fail("name the repositories to remove")
    settings = settings_of_registry(path, root)
    _refuse_if_disabled(settings)
    report: Report = JsonReport() if as_json else TextReport()
    known = asyncio.run(_run(settings, names, report, dry_run=dry_run))
    report.end(known, dry_run=dry_run)
    raise typer.Exit(0 if known == len(names) else FAILED)


def _refuse_if_disabled(settings: Settings) -> None:
    """End the program, also before a dry run, if what was configured is not to be deleted."""
    if settings.storage.maintenance.readonly.enabled:
        fail(f"{OperationDisabled('writing')}: {_ALLOW['writing']}")
    if not settings.storage.delete.enabled:
        fail(f"{OperationDisabled('deleting')}: {_ALLOW['deleting']}")


async def _run(
    settings: Settings, names: Sequence[RepositoryName], report: Report, *, dry_run: bool
) -> int:
    """Remove what is known; return how many repositories that is."""
    known = 0
    storage = opened_for_reading(settings) if dry_run else opened(settings)
    async with storage as driver:
        for name in names:
            try:
                found = await _remove(settings, driver, name, dry_run=dry_run)
            except RepositoryUnknown as error:
                _complain(str(error))
            except OSError as error:
                _complain(f"{name} is perhaps not wholly removed, so repeat this: {error}")
            else:
                report.removed(name, found, dry_run=dry_run)
                known += 1
    return known


async def _remove(
    settings: Settings, driver: Driver, name: RepositoryName, *, dry_run: bool
) -> Tally:
    """Remove a repository; return what it held."""
    from registry_server.wiring.app import open_registry

    found = await driver.batch(lambda reader: tally(TolerantReader(reader, []), name))
    if found is None:
        raise RepositoryUnknown(name.text)
    if not dry_run:
        await open_registry(settings, driver).remove(name)
    return found


def _complain(line: str) -> None:
    typer.echo(f"registry-server: {line}", err=True)


class Report(Protocol):
    """Says on standard output what was removed."""

    def removed(self, name: RepositoryName, found: Tally, *, dry_run: bool) -> None:
        """Take in a repository that was removed, or would be."""

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print what is left to print."""


class TextReport:
    """Prints a line for each repository."""

    def removed(self, name: RepositoryName, found: Tally, *, dry_run: bool) -> None:
        """Print the line."""
        verb = "would be removed" if dry_run else "removed"
        typer.echo(
            f"{name}: {found.manifests} manifests, {found.tags} tags, {found.blobs} links of blobs "
            f"and {found.uploads} uploads {verb}"
        )

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print what comes next."""
        if known and not dry_run:
            typer.echo(
                "the next garbage-collect gives back the space that no other repository needs"
            )


class JsonReport:
    """Prints one document at the end; a repository that failed is not in it."""

    def __init__(self) -> None:
        self._repositories: list[dict[str, object]] = []

    def removed(self, name: RepositoryName, found: Tally, *, dry_run: bool) -> None:
        """Remember the repository."""
        counts = {"manifests": found.manifests, "tags": found.tags, "links": found.blobs}
        self._repositories.append({"name": name.text, **counts, "uploads": found.uploads})

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print the document."""
        document = {"dry_run": dry_run, "repositories": self._repositories}
        typer.echo(json.dumps(document, indent=2))
