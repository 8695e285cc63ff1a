#!/opt/registry/venv/bin/python
"""The command line in the image, by the names `registry-server` and `registry`.

A command that runs beside the server (`docker exec CONTAINER registry-server du`) uses the
server's configuration file and root directory, unless it names a configuration file. Without a
server it uses the image's configuration file, named by REGISTRY_CONFIGURATION_PATH.

Typer and the commands are imported inside the functions that need them: a server needs neither, and
would keep both in memory.
"""

import os
import sys
from collections.abc import MutableMapping

from server_process import SERVE, find_server

from registry_server.cli import main

CONFIGURATION = "REGISTRY_CONFIGURATION_PATH"
ROOT = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"


def variables_of(arguments: list[str]) -> dict[str, str]:
    """Return the environment variables equivalent to these arguments of `serve`."""
    from typer.main import get_command

    from registry_server.commands.command_line import serving

    command = get_command(serving())
    context = command.make_context("registry-server", [SERVE], resilient_parsing=True)
    serve = command.get_command(context, SERVE)  # type: ignore[attr-defined]
    options = serve.make_context(SERVE, list(arguments), resilient_parsing=True).params
    configuration = options["argument"] or options["config"]
    named = {CONFIGURATION: configuration, ROOT: options["root"]}
    return {name: str(value) for name, value in named.items() if value is not None}


def names_a_configuration(words: list[str]) -> bool:
    """Return True if a command line names a configuration file, whose root directory applies."""
    from typer.main import get_command

    from registry_server.commands.arguments import looks_like_a_file
    from registry_server.commands.command_line import complete
    from registry_server.commands.go_flags import NoBoolean, in_typer_spelling

    command = get_command(complete())
    try:
        rest = in_typer_spelling(command, words)  # type: ignore[arg-type]
    except NoBoolean:
        return False
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return False
        command = command.commands[rest.pop(0)]
    options = command.make_context(command.name, rest, resilient_parsing=True).params
    first = next(iter(options.get("arguments") or ()), "")
    return bool(options.get("argument") or options.get("config") or looks_like_a_file(first))


def use_settings_of_server(environment: MutableMapping[str, str], words: list[str]) -> None:
    """Set the variables so that a command uses the settings of this container's server."""
    server = find_server()
    if server is not None and not names_a_configuration(words):
        environment.update(variables_of(server[1]))


if __name__ == "__main__":
    if sys.argv[1:2] != [SERVE]:
        use_settings_of_server(os.environ, sys.argv[1:])
    main()
