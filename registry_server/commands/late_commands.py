"""The commands that are slow to import: all except `serve`."""

from __future__ import annotations

import typer

from registry_server.commands.check import check
from registry_server.commands.delete import delete
from registry_server.commands.du import du
from registry_server.commands.explain import explain
from registry_server.commands.garbage_collect import garbage_collect
from registry_server.commands.htpasswd import htpasswd
from registry_server.commands.purge_uploads import purge_uploads
from registry_server.commands.robots import robots
from registry_server.commands.scrub import scrub
from registry_server.commands.version_and_help import help_about


def add_late_commands(app: typer.Typer) -> None:
    """Add the commands in the order of the help."""
    app.command()(check)
    app.command("purge-uploads")(purge_uploads)
    app.command()(scrub)
    app.command("garbage-collect")(garbage_collect)
    app.command()(du)
    app.command()(delete)
    app.command()(htpasswd)
    app.command()(explain)
    app.add_typer(robots)
    app.command("help")(help_about)
