"""The second stage: every repository's links, manifests, tags and referrers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from storage import paths
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.errors import raise_if_exhausted, reason_of
from storage.maintenance.database import Database
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import Entry
from storage.maintenance.scrub.listing import Lister
from storage.maintenance.scrub.manifests import Content, check
from storage.maintenance.scrub.parts import Parts
from storage.maintenance.scrub.queue_pages import Pages, Part
from storage.maintenance.scrub.referrers import ReferrerDescription, ReferrerLink
from storage.maintenance.scrub.repairs import Mender
from storage.maintenance.scrub.second_look import each_undisturbed
from storage.names import RepositoryName

T = TypeVar("T")
Found: TypeAlias = Callable[[Finding], None]
Pair: TypeAlias = tuple[Entry, Finding]


class RepositoryCheck:
    """Looks at repositories, one after the other; repairs with `mender` if there is one."""

    def __init__(
        self,
        driver: Driver,
        database: Database,
        lister: Lister,
        contents: Contents,
        mender: Mender | None,
        found: Found,
    ) -> None:
        self._driver = driver
        self._database = database
        self._lister = lister
        self._contents = contents
        self._mender = mender
        self._found = found

    async def run(self, name: RepositoryName) -> bool:
        """Look at one repository: first what makes members, then what leads to them.

        Return whether it is one, and not only a folder that others lie in.
        """
        parts = Parts(self._database, name)
        present = await self._lister.run(parts.present, name)
        if not present:
            return False
        if paths.UPLOADS in present:
            async for _ in self._listed(name, parts.uploads()):
                pass  # what belongs into their folders is all that is known of them
        async for revisions in self._listed(name, parts.revisions()):
            await self._look(revisions)
        async for layers in self._listed(name, parts.layers()):
            await self._look(layers)
        await self._check_manifests(name, parts)
        await self._check_tags(name, parts)
        await self._check_referrers(name, parts)
        return True

    async def _check_manifests(self, name: RepositoryName, parts: Parts) -> None:
        """Look for what manifests name; what one seems to lack is in memory for one at a time."""
        manifests = parts.manifests()
        while not manifests.is_over:
            for digest in await self._batch(partial(self._lacking, name, parts, manifests)):
                suspects = await self._batch(partial(self._check, name, parts, digest))
                for finding in await self._look_again(suspects):
                    if finding is not None:
                        self._found(finding)

    def _lacking(
        self, name: RepositoryName, parts: Parts, manifests: Pages[Digest], view: View
    ) -> list[Digest]:
        """Return those of the next page that seem to lack something."""
        return [one for one in manifests.next() if self._check(name, parts, one, view)]

    def _check(
        self, name: RepositoryName, parts: Parts, digest: Digest, view: View
    ) -> tuple[Entry, ...]:
        """Check a manifest; note what should be in the index of referrers."""
        try:
            checked = check(view, self._contents, name, digest)
        except OSError as error:
            raise_if_exhausted(error)
            return (Content(name, digest),)
        if checked.subject is not None:
            parts.expect(checked.subject, digest)
        return checked.suspects

    async def _check_tags(self, name: RepositoryName, parts: Parts) -> None:
        async for tags in self._listed(name, parts.tags()):
            found = await self._look(tags)
            dead = {finding.path for finding in found if finding.kind is Kind.DEAD_TAG}
            alive = [link.tag for link in tags if link.path not in dead]
            async for history in self._listed(name, parts.history(alive)):
                await self._look(history)

    async def _check_referrers(self, name: RepositoryName, parts: Parts) -> None:
        """Look at what is in the index of referrers, then at what should be and is not."""
        async for subjects in self._listed(name, parts.subjects()):
            async for links in self._listed(name, parts.referrers(subjects)):
                await self._look(map(_description, links))
                await self._look(links)
                await self._batch(lambda _: parts.see(links))  # noqa: B023
        unlisted = parts.unlisted()
        while not unlisted.is_over:
            await self._look(await self._batch(lambda _: unlisted.next()))

    async def _listed(self, name: RepositoryName, part: Part[T]) -> AsyncGenerator[list[T], None]:
        """Yield a part of a repository by pages, and report what does not belong there."""
        while not part.is_over:
            if some := await self._lister.run(part.next, name):
                yield some

    async def _batch(self, job: Callable[[View], T]) -> T:
        """Run a job that uses the database, which is not closed before it has ended."""
        return await to_completion(self._driver.batch(job))

    async def _look(self, entries: Iterable[Entry]) -> list[Finding]:
        """Have entries look at themselves; report, repaired or not, what they find."""
        some, reported = list(entries), list[Finding]()
        if not some:
            return reported
        found = await self._driver.batch(lambda view: self._look_at(view, some))
        if found:
            found = await self._confirmed(found)
        for entry, finding in found:
            mended = await self._mender.mend(entry, finding) if self._mender else finding
            if mended is not None:
                reported.append(mended)
                self._found(mended)
        return reported

    async def _confirmed(self, found: list[Pair]) -> list[Pair]:
        """Return those findings that a second look makes as well."""
        again = await self._look_again([entry for entry, _ in found])
        return [pair for pair, finding in zip(found, again, strict=True) if finding == pair[1]]

    async def _look_again(self, entries: Sequence[Entry]) -> list[Finding | None]:
        """Return what entries find under the exclusive tree lock."""
        look = partial(_look_at_one, contents=self._contents.recalled())
        return await each_undisturbed(self._driver, entries, look)

    def _look_at(self, view: View, entries: Iterable[Entry]) -> list[Pair]:
        found = ((entry, _look_at_one(view, entry, self._contents)) for entry in entries)
        return [(entry, finding) for entry, finding in found if finding is not None]


def _look_at_one(view: View, entry: Entry, contents: Contents) -> Finding | None:
    try:
        return entry.look(view, contents)
    except OSError as error:
        raise_if_exhausted(error)
        what = f"it can't be read: {reason_of(error)}"
        return Finding(Kind.UNREADABLE, entry.path, what, entry.name)


def _description(link: ReferrerLink) -> ReferrerDescription:
    return ReferrerDescription(link.name, link.subject, link.digest)
