"""A collection in words: what a plan would do and why, what a sweep did."""

from __future__ import annotations

from collections.abc import Iterator

from storage.maintenance.garbage.ledger import LooseLink, Marked, SurveyedBlob
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.sweep import Swept

_AT_ONCE = 1000


def described(plan: Plan) -> Iterator[str]:
    """Yield the lines of registry:2: what is marked, and what is eligible for deletion.

    Programs parse these lines. The only addition is the reason why a manifest is kept, at the end
    of its line.
    """
    ledger = plan.ledger
    for one in ledger.marked():
        yield _marked(one)
    yield ""
    yield (
        f"{ledger.count_of_marked()} blobs marked, {sum_of_eligible_blobs(plan)[0]} blobs and "
        f"{ledger.count_of_doomed()} manifests eligible for deletion"
    )
    for blob in eligible_blobs(plan):
        yield f"blob eligible for deletion: {blob.digest}"
    for link in eligible_links(plan):
        yield f"{link.repository}: layer link eligible for deletion: {link.digest}"


def _marked(one: Marked) -> str:
    if one.kind == "doomed":
        return f"manifest eligible for deletion: {one.digest}"
    if one.kind == "repository":
        return one.repository.text
    reason = f" ({one.reason})" if one.reason else ""
    return f"{one.repository}: marking {one.kind} {one.digest}{reason}"


def sum_of_eligible_blobs(plan: Plan) -> tuple[int, int]:
    """Return how many blobs are eligible for deletion, and how many bytes they have."""
    return (0, 0) if plan.trouble else plan.ledger.sum_of_unneeded()


def eligible_links(plan: Plan) -> Iterator[LooseLink]:
    """Yield the links of blobs that no manifest of their repository needs."""
    some = plan.ledger.loose_links(None, _AT_ONCE)
    while some:
        yield from some
        some = plan.ledger.loose_links(some[-1], _AT_ONCE)


def eligible_blobs(plan: Plan) -> Iterator[SurveyedBlob]:
    """Yield the blobs eligible for deletion; none while a part of the tree can't be read."""
    some = [] if plan.trouble else plan.ledger.unneeded(None, _AT_ONCE)
    while some:
        yield from some
        some = plan.ledger.unneeded(some[-1].digest, _AT_ONCE)


def outlook(plan: Plan) -> str:
    """Say in a line what a plan comes to."""
    ledger = plan.ledger
    blobs, size = sum_of_eligible_blobs(plan)
    all_blobs, all_size = ledger.sum_of_blobs()
    doomed = ledger.count_of_doomed()
    return (
        f"{doomed} of {doomed + ledger.count_of_kept()} manifests, {ledger.count_of_loose()} links "
        f"and {blobs} of {all_blobs} blobs would go: {size} of {all_size} bytes"
    )


def summary(swept: Swept) -> str:
    """Say in a line what a sweep did."""
    line = (
        f"removed {swept.manifests} manifests, {swept.links} links, {swept.blobs} blobs "
        f"and {swept.rubbish} leftovers: {swept.size} bytes freed"
    )
    if swept.spared:
        line += f"; {swept.spared} came to be used meanwhile and stay"
    return f"{line}; ended early, the rest is for the next time" if swept.was_stopped else line


def warnings(plan: Plan) -> Iterator[str]:
    """Yield what kept more than was necessary, a line each."""
    for path, reason in plan.trouble:
        yield f"{path}: {reason}; so no blob was taken for unneeded"
    for name, digest in plan.ledger.unreadable():
        yield (
            f"{name}@{digest} can't be read, so nothing of {name} was taken for unneeded; see scrub"
        )
