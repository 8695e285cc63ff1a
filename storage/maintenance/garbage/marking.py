"""Marking: which manifests of a repository stay, why, and what they need.

    tag ─────────▶ manifest          what a tag points to stays
    index ───────▶ child             with what it lists
    referrer ────▶ subject           and with what refers to it: signatures, SBOMs

Untagged manifests stay too unless they were asked to go, and while they are young. Where damage
hides what was needed everything that may have been stays: a tag whose link can't be read keeps its
whole history, a manifest that can't be read keeps all that its repository holds.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.content.links import digests, read_link, tags_in
from storage.drivers.base import Reader
from storage.maintenance.batches import batched
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.needs import Needs, read_needs
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName, Tag

_AT_ONCE = 100
UNTAGGED = "untagged"
_YOUNG = "untagged, and too young to go"
_UNREADABLE = "can't be read, so nothing here is taken for unneeded; scrub can repair that"


def mark(reader: Reader, ledger: Ledger, name: RepositoryName, *, delete_untagged: bool) -> bool:
    """Write into the ledger what of a repository stays and goes.

    Returns whether all of its manifests could be read; if not, nothing of it goes.
    """
    repository = ledger.add_repository(name)
    for digest in revisions(reader, name):
        _take_in(reader, ledger, repository, digest)
    _take_in_tags(reader, ledger, name)
    for digest in ledger.graph.strangers():
        _take_in_blob(reader, ledger, repository, name, digest)
    damaged = ledger.first_unreadable(repository)
    _keep(ledger, damaged, delete_untagged=delete_untagged)
    ledger.keep_what_the_graph_keeps(repository)
    ledger.need_what_kept_needs(repository)
    ledger.components.divide(repository)
    ledger.graph.clear()
    ledger.need(repository, _linked_by_unknown_algorithms(reader, name))
    if damaged is not None:
        ledger.need_perhaps(repository, linked(reader, name))
    loose = _loose(reader, ledger, name, repository)
    for some in batched(loose, _AT_ONCE):
        ledger.add_loose_links(repository, some)
    return damaged is None


def _take_in(reader: Reader, ledger: Ledger, repository: int, digest: Digest) -> Needs | None:
    needs = read_needs(reader, digest)
    ledger.graph.add(digest, needs)
    if needs is None:
        ledger.add_unreadable(repository, digest)
    return needs


def _take_in_blob(
    reader: Reader, ledger: Ledger, repository: int, name: RepositoryName, digest: Digest
) -> None:
    """Take a tagged manifest in that is a member as a blob only, and what it lists likewise.

    Early registries linked manifests so. Nobody can pull them here until they are pushed again;
    that is no reason to lose their bytes.
    """
    waiting = [digest]
    while waiting:
        one = waiting.pop()
        if ledger.graph.has(one) or reader.stat(paths.layer_link(name, one)) is None:
            continue
        if reader.stat(paths.blob(one)) is not None:
            needs = _take_in(reader, ledger, repository, one)
            waiting += needs.children if needs else ()


def revisions(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digests of a repository's manifests: those that have a link, however damaged."""
    for digest in digests(reader, paths.revisions(name)):
        if reader.stat(paths.revision_link(name, digest)) is not None:
            yield digest


def _take_in_tags(reader: Reader, ledger: Ledger, name: RepositoryName) -> None:
    for tag in tags_in(reader, name):
        for digest, reason in _leads_to(reader, name, tag):
            ledger.graph.add_root(tag, digest, reason)


def _leads_to(reader: Reader, name: RepositoryName, tag: Tag) -> Iterator[tuple[Digest, str]]:
    """Yield where a tag leads; all to which it may lead when its link is damaged."""
    link = paths.tag_current_link(name, tag)
    if reader.stat(link) is None:
        return
    digest = read_link(reader, link)
    if digest is not None:
        yield digest, f"tag {tag}"
        return
    for past in digests(reader, paths.tag_history(name, tag)):
        yield past, f"in the history of tag {tag}, whose link is damaged"


def _keep(ledger: Ledger, damaged: Digest | None, *, delete_untagged: bool) -> None:
    """Find out what stays, and why: by its tag first."""
    graph = ledger.graph
    graph.keep_tagged()
    if damaged is not None:
        graph.keep_all(f"{damaged} {_UNREADABLE}")
    elif delete_untagged:
        graph.keep_young(_YOUNG)
    else:
        graph.keep_all(UNTAGGED)


def linked(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield every blob that a repository links, and where its content is."""
    for digest in digests(reader, paths.layers(name)):
        yield digest
        yield _content(reader, name, digest)


def _linked_by_unknown_algorithms(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield content that is linked by a digest of an algorithm that this registry does not know.

    CNCF distribution accepts sha384, for example, and links it to the sha256 of the bytes. This
    registry cannot tell which manifests name such a digest, so all of this content is kept.
    """
    for algorithm in set(reader.folders(paths.layers(name))).difference(HEX_LENGTHS):
        folder = f"{paths.layers(name)}/{algorithm}"
        for hex, is_folder in reader.entries(folder):
            content = read_link(reader, f"{folder}/{hex}/{paths.LINK}") if is_folder else None
            if content is not None:
                yield content


def _loose(
    reader: Reader, ledger: Ledger, name: RepositoryName, repository: int
) -> Iterator[tuple[Digest, Digest]]:
    """Yield the links that nothing needs and whose content is old, or is not there at all."""
    for digest in digests(reader, paths.layers(name)):
        if reader.stat(paths.layer_link(name, digest)) is None:
            continue
        content = _content(reader, name, digest)
        if ledger.needs(repository, digest):
            if content != digest:
                ledger.need(repository, (content,))
            continue
        found = ledger.blob(content)
        if found is None or found.old:
            yield digest, content


def _content(reader: Reader, name: RepositoryName, digest: Digest) -> Digest:
    return read_link(reader, paths.layer_link(name, digest)) or digest
