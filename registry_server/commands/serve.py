"""`registry-server serve`: the command line and the configuration of a server.

This module imports Typer, pydantic and YAML, which a server would keep in memory. So it runs in a
child process, and `cli` serves in the parent.
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
from registry_server.config import ConfigError, LoadedSettings, LogSettings, Overrides
from registry_server.config.load import formatter_of, load

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ContextObject:
    """The object of Typer's context; `serve` stores its invocation in it."""

    invocation: Invocation | None = None


def serve(
    context: typer.Context,
    argument: ConfigFile = None,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    root: RootFolder = None,
    workers: Annotated[int | None, typer.Option(help="Number of worker processes.")] = None,
) -> None:
    """Run the server. SIGTERM drains it, SIGHUP reloads the configuration.

    Without CONFIG, the file named by REGISTRY_CONFIGURATION_PATH is used; without that, ./data is
    served on 127.0.0.1:5000. REGISTRY_* variables override settings.
    """
    overrides = Overrides(host=host, port=port, root=root, workers=workers)
    path = only_config(argument, config)
    logs.adopt_interpreter()
    invocation = Invocation(_load(path, overrides), path, overrides)
    context.ensure_object(ContextObject).invocation = invocation


def _load(path: Path | None, overrides: Overrides) -> LoadedSettings:
    """Read the configuration; report its problems and end the program when it is invalid.

    The problems are logged as JSON if the configuration sets that formatter.
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
