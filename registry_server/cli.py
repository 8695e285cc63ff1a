"""The command line.

Exit codes: 0 done; 1 something went wrong while running; 2 the call or the configuration can't
be used, said in one line each and never as a traceback; 3 interrupted by SIGINT or SIGTERM.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from registry_server import logs, startup
from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import (
    FAILED,
    UNUSABLE,
    ConfigFile,
    RootFolder,
    fail_in_log,
    load_or_log,
)
from registry_server.commands.go_flags import NoBoolean, in_typer_spelling
from registry_server.commands.top import top
from registry_server.config import Loaded, Overrides, Settings, load

logger = logging.getLogger(__name__)


def serve(
    argument: ConfigFile = None,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    root: RootFolder = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
) -> None:
    """Serve the registry until SIGTERM, then let requests in flight finish.

    Without CONFIG it reads the file that REGISTRY_CONFIGURATION_PATH names, and without that it
    serves ./data on 127.0.0.1:5000. REGISTRY_* variables apply. SIGHUP reloads the configuration.
    """
    overrides = Overrides(host=host, port=port, root=root, workers=workers)
    path = only_config(argument, config)
    logs.adopt_interpreter()
    loaded = load_or_log(path, overrides)
    logs.configure(loaded.settings.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    _serve(loaded.settings, loaded.file, lambda: load(path, os.environ, overrides))


def _serve(settings: Settings, config: Path | None, read: Callable[[], Loaded]) -> None:
    # A write to a closed connection must not end the server.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Of what is imported nothing is garbage; the server sees to the collector before it serves.
    gc.disable()
    from registry_server import server
    from registry_server.workers.supervisor import WorkersFailed

    gc.enable()
    try:
        server.serve(settings, config, read)
    except startup.StartupError as error:
        fail_in_log(str(error))
    except WorkersFailed as error:
        fail_in_log(str(error), code=FAILED)


def serving() -> typer.Typer:
    """Return the command line with `serve` alone.

    A server keeps in memory what it imports, and other commands import much.
    """
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


def main() -> None:
    """Run the command line."""
    is_server = sys.argv[1:2] == [serve.__name__]
    command = typer.main.get_group(serving() if is_server else complete())
    try:
        words = in_typer_spelling(command, sys.argv[1:])
    except NoBoolean as error:
        typer.echo(f"registry-server: {error}", err=True)
        sys.exit(UNUSABLE)
    # A reader such as `head` that has enough ends a command, as it ends every other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(command(words))
