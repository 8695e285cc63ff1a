"""`registry-server delete`: remove whole repositories.

Exit codes: 0 done; 1 a repository does not exist or could not be removed, the others are removed;
2 the command line or the configuration is invalid, or the configuration does not allow deletion.
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
from storage.maintenance.tolerant_reads import TolerantReader
from storage.maintenance.usage.tally import Tally, tally
from storage.values.names import RepositoryName

_ALLOW = {
    "deleting": "storage.delete.enabled is false; to override it once: "
    "REGISTRY_STORAGE_DELETE_ENABLED=true registry-server delete ...",
    "writing": "storage.maintenance.readonly.enabled is true",
}


def delete(
    arguments: ConfigAndNames = None,
    config: ConfigOption = None,
    root: RootFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    """Remove repositories with their manifests, tags and uploads. Safe while the server runs.

    Removing a keeps a/b. The next garbage-collect frees the disk space.
    """
    path, names = read_arguments(arguments or [], config)
    if not names:
        fail("no repository given: name the repositories to remove")
    settings = settings_of_registry(path, root)
    _refuse_if_disabled(settings)
    report: Report = JsonReport() if as_json else TextReport()
    known = asyncio.run(_run(settings, names, report, dry_run=dry_run))
    report.end(known, dry_run=dry_run)
    raise typer.Exit(0 if known == len(names) else FAILED)


def _refuse_if_disabled(settings: Settings) -> None:
    """Fail, even for a dry run, if the configuration does not allow deletion."""
    if settings.storage.maintenance.readonly.enabled:
        fail(f"{OperationDisabled('writing')}: {_ALLOW['writing']}")
    if not settings.storage.delete.enabled:
        fail(f"{OperationDisabled('deleting')}: {_ALLOW['deleting']}")


async def _run(
    settings: Settings, names: Sequence[RepositoryName], report: Report, *, dry_run: bool
) -> int:
    """Remove the repositories that exist; return their number."""
    known = 0
    storage = opened_for_reading(settings) if dry_run else opened(settings)
    async with storage as driver:
        for name in names:
            try:
                content = await _remove(settings, driver, name, dry_run=dry_run)
            except RepositoryUnknown as error:
                _print_error(str(error))
            except OSError as error:
                _print_error(f"{name} may be only partly removed, run this again: {error}")
            else:
                report.removed(name, content, dry_run=dry_run)
                known += 1
    return known


async def _remove(
    settings: Settings, driver: Driver, name: RepositoryName, *, dry_run: bool
) -> Tally:
    """Remove a repository; return what it contained."""
    from registry_server.wiring.app import open_registry

    content = await driver.batch(lambda reader: tally(TolerantReader(reader, []), name))
    if content is None:
        raise RepositoryUnknown(name.text)
    if not dry_run:
        await open_registry(settings, driver).remove(name)
    return content


def _print_error(line: str) -> None:
    typer.echo(f"registry-server: {line}", err=True)


class Report(Protocol):
    """Prints what was removed."""

    def removed(self, name: RepositoryName, content: Tally, *, dry_run: bool) -> None:
        """Report a repository that was or would be removed."""

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print the rest."""


class TextReport:
    """Prints a line for each repository."""

    def removed(self, name: RepositoryName, content: Tally, *, dry_run: bool) -> None:
        """Print the line."""
        verb = "would be removed" if dry_run else "removed"
        typer.echo(
            f"{name}: {content.manifests} manifests, {content.tags} tags, "
            f"{content.blobs} blob links and {content.uploads} uploads {verb}"
        )

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print how the space is freed."""
        if known and not dry_run:
            typer.echo("the next garbage-collect frees the space that no other repository needs")


class JsonReport:
    """Prints one document at the end, without repositories that failed."""

    def __init__(self) -> None:
        self._repositories: list[dict[str, object]] = []

    def removed(self, name: RepositoryName, content: Tally, *, dry_run: bool) -> None:
        """Add the repository to the document."""
        counts = {"manifests": content.manifests, "tags": content.tags, "links": content.blobs}
        self._repositories.append({"name": name.text, **counts, "uploads": content.uploads})

    def end(self, known: int, *, dry_run: bool) -> None:
        """Print the document."""
        document = {"dry_run": dry_run, "repositories": self._repositories}
        typer.echo(json.dumps(document, indent=2))
