"""The command line.

Exit codes: 0 done; 1 something went wrong while running; 2 the call or the configuration can't
be used, said in one line each and never as a traceback.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from registry_server import logs, startup
from registry_server.config import ConfigError, Endpoint, Loaded, Overrides, Settings, load
from registry_server.config.durations import parse_duration_with_unit

FAILED = 1
UNUSABLE = 2

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="registry-server",
    help="A self-hosted container registry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG]", help="config.yml in CNCF distribution's schema."),
]


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder to keep everything in.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes, one per core.")] = None,
) -> None:
    """Serve the registry until SIGTERM, then let requests in flight finish.

    Without CONFIG: ./data on 127.0.0.1:5000, and REGISTRY_* variables.
    """
    loaded = _load(config, Overrides(host=host, port=port, root=root, workers=workers))
    logs.configure(loaded.settings.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    folder = loaded.settings.storage.filesystem.rootdirectory
    _serve(loaded.settings, lambda endpoint: _announce(endpoint, folder))


def _serve(settings: Settings, announce: Callable[[Endpoint], None]) -> None:
    # Of what is imported nothing is garbage; the server sees to the collector before it serves.
    gc.disable()
    from registry_server import server
    from registry_server.workers.supervisor import WorkersFailed

    gc.enable()
    try:
        server.serve(settings, announce)
    except startup.StartupError as error:
        _fail(str(error))
    except WorkersFailed as error:
        _fail(str(error), code=FAILED)


@app.command()
def check(config: ConfigFile = None) -> None:
    """Read the configuration as `serve` would, and say what is wrong with it."""
    loaded = _load(config)
    for warning in loaded.warnings:
        typer.echo(f"registry-server: warning: {warning}", err=True)
    try:
        startup.check(loaded.settings)
    except startup.StartupError as error:
        _fail(str(error))
    typer.echo(f"{config or 'the environment'}: the configuration can be used")


@app.command("purge-uploads")
def purge_uploads(
    config: ConfigFile = None,
    root: Annotated[Path | None, typer.Option(help="Folder everything is kept in.")] = None,
    age: Annotated[
        str | None,
        typer.Option(help="How long without a sign of life, as 168h; else the configuration's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would be removed, remove nothing.")
    ] = False,
) -> None:
    """Remove uploads that nobody went on with. Safe while the registry serves."""
    settings = _load(config, Overrides(root=root)).settings
    folder = settings.storage.filesystem.rootdirectory
    if not folder.is_dir():
        _fail(f"the root directory {folder} does not exist")
    purging = settings.storage.maintenance.uploadpurging
    oldest = purging.age if age is None else _duration(age)
    asyncio.run(_purge(settings, oldest, dry_run=dry_run))


async def _purge(settings: Settings, age: timedelta, *, dry_run: bool) -> None:
    from registry_server.app import open_driver
    from registry_server.tasks import purge_uploads

    driver = open_driver(settings)
    try:
        purged = await purge_uploads(driver, age.total_seconds(), dry_run=dry_run)
    finally:
        await driver.close()
    verb = "would be removed" if dry_run else "removed"
    for upload in purged:
        typer.echo(f"{upload.name} {upload.id} {upload.size}")
    total = sum(upload.size for upload in purged)
    typer.echo(f"{len(purged)} uploads {verb}, {total} bytes")


def _load(path: Path | None, overrides: Overrides | None = None) -> Loaded:
    try:
        return load(path, os.environ, overrides or Overrides())
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(f"registry-server: {problem}", err=True)
        raise typer.Exit(UNUSABLE) from None


def _duration(text: str) -> timedelta:
    try:
        return parse_duration_with_unit(text)
    except ValueError as error:
        _fail(f"--age {text!r} {error}")


def _announce(endpoint: Endpoint, root: Path) -> None:
    typer.echo(f"registry-server: serving {root} on {endpoint}", err=True)


def _fail(reason: str, code: int = UNUSABLE) -> NoReturn:
    typer.echo(f"registry-server: {reason}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
