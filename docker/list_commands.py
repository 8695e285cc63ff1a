"""Print the names of the registry's commands, one a line, for the entrypoint."""

from typer.main import get_command

from registry_server.commands.command_line import complete

if __name__ == "__main__":
    print(*get_command(complete()).commands, sep="\n")  # type: ignore[attr-defined]
