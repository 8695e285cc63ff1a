"""Marking: which manifests of a repository stay, why, and what they need.

    tag ─────────▶ manifest          what a tag points to stays
    index ───────▶ child             with what it lists
    referrer ────▶ subject           and with what refers to it: signatures, SBOMs

Untagged manifests stay too unless they were asked to go, and while they are young. Where damage
hides what was needed everything that may have been stays: a tag whose link can't be read keeps its
whole history, a manifest that can't be read keeps all that its repository holds.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from storage import paths
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import View
from storage.links import digests, read_link
from storage.maintenance.garbage.families import below, families
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.needs import Needs, read_needs
from storage.names import RepositoryName, Tag, only_tags

_AT_ONCE = 1000
UNTAGGED = "untagged"
_UNREADABLE = "can't be read, so nothing here is taken for unneeded; scrub can repair that"


@dataclass(slots=True)
class _Graph:
    """The manifests of a repository, by what names what."""

    children: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    referrers: dict[Digest, list[Digest]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[Digest] = field(default_factory=list)

    def add(self, digest: Digest, needs: Needs | None) -> None:
        self.children[digest] = needs.children if needs else ()
        if needs is None:
            self.unreadable.append(digest)
        elif needs.subject is not None:
            self.referrers[needs.subject].append(digest)

    def below(self, digest: Digest) -> Iterator[tuple[Digest, str]]:
        """Yield the members that stay if `digest` does, and what to say of that."""
        for child in self.children[digest]:
            if child in self.children:
                yield child, f"listed by {digest}"
        for referrer in self.referrers.get(digest, ()):
            yield referrer, f"refers to {digest}"


def mark(
    view: View, ledger: Ledger, name: RepositoryName, *, delete_untagged: bool
) -> tuple[Digest, ...]:
    """Write into the ledger what of a repository stays and goes.

    Returns the manifests whose bytes can't be read; with any of them nothing of it goes.
    """
    repository = ledger.add_repository(name)
    graph = _Graph()
    for digest in revisions(view, name):
        _take_in(view, ledger, graph, digest)
    tagged = list(_tagged(view, name))
    for digest, _ in tagged:
        _take_in_blob(view, ledger, graph, name, digest)
    untagged = _untagged(ledger, graph, delete_untagged=delete_untagged)
    kept = _kept(graph, iter(tagged), untagged)
    ledger.keep_manifests(repository, kept.items())
    ledger.need_what_kept_needs(repository)
    _doom(ledger, repository, graph, kept)
    ledger.need(repository, _linked_by_unknown_algorithms(view, name))
    if graph.unreadable:
        ledger.need_perhaps(repository, linked(view, name))
    loose = _loose(view, ledger, name, repository)
    while some := list(islice(loose, _AT_ONCE)):
        ledger.add_loose_links(repository, some)
    return tuple(graph.unreadable)


def _take_in(view: View, ledger: Ledger, graph: _Graph, digest: Digest) -> None:
    needs = read_needs(view, digest)
    graph.add(digest, needs)
    # Whether it stays is known when all are read; what it names need not be kept in memory.
    ledger.note_needs(digest, needs.blobs if needs else ())


def _take_in_blob(
    view: View, ledger: Ledger, graph: _Graph, name: RepositoryName, digest: Digest
) -> None:
    """Take a tagged manifest in that is a member as a blob only, and what it lists likewise.

    Early registries linked manifests so. Nobody can pull them here until they are pushed again;
    that is no reason to lose their bytes.
    """
    waiting = [digest]
    while waiting:
        one = waiting.pop()
        if one in graph.children or view.stat(paths.layer_link(name, one)) is None:
            continue
        if view.stat(paths.blob(one)) is not None:
            _take_in(view, ledger, graph, one)
            waiting += graph.children[one]


def revisions(view: View, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digests of a repository's manifests: those that have a link, however damaged."""
    for digest in digests(view, paths.revisions(name)):
        if view.stat(paths.revision_link(name, digest)) is not None:
            yield digest


