"""JSON documents printed in parts, because their lists may be long."""

from __future__ import annotations

import json
from collections.abc import Iterable

import typer


def print_list(name: str, items: Iterable[object]) -> None:
    """Print a list as the next member of the current document."""
    typer.echo(f",\n{json.dumps(name)}: [", nl=False)
    before = "\n"
    for item in items:
        typer.echo(f"{before}{json.dumps(item)}", nl=False)
        before = ",\n"
    typer.echo("]", nl=False)
