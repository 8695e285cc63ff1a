"""The second stage: every repository's links, manifests, tags and referrers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeAlias, TypeVar

from storage import paths
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.errors import UploadIdInvalid, reason_of
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import Entry, LayerLink, RevisionLink
from storage.maintenance.scrub.listing import Listing, is_digest, listed
from storage.maintenance.scrub.manifests import Checked, check
from storage.maintenance.scrub.referrers import ReferrerDescription, ReferrerLink
from storage.maintenance.scrub.repairs import Mender
from storage.maintenance.scrub.second_look import undisturbed
from storage.maintenance.scrub.tags import CurrentLink, HistoryLink
from storage.names import RepositoryName, Tag, UploadId, is_component, is_tag

T = TypeVar("T")
Found: TypeAlias = Callable[[Finding], None]
Pair: TypeAlias = tuple[Entry, Finding]

# Entries looked at in one hop to a thread; between hops a scrub can be interrupted.
_AT_ONCE = 256

_LINK = frozenset({paths.LINK})
_REFERRER_FILES = frozenset({paths.LINK, paths.DESCRIPTOR})
_PARTS = frozenset({paths.LAYERS, paths.MANIFESTS, paths.REFERRERS, paths.UPLOADS})
_MANIFESTS = frozenset({"revisions", "tags", paths.DELETIONS})
_TAG = frozenset({paths.CURRENT, paths.HISTORY})
_SESSION_FILES = frozenset({"data", "reserved", "startedat"})


class RepositoryCheck:
    """Looks at repositories; repairs with `mender` if there is one."""

    def __init__(
        self, driver: Driver, contents: Contents, mender: Mender | None, found: Found
    ) -> None:
        self._driver = driver
        self._contents = contents
        self._mender = mender
        self._found = found

    async def run(self, name: RepositoryName) -> bool:
        """Look at one repository: first what makes members, then what leads to them.

        Return whether it is one, and not only a folder that others lie in.
        """
        if not await self._list(name, _parts):
            return False
        revisions = await self._list(name, _revisions)
        await self._look(RevisionLink(name, digest) for digest in revisions)
        layers = await self._list(name, _layers)
        await self._look(LayerLink(name, digest) for digest in layers)
        subjects = await self._check_manifests(name, revisions)
        await self._check_tags(name)
        listed = await self._list(name, _referrers)
        await self._look(_description(link) for link in listed)
        await self._look(dict.fromkeys([*listed, *subjects]))
        return True

    async def _check_manifests(
        self, name: RepositoryName, revisions: list[Digest]
    ) -> list[ReferrerLink]:
        """Look for what manifests name; return what should be in the index of referrers."""
        subjects = []
        for some in _cut(revisions):
            for digest, checked in await self._read_manifests(name, some):
                for finding in checked.findings:
                    self._found(finding)
                if checked.subject is not None:
                    subjects.append(ReferrerLink(name, checked.subject, digest))
        return subjects

    async def _read_manifests(
        self, name: RepositoryName, some: Sequence[Digest]
    ) -> list[tuple[Digest, Checked]]:
        """Check manifests, and once more those that seem to lack something."""

        def job(view: View, digests: Sequence[Digest]) -> dict[Digest, Checked]:
            return {digest: self._check(view, name, digest) for digest in digests}

        read = await self._driver.batch(lambda view: job(view, some))
        for digest in [digest for digest, checked in read.items() if checked.findings]:
            look = partial(self._check, name=name, digest=digest)
            read[digest] = await undisturbed(self._driver, look)
        return list(read.items())

    def _check(self, view: View, name: RepositoryName, digest: Digest) -> Checked:
        try:
            return check(view, self._contents, name, digest)
        except OSError as error:
            path = paths.revision_link(name, digest)
            return Checked((_unreadable(path, name, error),))

    async def _check_tags(self, name: RepositoryName) -> None:
        for some in _cut(await self._list(name, _tags)):
            found = await self._look(CurrentLink(name, tag) for tag in some)
            dead = {finding.path for finding in found if finding.kind is Kind.DEAD_TAG}
            alive = [tag for tag in some if paths.tag_current_link(name, tag) not in dead]
            history = await self._list(name, partial(_history, tags=alive))
            await self._look(history)

    async def _list(
        self, name: RepositoryName, job: Callable[[Listing, RepositoryName], list[T]]
    ) -> list[T]:
        """List a part of a repository, and report what does not belong there."""
        return await listed(self._driver, self._found, lambda one: job(one, name), name)

    async def _look(self, entries: Iterable[Entry]) -> list[Finding]:
        """Have entries look at themselves; report, repaired or not, what they find."""
        reported: list[Finding] = []
        for some in _cut(entries):
            found = await self._driver.batch(lambda view: self._look_at(view, some))  # noqa: B023
            if found:
                found = await self._confirmed(found)
            for entry, finding in found:
                mended = await self._mender.mend(entry, finding) if self._mender else finding
                if mended is not None:
                    reported.append(mended)
                    self._found(mended)
        return reported

    async def _confirmed(self, found: list[Pair]) -> list[Pair]:
        """Return those findings that a second look under the exclusive tree lock makes as well."""
        entries = [entry for entry, _ in found]
        again = dict(await undisturbed(self._driver, partial(self._look_at, entries=entries)))
        return [(entry, finding) for entry, finding in found if again.get(entry) == finding]

    def _look_at(self, view: View, entries: Iterable[Entry]) -> list[Pair]:
        found = ((entry, self._look_at_one(view, entry)) for entry in entries)
        return [(entry, finding) for entry, finding in found if finding is not None]

    def _look_at_one(self, view: View, entry: Entry) -> Finding | None:
        try:
            return entry.look(view, self._contents)
        except OSError as error:
            return _unreadable(entry.path, entry.name, error)


def _unreadable(path: str, name: RepositoryName, error: OSError) -> Finding:
    return Finding(Kind.UNREADABLE, path, f"it can't be read: {reason_of(error)}", name)


def _parts(listing: Listing, name: RepositoryName) -> list[str]:
    """Name the parts of a repository, and look for what does not belong there."""
    folder = paths.repository(name)
    folders = listing.folders(folder, lambda one: one in _PARTS or is_component(one))
    found = [one for one in folders if one in _PARTS]
    if not found:
        return found
    listing.folders(paths.manifests(name), _MANIFESTS.__contains__)
    for id in listing.folders(paths.uploads(name), _is_upload):
        listing.folders(f"{paths.uploads(name)}/{id}", {"hashstates"}.__contains__, _SESSION_FILES)
    return found


def _revisions(listing: Listing, name: RepositoryName) -> list[Digest]:
    # Signatures of schema 1 manifests are what very old registries kept below their links.
    return list(listing.digests(paths.revisions(name), _LINK, skip={"signatures"}))


def _layers(listing: Listing, name: RepositoryName) -> list[Digest]:
    return list(listing.digests(paths.layers(name), _LINK))


def _tags(listing: Listing, name: RepositoryName) -> list[Tag]:
    return list(map(Tag, listing.folders(paths.tags(name), is_tag)))


def _history(listing: Listing, name: RepositoryName, tags: Iterable[Tag]) -> list[HistoryLink]:
    found = []
    for tag in tags:
        folder = paths.tag(name, tag)
        listing.folders(folder, _TAG.__contains__)
        listing.folders(f"{folder}/{paths.CURRENT}", lambda _: False, _LINK)
        history = listing.digests(paths.tag_history(name, tag), _LINK)
        found += [HistoryLink(name, tag, digest) for digest in history]
    return found


def _referrers(listing: Listing, name: RepositoryName) -> list[ReferrerLink]:
    top, _, note = paths.referrers_scanned(name).rpartition("/")
    return [
        ReferrerLink(name, Digest(algorithm, hex), referrer)
        for algorithm in listing.folders(top, HEX_LENGTHS.__contains__, {note})
        for hex in listing.folders(f"{top}/{algorithm}", partial(is_digest, algorithm))
        for referrer in listing.digests(f"{top}/{algorithm}/{hex}", _REFERRER_FILES)
    ]


def _description(link: ReferrerLink) -> ReferrerDescription:
    return ReferrerDescription(link.name, link.subject, link.digest)


def _is_upload(name: str) -> bool:
    try:
        UploadId.parse(name)
    except UploadIdInvalid:
        return False
    return True


def _cut(entries: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(entries)
    while some := list(islice(iterator, _AT_ONCE)):
        yield some
