"""The output of `du`: lines of text, or a JSON document."""

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
from storage.maintenance.usage.examination import UploadUsage, Usage
from storage.maintenance.usage.usage_database import RepositoryDiskUsage
from storage.values.sizes import format_size

_COLUMNS = "{:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}  {}"
_NOTHING = Amount()


class Report(Protocol):
    """Prints disk usage."""

    def show(self, repositories: Iterable[RepositoryDiskUsage], usage: Usage) -> None:
        """Print the usage; `repositories` are those to list."""


class TextReport:
    """Prints a line for each repository, then a summary."""

    def show(self, repositories: Iterable[RepositoryDiskUsage], usage: Usage) -> None:
        """Print the lines."""
        heads = "NEEDS", "UNIQUE", "SHARED", "MANIFESTS", "TAGS", "BLOBS", "UPLOADS", "REPOSITORY"
        typer.echo(_COLUMNS.format(*heads))
        for repository in repositories:
            typer.echo(_row(repository))
        typer.echo()
        for amount, description in _totals(usage):
            typer.echo(f"{format_size(amount.size):>9} {amount.count:>9} files  {description}")
        typer.echo()
        for line in _conclusions(usage):
            typer.echo(line)


def _row(usage: RepositoryDiskUsage) -> str:
    sizes = map(format_size, (usage.size, usage.unique, usage.shared))
    remark = "" if usage.readable else " (see below)"
    counts = usage.manifests, usage.tags, usage.blobs, usage.uploads
    return _COLUMNS.format(*sizes, *counts, f"{usage.name}{remark}")


def _totals(usage: Usage) -> Iterator[tuple[Amount, str]]:
    """Yield amounts with their descriptions: each is the sum of those indented below it."""
    blobs, files = usage.blobs, usage.files.amounts
    yield usage.total, "on the disk"
    yield blobs.total, f"  blobs: {Category.BLOB.explanation}"
    parts = [
        (blobs.needed, f"needed by manifests{_shares(usage)}"),
        (blobs.perhaps, "maybe needed by a manifest that can't be read; run scrub"),
        (blobs.young, "unreferenced, but within the grace period"),
        (blobs.held_back, "unreferenced, but kept because a part of the disk can't be read"),
        (blobs.idle, "unreferenced: garbage"),
    ]
    yield from ((amount, f"    {text}") for amount, text in parts if amount != _NOTHING)
    for category, amount in files.items():
        if amount != _NOTHING:
            yield amount, f"  {category.value}: {category.explanation}"


def _shares(usage: Usage) -> str:
    shared, untagged = usage.blobs.shared, usage.blobs.untagged
    text = f", {format_size(shared.size)} of it shared by repositories" if shared.count else ""
    if untagged.count:
        text += f", {format_size(untagged.size)} of it only by untagged manifests"
    return text


def _conclusions(usage: Usage) -> Iterator[str]:
    uploads, untagged = usage.uploads, usage.blobs.untagged
    if uploads.oldest is not None:
        yield f"uploads in progress: {uploads.sessions}; the oldest is idle since {_when(uploads)}"
    line = f"garbage-collect would free {format_size(usage.reclaimable.size)} now"
    if untagged.count:
        line += f", and {format_size(untagged.size)} more with --delete-untagged"
    yield line
    for path, reason in usage.coverage.trouble:
        yield f"{shown(path)}: {shown(reason)}; so no blob would be removed"
    for name, digest in usage.database.marks.unreadable():
        yield f"{name}@{digest} can't be read, so {name} counts as needing all its blobs; run scrub"


class JsonReport:
    """Prints one document in parts, because the list of repositories may be long."""

    def show(self, repositories: Iterable[RepositoryDiskUsage], usage: Usage) -> None:
        """Print the document."""
        before = '{"repositories": [\n'
        for repository in repositories:
            typer.echo(f"{before}{json.dumps(_repository(repository))}", nl=False)
            before = ",\n"
        begun = before if before.startswith("{") else "\n"
        rest = json.dumps(_document(usage)).removeprefix("{").removesuffix("}")
        typer.echo(f"{begun}], {rest}", nl=False)
        unreadable = usage.database.marks.unreadable()
        print_list("unreadable", (f"{name}@{digest}" for name, digest in unreadable))
        typer.echo("}")


def _repository(usage: RepositoryDiskUsage) -> dict[str, object]:
    sizes = {"bytes": usage.size, "unique": usage.unique, "shared": usage.shared}
    counts = {"manifests": usage.manifests, "tags": usage.tags, "blobs": usage.blobs}
    more = {"uploads": usage.uploads, "readable": usage.readable}
    return {"name": usage.name.text, **sizes, **counts, **more}


def _document(usage: Usage) -> dict[str, object]:
    blobs, uploads = usage.blobs, usage.uploads
    reasons = {name: _amount(Amount(**amount)) for name, amount in asdict(blobs).items()}
    others = {category.value: _amount(amount) for category, amount in usage.files.amounts.items()}
    return {
        "total": _amount(usage.total),
        "files": {Category.BLOB.value: _amount(blobs.total), **others},
        "blobs": reasons,
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
        "trouble": [
            {"path": shown(path), "reason": reason} for path, reason in usage.coverage.trouble
        ],
    }


def _amount(amount: Amount) -> dict[str, int]:
    return {"files": amount.count, "bytes": amount.size}


def _when(uploads: UploadUsage) -> str:
    """Return when the oldest upload was last active, in RFC 3339 format and UTC."""
    at = datetime.fromtimestamp(uploads.oldest or 0.0, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
