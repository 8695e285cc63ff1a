"""What takes up a disk, in lines for people or as a JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Protocol

import typer

from registry_server.commands.json_output import print_list
from storage.maintenance.scrub.findings import shown
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.categories import Category
from storage.maintenance.usage.explain import UploadUsage, Usage
from storage.maintenance.usage.ledger import RepositoryUsage
from storage.values.sizes import format_size

_COLUMNS = "{:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}  {}"
_NOTHING = Amount()


class Report(Protocol):
    """Says on stdout what was found."""

    def show(self, repositories: Iterable[RepositoryUsage], usage: Usage) -> None:
        """Say it; `repositories` are those to be listed."""


class TextReport:
    """A line for each repository, then some for the whole."""

    def show(self, repositories: Iterable[RepositoryUsage], usage: Usage) -> None:
        """Print the lines."""
        heads = "NEEDS", "UNIQUE", "SHARED", "MANIFESTS", "TAGS", "BLOBS", "UPLOADS", "REPOSITORY"
        typer.echo(_COLUMNS.format(*heads))
        for one in repositories:
            typer.echo(_row(one))
        typer.echo()
        for amount, what in _whole(usage):
            typer.echo(f"{format_size(amount.size):>9} {amount.count:>9} files  {what}")
        typer.echo()
        for line in _conclusions(usage):
            typer.echo(line)


def _row(one: RepositoryUsage) -> str:
    sizes = map(format_size, (one.size, one.unique, one.shared))
    remark = "" if one.readable else " (see below)"
    name = f"{one.name}{remark}"
    return _COLUMNS.format(*sizes, one.manifests, one.tags, one.blobs, one.uploads, name)


def _whole(usage: Usage) -> Iterator[tuple[Amount, str]]:
    """Yield the parts of the whole: each line is the sum of those that are set in below it."""
    blobs, files = usage.blobs, usage.files.amounts
    yield usage.total, "on the disk"
    yield blobs.total, f"  blobs: {Category.BLOB.explanation}"
    parts = [
        (blobs.needed, f"needed by manifests{_shares(usage)}"),
        (blobs.perhaps, "perhaps needed by a manifest that can't be read; scrub tells which"),
        (blobs.young, "needed by nothing, and too young to go: pushed or used just now"),
        (blobs.held_back, "needed by nothing that could be read, but a part of the disk can't be"),
        (blobs.idle, "needed by nothing: goes"),
    ]
    yield from ((amount, f"    {what}") for amount, what in parts if amount != _NOTHING)
    for category, amount in files.items():
        if amount != _NOTHING:
            yield amount, f"  {category.value}: {category.explanation}"


def _shares(usage: Usage) -> str:
    shared, untagged = usage.blobs.shared, usage.blobs.untagged
    text = f", {format_size(shared.size)} of it by several repositories" if shared.count else ""
    if untagged.count:
        text += f", {format_size(untagged.size)} of it only by manifests that no tag leads to"
    return text


def _conclusions(usage: Usage) -> Iterator[str]:
    uploads, untagged = usage.uploads, usage.blobs.untagged
    if uploads.oldest is not None:
        yield f"uploads in progress: {uploads.sessions}; the oldest waits since {_when(uploads)}"
    line = f"garbage-collect gives back {format_size(usage.reclaimable.size)} now"
    if untagged.count:
        line += f", and {format_size(untagged.size)} more with --delete-untagged"
    yield line
    for path, reason in usage.trouble:
        yield f"{shown(path)}: {shown(reason)}; so no blob would go"
    for name, digest in usage.ledger.unreadable():
        yield f"{name}@{digest} can't be read, so {name} counts as needing all it has; see scrub"


class JsonReport:
    """One document, printed piece by piece: the repositories may be many."""

    def show(self, repositories: Iterable[RepositoryUsage], usage: Usage) -> None:
        """Print the document."""
        before = '{"repositories": [\n'
        for one in repositories:
            typer.echo(f"{before}{json.dumps(_repository(one))}", nl=False)
            before = ",\n"
        begun = before if before.startswith("{") else "\n"
        rest = json.dumps(_document(usage)).removeprefix("{").removesuffix("}")
        typer.echo(f"{begun}], {rest}", nl=False)
        print_list("unreadable", (f"{name}@{digest}" for name, digest in usage.ledger.unreadable()))
        typer.echo("}")


def _repository(one: RepositoryUsage) -> dict[str, object]:
    sizes = {"bytes": one.size, "unique": one.unique, "shared": one.shared}
    counts = {"manifests": one.manifests, "tags": one.tags, "blobs": one.blobs}
    more = {"uploads": one.uploads, "readable": one.readable}
    return {"name": one.name.text, **sizes, **counts, **more}


def _document(usage: Usage) -> dict[str, object]:
    blobs, uploads = usage.blobs, usage.uploads
    divided = {name: _amount(Amount(**found)) for name, found in asdict(blobs).items()}
    others = {one.value: _amount(amount) for one, amount in usage.files.amounts.items()}
    return {
        "total": _amount(usage.total),
        "files": {Category.BLOB.value: _amount(blobs.total), **others},
        "blobs": divided,
        "uploads": {
            "sessions": uploads.sessions,
            "oldest": None if uploads.oldest is None else _when(uploads),
        },
        "reclaimable": {
            "now": usage.reclaimable.size,
            "blobs": blobs.idle.size,
            "leftovers": usage.files.leftovers.size,
            "more_with_delete_untagged": blobs.untagged.size,
        },
        "trouble": [{"path": shown(one.path), "reason": one.reason} for one in usage.trouble],
    }


def _amount(amount: Amount) -> dict[str, int]:
    return {"files": amount.count, "bytes": amount.size}


def _when(uploads: UploadUsage) -> str:
    """Return the last sign of life of the oldest upload as RFC 3339 has it, in UTC."""
    at = datetime.fromtimestamp(uploads.oldest or 0.0, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
