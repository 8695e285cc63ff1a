"""A collection in words: what a plan would delete and why, and what a sweep removed."""

from __future__ import annotations

from collections.abc import Iterator

from storage.maintenance.garbage.mark.candidates import UnreferencedLink
from storage.maintenance.garbage.mark.marks import Marked
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.maintenance.garbage.sweep.content_sweep import Swept

_BATCH = 1000


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield the lines of registry:2: what is marked, and what is eligible for deletion.

    Programs parse these lines. The only addition is the reason why a manifest is kept, at the end
    of its line.
    """
    candidates = plan.database.candidates
    for mark in plan.database.marks.marked():
        yield _line(mark)
    yield ""
    yield (
        f"{plan.database.marks.count_of_digests()} blobs marked, "
        f"{count_and_size_of_blobs(plan)[0]} blobs and {candidates.count_of_manifests()} manifests "
        "eligible for deletion"
    )
    for blob in eligible_blobs(plan):
        yield f"blob eligible for deletion: {blob.digest}"
    for link in eligible_links(plan):
        yield f"{link.repository}: layer link eligible for deletion: {link.digest}"


def _line(mark: Marked) -> str:
    if mark.kind == "eligible":
        return f"manifest eligible for deletion: {mark.digest}"
    if mark.kind == "repository":
        return mark.repository.text
    reason = f" ({mark.reason})" if mark.reason else ""
    return f"{mark.repository}: marking {mark.kind} {mark.digest}{reason}"


def count_and_size_of_blobs(plan: Plan) -> tuple[int, int]:
    """Return the number of blobs eligible for deletion and the sum of their bytes."""
    if not plan.coverage.allows_blobs:
        return 0, 0
    return plan.database.candidates.count_and_size_of_blobs()


def eligible_links(plan: Plan) -> Iterator[UnreferencedLink]:
    """Yield the layer links that no manifest of their repository needs."""
    links = plan.database.candidates.links(None, _BATCH)
    while links:
        yield from links
        links = plan.database.candidates.links(links[-1], _BATCH)


def eligible_blobs(plan: Plan) -> Iterator[SurveyedBlob]:
    """Yield the blobs eligible for deletion; none while a part of the tree can't be read."""
    blobs = plan.database.candidates.blobs(None, _BATCH) if plan.coverage.allows_blobs else []
    while blobs:
        yield from blobs
        blobs = plan.database.candidates.blobs(blobs[-1].digest, _BATCH)


def outlook(plan: Plan) -> str:
    """Return a line that says what a plan would remove."""
    candidates = plan.database.candidates
    blobs, size = count_and_size_of_blobs(plan)
    all_blobs, all_size = plan.database.blobs.count_and_size()
    manifests = candidates.count_of_manifests()
    all_manifests = manifests + plan.database.marks.count_of_kept_manifests()
    return (
        f"would remove {manifests} of {all_manifests} manifests, "
        f"{candidates.count_of_links()} links and {blobs} of {all_blobs} blobs: "
        f"{size} of {all_size} bytes"
    )


def summary(swept: Swept) -> str:
    """Return a line that says what a sweep removed."""
    line = (
        f"removed {swept.manifests} manifests, {swept.links} links, {swept.blobs} blobs "
        f"and {swept.leftovers} leftovers: {swept.size} bytes freed"
    )
    if swept.spared:
        line += f"; kept {swept.spared} that were used during the collection"
    return f"{line}; interrupted, the next collection continues" if swept.was_stopped else line


def warnings(plan: Plan) -> Iterator[str]:
    """Yield a line for each problem that made the collection keep more than necessary."""
    for path, reason in plan.coverage.trouble:
        yield f"{path}: {reason}; so all blobs are kept"
    for name, digest in plan.database.marks.unreadable():
        yield f"{name}@{digest} can't be read, so everything in {name} is kept; run scrub"
