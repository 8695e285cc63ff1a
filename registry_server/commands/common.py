"""What commands share: how they are configured, and how they fail."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from registry_server.commands.exit_codes import FAILED, UNUSABLE
from registry_server.config import (
    CONFIGURATION_PATH,
    ConfigError,
    Loaded,
    Overrides,
    Settings,
)
from registry_server.config.load import load
from registry_server.serving import volume
from storage.drivers.base import Driver
from storage.drivers.read_only import InspectionDriver

Parsed = TypeVar("Parsed")

_IN_MEMORY = (
    "storage.inmemory keeps everything in the memory of the server, which no command can reach; "
    "for a registry in a folder configure storage.filesystem"
)

# Typer does not check whether a file can be read (`readable`): our own messages name the remedy.
ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG]", readable=False, help="config.yml in CNCF distribution's schema."
    ),
]
RootFolder = Annotated[
    Path | None,
    typer.Option("--root", readable=False, help="Folder everything is kept in."),
]


def name_of_program() -> str:
    """Return the name by which this program was started."""
    return Path(sys.argv[0]).name


def require_file(path: Path | None) -> None:
    """End the program when it runs as `registry` and has no configuration, as distribution does.

    A trial registry in ./data, without the users of a configuration, is not what was meant.
    """
    if name_of_program() == "registry" and path is None and not os.environ.get(CONFIGURATION_PATH):
        fail(f"no configuration: name the file, or set {CONFIGURATION_PATH}")


def load_or_fail(path: Path | None, overrides: Overrides | None = None) -> Loaded:
    """Read the configuration; end the program when it can't be used, saying why."""
    require_file(path)
    try:
        return load(path, os.environ, overrides or Overrides())
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(UNUSABLE) from None


def print_problems(problems: Iterable[str]) -> None:
    """Print a line for each problem of a configuration."""
    for problem in problems:
        typer.echo(f"registry-server: {problem}", err=True)


def settings_of_storage(path: Path | None, root: Path | None) -> Settings:
    """Read the configuration as `load_or_fail` does; end the program when there is no root.

    There is none, either, where the configuration has images kept in memory.
    """
    settings = load_or_fail(path, Overrides(root=root)).settings
    if settings.storage.root is None:
        fail(_IN_MEMORY)
    try:
        volume.check_folder(settings.storage.filesystem.rootdirectory)
    except volume.VolumeUnusable as error:
        fail(str(error))
    return settings


def settings_of_registry(path: Path | None, root: Path | None) -> Settings:
    """Read the configuration; end the program when the root holds no registry.

    For commands about images: in a folder named by mistake they would find nothing and succeed.
    """
    settings = settings_of_storage(path, root)
    try:
        volume.check_registry(settings.storage.filesystem.rootdirectory)
    except volume.VolumeUnusable as error:
        fail(str(error), FAILED)
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Driver]:
    """Open the configured storage to change it, and close it at the end.

    Ends the program when the root, which exists, can't be written.
    """
    if reason := _why_read_only(settings):
        fail(f"{reason}; nothing was changed", FAILED)
    async with _driver(settings) as driver:
        yield driver


@asynccontextmanager
async def opened_for_reading(settings: Settings) -> AsyncIterator[Driver]:
    """Open the configured storage to read it; on a volume that can't be written, write nothing."""
    reason = _why_read_only(settings)
    async with _driver(settings) as driver:
        yield driver if reason is None else InspectionDriver(driver)


def _why_read_only(settings: Settings) -> str | None:
    root = settings.storage.filesystem.rootdirectory
    _become_owner(root)
    try:
        return volume.why_read_only(root)
    except volume.VolumeUnusable as error:
        fail(str(error), FAILED)


@asynccontextmanager
async def _driver(settings: Settings) -> AsyncIterator[Driver]:
    # Nothing of what serves is needed by a command that does not get this far.
    from registry_server.wiring.app import open_driver
    from storage.drivers.filesystem.driver import FilesystemDriver

    driver = open_driver(settings)
    # Suspended with a lock of the tree, a command would stop every push to the registry.
    if isinstance(driver, FilesystemDriver) and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, lambda *_: driver.suspend())
        # With `stty tostop` the progress of a background job would stop it at any moment.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield driver
    finally:
        await driver.close()


def _become_owner(folder: Path) -> None:
    """Continue as the owner of a folder when this runs as root and the owner is another user.

    A server that runs as the owner could not write to the files that root makes.
    """
    found = folder.stat()
    if os.geteuid() == 0 and found.st_uid != 0:
        # In a container without capabilities root cannot change its user; it continues as root.
        with contextlib.suppress(PermissionError):
            os.setgroups([])
            os.setgid(found.st_gid)
            os.setuid(found.st_uid)


def fail(reason: str, code: int = UNUSABLE) -> NoReturn:
    """End the program, with one line that says why."""
    typer.echo(f"registry-server: {reason}", err=True)
    raise typer.Exit(code)


def parse_option(name: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Read the value of an option; end the program when `parse` raises ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        fail(f"{name} {text!r} {error}")
