"""A collection in words: what a plan would do and why, what a sweep did."""

from __future__ import annotations

from collections.abc import Iterator

from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.sweep import Swept

_AT_ONCE = 1000


def described(plan: Plan) -> Iterator[str]:
    """Yield a line for everything that would go, and for what stays with the reason.

    A blob that stays because manifests need it has no line of its own: its manifests do.
    """
    ledger = plan.ledger
    for one in ledger.verdicts():
        what = f"manifest {one.repository}@{one.digest}"
        yield f"drop {what}" if one.reason is None else f"keep {what} ({one.reason})"
    yield from _links(ledger)
    verb = "keep" if plan.trouble else "drop"
    yield from _blobs(ledger, verb)
    for blob in ledger.young():
        yield f"keep blob {blob.digest} {blob.size} (used in the last {plan.options.grace:g} s)"


def _links(ledger: Ledger) -> Iterator[str]:
    some = ledger.loose_links(None, _AT_ONCE)
    while some:
        for link in some:
            yield f"drop link {link.repository}@{link.digest}"
        some = ledger.loose_links(some[-1], _AT_ONCE)


def _blobs(ledger: Ledger, verb: str) -> Iterator[str]:
    some = ledger.unneeded(None, _AT_ONCE)
    while some:
        for blob in some:
            yield f"{verb} blob {blob.digest} {blob.size}"
        some = ledger.unneeded(some[-1].digest, _AT_ONCE)


def outlook(plan: Plan) -> str:
    """Say in a line what a plan comes to."""
    ledger = plan.ledger
    blobs, size = (0, 0) if plan.trouble else ledger.sum_of_unneeded()
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
    for name, digest in plan.unreadable:
        yield (
            f"{name}@{digest} can't be read, so nothing of {name} was taken for unneeded; see scrub"
        )