def _untagged(
    ledger: Ledger, graph: _Graph, *, delete_untagged: bool
) -> Iterator[tuple[Digest, str]]:
    """Yield what stays without a tag, with the reason."""
    for digest in graph.children:
        found = ledger.blob(digest)
        if graph.unreadable:
            yield digest, f"{graph.unreadable[0]} {_UNREADABLE}"
        elif not delete_untagged:
            yield digest, UNTAGGED
        elif found is not None and not found.old:
            yield digest, "untagged, and too young to go"


def _tagged(view: View, name: RepositoryName) -> Iterator[tuple[Digest, str]]:
    for text in sorted(only_tags(view.folders(paths.tags(name)))):
        tag = Tag(text)
        link = paths.tag_current_link(name, tag)
        if view.stat(link) is None:
            continue
        digest = read_link(view, link)
        if digest is not None:
            yield digest, f"tag {tag}"
            continue
        for past in digests(view, f"{paths.tag(name, tag)}/index"):
            yield past, f"in the history of tag {tag}, whose link is damaged"


def _kept(graph: _Graph, *roots: Iterator[tuple[Digest, str]]) -> dict[Digest, str]:
    """Return what stays, with the first reason found: by the first roots, and near to them."""
    kept: dict[Digest, str] = {}
    for some in roots:
        queue = deque(root for root in some if root[0] in graph.children)
        while queue:
            digest, reason = queue.popleft()
            if digest not in kept:
                kept[digest] = reason
                queue.extend(graph.below(digest))
    return kept


def _doom(ledger: Ledger, repository: int, graph: _Graph, kept: dict[Digest, str]) -> None:
    doomed = [digest for digest in graph.children if digest not in kept]
    hangs_on = [
        (upper, lower)
        for upper in doomed
        for lower, _ in graph.below(upper)
        if lower not in kept  # it stays whatever becomes of this one
    ]
    downwards = below(hangs_on)
    for knots in families(doomed, graph.children, hangs_on):
        members = (one for knot in knots for one in knot)
        pairs = ((upper, lower) for upper in members for lower in downwards.get(upper, ()))
        ledger.doom_family(repository, knots, pairs)


def linked(view: View, name: RepositoryName) -> Iterator[Digest]:
    """Yield every blob that a repository links, and where its content is."""
    for digest in digests(view, paths.layers(name)):
        yield digest
        yield _content(view, name, digest)


def _linked_by_unknown_algorithms(view: View, name: RepositoryName) -> Iterator[Digest]:
    """Yield content that is linked by a digest of an algorithm that this registry does not know.

    CNCF distribution accepts sha384, for example, and links it to the sha256 of the bytes. This
    registry cannot tell which manifests name such a digest, so all of this content is kept.
    """
    for algorithm in set(view.folders(paths.layers(name))).difference(HEX_LENGTHS):
        folder = f"{paths.layers(name)}/{algorithm}"
        for hex in view.folders(folder):
            content = read_link(view, f"{folder}/{hex}/{paths.LINK}")
            if content is not None:
                yield content


def _loose(
    view: View, ledger: Ledger, name: RepositoryName, repository: int
) -> Iterator[tuple[Digest, Digest]]:
    """Yield the links that nothing needs and whose content is old, or is not there at all."""
    for digest in digests(view, paths.layers(name)):
        if view.stat(paths.layer_link(name, digest)) is None:
            continue
        content = _content(view, name, digest)
        if ledger.needs(repository, digest):
            if content != digest:
                ledger.need(repository, (content,))
            continue
        found = ledger.blob(content)
        if found is None or found.old:
            yield digest, content


def _content(view: View, name: RepositoryName, digest: Digest) -> Digest:
    return read_link(view, paths.layer_link(name, digest)) or digest
