"""The command line as a whole."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from registry_server.commands.exit_codes import UNUSABLE
from registry_server.commands.go_flags import NoBoolean, in_typer_spelling
from registry_server.commands.invocation import Invocation
from registry_server.commands.serve import Asked, serve
from registry_server.commands.top import top


def serving() -> typer.Typer:
    """Return the command line with `serve` alone: other commands take long to import."""
    app = typer.Typer(
        name="registry-server",
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(top)
    app.command()(serve)
    return app


def complete() -> typer.Typer:
    """Return the command line with all commands."""
    from registry_server.commands.others import add_others

    app = serving()
    add_others(app)
    return app


def run(app: typer.Typer, words: Sequence[str]) -> Invocation:
    """Run a command to its end, which ends the program; only for `serve`, return what it is to do.

    Raises SystemExit.
    """
    command = typer.main.get_group(app)
    try:
        spelled = in_typer_spelling(command, words)
    except NoBoolean as error:
        typer.echo(f"registry-server: {error}", err=True)
        sys.exit(UNUSABLE)
    # A reader such as `head` that has enough ends a command, as it ends every other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    asked = Asked()
    try:
        sys.exit(command(spelled, obj=asked))
    except SystemExit:
        if asked.invocation is None:
            raise
    return asked.invocation
