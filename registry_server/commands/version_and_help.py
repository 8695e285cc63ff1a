"""The command line without a command: `--version`, `help`, and the usage."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from registry_server import __version__
from registry_server.commands.common import fail

_PACKAGE = "registry-server"


def without_command(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", "-v", help="Print the version and exit.")
    ] = False,
) -> None:
    """A self-hosted container registry."""
    if show_version:
        typer.echo(version_line())
        raise typer.Exit
    if context.invoked_subcommand is None:
        # The usage on stderr with exit code 0, as `registry` does.
        with redirect_stdout(sys.stderr):
            typer.echo(context.get_help())


def help_about(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", show_default=False)
    ] = None,
) -> None:
    """Show the help of a command."""
    assert context.parent is not None
    command, command_context = context.parent.command, context.parent
    for word in words or []:
        below = command.commands.get(word) if isinstance(command, TyperGroup) else None
        if below is None:
            fail(f"{word!r} is not a command; registry-server help lists them")
        command = below
        command_context = command.make_context(
            word, [], parent=command_context, resilient_parsing=True
        )
    typer.echo(command_context.get_help())


def version_line() -> str:
    """Return the program, the package and its version: the three words that `registry` prints."""
    program = Path(sys.argv[0]).name
    return f"{_PACKAGE if program == '__main__.py' else program} {_PACKAGE} {__version__}"
