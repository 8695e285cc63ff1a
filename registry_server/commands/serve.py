"""`registry-server serve`: reads the command line and the configuration of a server.

It does not serve: a server keeps in memory what its process imports, so `cli` serves in a process
that has not imported this.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from registry_server import logs
from registry_server.commands.arguments import ConfigOption, only_config
from registry_server.commands.common import ConfigFile, RootFolder, print_problems, require_file
from registry_server.commands.exit_codes import UNUSABLE
from registry_server.commands.invocation import Invocation
from registry_server.config import ConfigError, Loaded, LogSettings, Overrides
from registry_server.config.load import formatter_of, load

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """Where `serve` leaves what it was asked for."""

    invocation: Invocation | None = None


def serve(
    context: typer.Context,
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
    context.ensure_object(Asked).invocation = Invocation(_load(path, overrides), path, overrides)


def _load(path: Path | None, overrides: Overrides) -> Loaded:
    """Read the configuration; end the program when it can't be used, saying why.

    Where the configuration asks for JSON, the problems are lines of JSON.
    """
    require_file(path)
    try:
        return load(path, os.environ, overrides)
    except ConfigError as error:
        formatter = formatter_of(path, os.environ)
        if formatter == "text":
            print_problems(error.problems)
        else:
            logs.configure(LogSettings(formatter=formatter))
            for problem in error.problems:
                logger.critical(problem)
        raise typer.Exit(UNUSABLE) from None
