"""JSON documents that are printed a part at a time, because their lists may be long."""

from __future__ import annotations

import json
from collections.abc import Iterable

import typer


def print_list(name: str, items: Iterable[object]) -> None:
    """Print a list as the next member of a document that is being printed."""
    typer.echo(f",\n{json.dumps(name)}: [", nl=False)
    before = "\n"
    for item in items:
        typer.echo(f"{before}{json.dumps(item)}", nl=False)
        before = ",\n"
    typer.echo("]", nl=False)
