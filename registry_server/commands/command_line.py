"""The command line of the program."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from registry_server.commands.exit_codes import UNUSABLE
from registry_server.commands.go_flags import NoBoolean, in_typer_spelling
from registry_server.commands.invocation import Invocation
from registry_server.commands.serve import ContextObject, serve
from registry_server.commands.version_and_help import without_command


def serving() -> typer.Typer:
    """Return the command line with only `serve`; the other commands are slow to import."""
    app = typer.Typer(
        name="registry-server",
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(without_command)
    app.command()(serve)
    return app


def complete() -> typer.Typer:
    """Return the command line with all commands."""
    from registry_server.commands.late_commands import add_late_commands

    app = serving()
    add_late_commands(app)
    return app


def run(app: typer.Typer, words: Sequence[str]) -> Invocation:
    """Run the command that `words` name; return the invocation of `serve`.

    Raises SystemExit after any other command, and when `serve` fails or prints its help.
    """
    command = typer.main.get_group(app)
    try:
        spelled = in_typer_spelling(command, words)
    except NoBoolean as error:
        typer.echo(f"registry-server: {error}", err=True)
        sys.exit(UNUSABLE)
    # Writing to a closed pipe ends a command (`... | head`), as with other programs.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    stored = ContextObject()
    try:
        sys.exit(command(spelled, obj=stored))
    except SystemExit:
        if stored.invocation is None:
            raise
    return stored.invocation
