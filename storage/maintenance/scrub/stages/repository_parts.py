"""The parts of a repository, and what is expected in their folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from storage.errors import UploadIdInvalid
from storage.maintenance.database import Database
from storage.maintenance.digest_keys import digest_of, digests_of, key_of
from storage.maintenance.scrub.checks.link_checks import Checkable, LayerLink, RevisionLink
from storage.maintenance.scrub.checks.referrer_checks import ReferrerLink
from storage.maintenance.scrub.checks.tag_checks import CurrentLink, HistoryLink
from storage.maintenance.scrub.reading.folder_listing import Listing
from storage.maintenance.scrub.stages.key_queue import Queue, QueueId
from storage.maintenance.scrub.stages.part_pages import Pages, Part
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag, UploadId, is_component, is_tag

LookInside: TypeAlias = Callable[[Listing, Checkable], None]

_LINK = frozenset({paths.LINK})
_REFERRER_FILES = frozenset({paths.LINK, paths.DESCRIPTOR})
_PARTS = frozenset({paths.LAYERS, paths.MANIFESTS, paths.REFERRERS, paths.UPLOADS})
_MANIFESTS = frozenset({"revisions", "tags", paths.DELETIONS})
_TAG = frozenset({paths.CURRENT, paths.HISTORY})
_SESSION_FILES = frozenset({"data", "reserved", "startedat"})
# Separates tag and digest in a key. No tag contains it, and it sorts before all characters of tags.
_END = b"\0"


class Parts:
    """The parts of the repository `name`. Each kind of part is read by one caller at a time."""

    def __init__(self, database: Database, name: RepositoryName) -> None:
        self._database = database
        self._name = name
        self._expected = self._queue(QueueId.EXPECTED)

    def present(self, listing: Listing) -> list[str]:
        """Begin: return the parts that exist, and look for strays beside them."""
        self._expected.clear()
        folder = paths.repository(self._name)
        names = listing.each(folder, lambda name: name in _PARTS or is_component(name))
        present = [name for name in names if name in _PARTS]
        if present:
            listing.check(paths.manifests(self._name), _MANIFESTS.__contains__)
        return present

    def uploads(self) -> Part[str]:
        """List the upload sessions."""
        top = paths.uploads(self._name)

        def look_inside(listing: Listing, id: str) -> None:
            listing.check(f"{top}/{id}", {"hashstates"}.__contains__, _SESSION_FILES)

        return Part(
            self._queue(QueueId.UPLOADS),
            bytes.decode,
            lambda listing: map(str.encode, listing.each(top, _is_upload)),
            look_inside,
        )

    def revisions(self) -> Part[RevisionLink]:
        """List the links of manifests."""
        top = paths.revisions(self._name)
        return Part(
            self._queue(QueueId.REVISIONS),
            lambda key: RevisionLink(self._name, digest_of(key)),
            lambda listing: map(key_of, listing.digests(top)),
            # Very old registries kept signatures of schema 1 manifests beside their links.
            _inside(_LINK, skip={"signatures"}),
        )

    def manifests(self) -> Pages[Digest]:
        """Return the digests that `revisions` listed."""
        return Pages(self._queue(QueueId.REVISIONS), digest_of)

    def layers(self) -> Part[LayerLink]:
        """List the links of blobs."""
        top = paths.layers(self._name)
        return Part(
            self._queue(QueueId.LAYERS),
            lambda key: LayerLink(self._name, digest_of(key)),
            lambda listing: map(key_of, listing.digests(top)),
            _inside(_LINK),
        )

    def tags(self) -> Part[CurrentLink]:
        """List the tags."""
        top = paths.tags(self._name)
        return Part(
            self._queue(QueueId.TAGS),
            lambda key: CurrentLink(self._name, Tag(key.decode())),
            lambda listing: map(str.encode, listing.each(top, is_tag)),
        )

    def history(self, tags: Sequence[Tag]) -> Part[HistoryLink]:
        """List the history links of `tags`."""

        def read(key: bytes) -> HistoryLink:
            tag, _, digest = key.partition(_END)
            return HistoryLink(self._name, Tag(tag.decode()), digest_of(digest))

        keys = partial(_history, name=self._name, tags=tags)
        return Part(self._queue(QueueId.HISTORY), read, keys, _inside(_LINK))

    def subjects(self) -> Part[Digest]:
        """List the subjects that have a folder in the referrers index."""
        top, _, note = paths.referrers_scanned(self._name).rpartition("/")
        return Part(
            self._queue(QueueId.SUBJECTS),
            digest_of,
            lambda listing: map(key_of, listing.digests(top, {note})),
        )

    def referrers(self, subjects: Sequence[Digest]) -> Part[ReferrerLink]:
        """List the referrers of `subjects` in the index."""
        keys = partial(_referrers, name=self._name, subjects=subjects)
        return Part(self._queue(QueueId.REFERRERS), self._referrer, keys, _inside(_REFERRER_FILES))

    def expect(self, subject: Digest, digest: Digest) -> None:
        """Record that the index should list `digest` as a referrer of `subject`."""
        self._expected.add([key_of(subject) + key_of(digest)])

    def see(self, links: Iterable[ReferrerLink]) -> None:
        """Record links that the index contains."""
        self._expected.discard(key_of(link.subject) + key_of(link.digest) for link in links)

    def unlisted(self) -> Pages[ReferrerLink]:
        """Return the links that were expected and not seen."""
        return Pages(self._expected, self._referrer)

    def _referrer(self, key: bytes) -> ReferrerLink:
        subject, digest = digests_of(key)
        return ReferrerLink(self._name, subject, digest)

    def _queue(self, kind: QueueId) -> Queue:
        return Queue(self._database, kind)


def _inside(files: Collection[str], skip: Collection[str] = ()) -> LookInside:
    """Return a function that looks for strays beside an entry, apart from `skip` and `files`."""

    def look_inside(listing: Listing, entry: Checkable) -> None:
        listing.check(entry.path.rpartition("/")[0], skip.__contains__, files)

    return look_inside


def _history(listing: Listing, name: RepositoryName, tags: Iterable[Tag]) -> Iterator[bytes]:
    for tag in tags:
        folder = paths.tag(name, tag)
        listing.check(folder, _TAG.__contains__)
        listing.check(f"{folder}/{paths.CURRENT}", lambda _: False, _LINK)
        start = tag.text.encode() + _END
        for digest in listing.digests(paths.tag_history(name, tag)):
            yield start + key_of(digest)


def _referrers(
    listing: Listing, name: RepositoryName, subjects: Iterable[Digest]
) -> Iterator[bytes]:
    for subject in subjects:
        start = key_of(subject)
        for digest in listing.digests(paths.referrers(name, subject)):
            yield start + key_of(digest)


def _is_upload(name: str) -> bool:
    try:
        UploadId.parse(name)
    except UploadIdInvalid:
        return False
    return True
