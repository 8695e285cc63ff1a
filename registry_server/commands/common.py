"""The configuration, the storage and the failure of commands."""

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
    LoadedSettings,
    Overrides,
    Settings,
)
from registry_server.config.load import load
from registry_server.serving import volume
from storage.drivers.base import Driver
from storage.drivers.read_only import InspectionDriver

Parsed = TypeVar("Parsed")

_IN_MEMORY = (
    "storage.inmemory keeps everything in the server's memory, which commands cannot access; "
    "to keep the registry in a folder, configure storage.filesystem"
)

# `readable=False` keeps Typer from checking the file: our own messages say what to do.
ConfigFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        readable=False,
        help="Configuration file, in the format of CNCF distribution's config.yml.",
    ),
]
RootFolder = Annotated[
    Path | None,
    typer.Option("--root", readable=False, help="Root directory of the storage."),
]


def name_of_program() -> str:
    """Return the name this program was started by."""
    return Path(sys.argv[0]).name


def require_file(path: Path | None) -> None:
    """Fail when the program runs as `registry` without a configuration, as distribution does.

    Serving ./data without access control is not what that caller expects.
    """
    if name_of_program() == "registry" and path is None and not os.environ.get(CONFIGURATION_PATH):
        fail(f"no configuration: name the file, or set {CONFIGURATION_PATH}")


def load_or_fail(path: Path | None, overrides: Overrides | None = None) -> LoadedSettings:
    """Read the configuration; print its problems and end the program when it is invalid."""
    require_file(path)
    try:
        return load(path, os.environ, overrides or Overrides())
    except ConfigError as error:
        print_problems(error.problems)
        raise typer.Exit(UNUSABLE) from None


def print_problems(problems: Iterable[str]) -> None:
    """Print a line for each problem on stderr."""
    for problem in problems:
        typer.echo(f"registry-server: {problem}", err=True)


def settings_of_storage(path: Path | None, root: Path | None) -> Settings:
    """Read the configuration as `load_or_fail` does; fail when there is no root folder."""
    settings = load_or_fail(path, Overrides(root=root)).settings
    if settings.storage.root is None:
        fail(_IN_MEMORY)
    try:
        volume.check_folder(settings.storage.filesystem.rootdirectory)
    except volume.VolumeUnusable as error:
        fail(str(error))
    return settings


def settings_of_registry(path: Path | None, root: Path | None) -> Settings:
    """Read the configuration; fail when the root folder contains no registry.

    For commands about images: in a wrong folder they would find nothing and succeed.
    """
    settings = settings_of_storage(path, root)
    try:
        volume.check_registry(settings.storage.filesystem.rootdirectory)
    except volume.VolumeUnusable as error:
        fail(str(error), FAILED)
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Driver]:
    """Open the configured storage for writing; fail when its root folder is read-only."""
    if reason := _why_read_only(settings):
        fail(f"{reason}; nothing was changed", FAILED)
    async with _driver(settings) as driver:
        yield driver


@asynccontextmanager
async def opened_for_reading(settings: Settings) -> AsyncIterator[Driver]:
    """Open the configured storage for reading; on a read-only volume, write nothing."""
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
    # Imported late: a command that fails before this point does not need the application.
    from registry_server.wiring.app import open_driver
    from storage.drivers.filesystem.driver import FilesystemDriver

    driver = open_driver(settings)
    # A command that is suspended while it holds the tree lock would block every push.
    if isinstance(driver, FilesystemDriver) and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, lambda *_: driver.suspend())
        # With `stty tostop` a background job would be stopped when it prints its progress.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield driver
    finally:
        await driver.close()


def _become_owner(folder: Path) -> None:
    """Change to the user and group that own a folder when this runs as root.

    A server that runs as the owner could not write to files created by root.
    """
    status = folder.stat()
    if os.geteuid() == 0 and status.st_uid != 0:
        # Root cannot change its user in a container without capabilities; it continues as root.
        with contextlib.suppress(PermissionError):
            os.setgroups([])
            os.setgid(status.st_gid)
            os.setuid(status.st_uid)


def fail(reason: str, code: int = UNUSABLE) -> NoReturn:
    """Print the reason in one line on stderr and end the program."""
    typer.echo(f"registry-server: {reason}", err=True)
    raise typer.Exit(code)


def parse_option(name: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    """Parse the value of an option; fail when `parse` raises ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        fail(f"{name} {text!r} {error}")
