"""The output of a collection: the lines of registry:2, or a JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import typer

from registry_server.commands.json_output import print_list
from registry_server.config.units import in_go_words
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.report import (
    count_and_size_of_blobs,
    eligible_blobs,
    eligible_links,
    outlook,
    plan_lines,
    summary,
)
from storage.maintenance.garbage.sweep.content_sweep import Swept


@dataclass(frozen=True, slots=True)
class Grace:
    """The grace period, and the key or option that sets it."""

    period: timedelta
    origin: str


class Report(Protocol):
    """Prints a plan, then its result."""

    def plan(self, plan: Plan) -> None:
        """Print what is kept and what is eligible for deletion, before anything is removed."""

    def end(self, plan: Plan, swept: Swept | None) -> None:
        """Print what was removed; None after a dry run."""


class NoReport:
    """Prints nothing."""

    def plan(self, plan: Plan) -> None:
        """Print nothing."""

    def end(self, plan: Plan, swept: Swept | None) -> None:
        """Print nothing."""


class TextReport:
    """Prints a line for each manifest and blob, as registry:2 does, then a summary."""

    def __init__(self, grace: Grace) -> None:
        self._grace = grace

    def plan(self, plan: Plan) -> None:
        """Print the lines of registry:2, which programs parse."""
        for line in plan_lines(plan):
            typer.echo(line)

    def end(self, plan: Plan, swept: Swept | None) -> None:
        """Print what the grace period keeps, and what was or would be removed."""
        count, size = plan.database.candidates.count_and_size_of_blobs(old=False)
        if count:
            period = in_go_words(self._grace.period)
            typer.echo(
                f"{count} blobs ({size} bytes) kept: used within the last {period} "
                f"({self._grace.origin})"
            )
        typer.echo(outlook(plan) if swept is None else summary(swept))


class JsonReport:
    """Prints one document in parts, because the lists may be long."""

    def __init__(self, grace: Grace) -> None:
        self._grace = grace

    def plan(self, plan: Plan) -> None:
        """Print what is eligible for deletion: counts, then each manifest, link and blob."""
        _print_members("{\n", _counts(plan, self._grace))
        print_list("manifests", _manifests(plan))
        print_list("links", _links(plan))
        print_list("blobs", _blobs(plan))

    def end(self, plan: Plan, swept: Swept | None) -> None:
        """Print what was removed, and what could not be read or removed."""
        _print_members(
            ",\n",
            {
                "dry_run": swept is None,
                "removed": None if swept is None else _removed(swept),
                "complete": swept is None or not swept.was_stopped,
                "failed": [] if swept is None else swept.failed,
                "trouble": [
                    {"path": path, "reason": reason} for path, reason in plan.coverage.trouble
                ],
            },
        )
        unreadable = plan.database.marks.unreadable()
        print_list("unreadable", (f"{name}@{digest}" for name, digest in unreadable))
        typer.echo("\n}")


def _counts(plan: Plan, grace: Grace) -> Mapping[str, object]:
    blobs, size = count_and_size_of_blobs(plan)
    candidates = plan.database.candidates
    young, young_size = candidates.count_and_size_of_blobs(old=False)
    return {
        "delete_untagged": plan.options.delete_untagged,
        "marked": plan.database.marks.count_of_digests(),
        "eligible": {
            "manifests": candidates.count_of_manifests(),
            "links": candidates.count_of_links(),
            "blobs": blobs,
            "bytes": size,
        },
        "kept_by_grace": {
            "blobs": young,
            "bytes": young_size,
            "seconds": grace.period.total_seconds(),
            "origin": grace.origin,
        },
    }


def _manifests(plan: Plan) -> Iterator[Mapping[str, object]]:
    for name, digest in plan.database.candidates.manifests():
        yield {"repository": name.text, "digest": str(digest)}


def _links(plan: Plan) -> Iterator[Mapping[str, object]]:
    for link in eligible_links(plan):
        yield {"repository": link.repository.text, "digest": str(link.digest)}


def _blobs(plan: Plan) -> Iterator[Mapping[str, object]]:
    for blob in eligible_blobs(plan):
        yield {"digest": str(blob.digest), "bytes": blob.size}


def _removed(swept: Swept) -> Mapping[str, int]:
    return {
        "manifests": swept.manifests,
        "links": swept.links,
        "blobs": swept.blobs,
        "leftovers": swept.leftovers,
        "bytes": swept.size,
        "spared": swept.spared,
    }


def _print_members(before: str, members: Mapping[str, object]) -> None:
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members.items())
    typer.echo(f"{before}{text}", nl=False)
