"""The second stage: the links, manifests, tags and referrers of every repository."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver, Reader
from storage.errors import raise_if_exhausted, reason_of
from storage.maintenance.database import Database
from storage.maintenance.scrub.checks.link_checks import Checkable
from storage.maintenance.scrub.checks.manifest_checks import UnreadableManifest, check
from storage.maintenance.scrub.checks.referrer_checks import ReferrerDescription, ReferrerLink
from storage.maintenance.scrub.checks.second_look import look_at_each_exclusively
from storage.maintenance.scrub.findings import Finding, Found, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.maintenance.scrub.reading.folder_listing import Lister
from storage.maintenance.scrub.repairs import Repairer
from storage.maintenance.scrub.stages.part_pages import Pages, Part
from storage.maintenance.scrub.stages.repository_parts import Parts
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

T = TypeVar("T")
Pair: TypeAlias = tuple[Checkable, Finding]


class RepositoryCheck:
    """Checks repositories one after the other; repairs their findings if it has a `repairer`."""

    def __init__(
        self,
        driver: Driver,
        database: Database,
        lister: Lister,
        contents: Contents,
        repairer: Repairer | None,
        found: Found,
    ) -> None:
        self._driver = driver
        self._database = database
        self._lister = lister
        self._contents = contents
        self._repairer = repairer
        self._found = found

    async def run(self, name: RepositoryName) -> bool:
        """Check one repository: first the links of its members, then what refers to them.

        Return False for a folder that only contains other repositories.
        """
        parts = Parts(self._database, name)
        present = await self._lister.run(parts.present, name)
        if not present:
            return False
        if paths.UPLOADS in present:
            async for _ in self._listed(name, parts.uploads()):
                pass  # upload sessions are only checked for strays
        async for revisions in self._listed(name, parts.revisions()):
            await self._look(revisions)
        async for layers in self._listed(name, parts.layers()):
            await self._look(layers)
        await self._check_manifests(name, parts)
        await self._check_tags(name, parts)
        await self._check_referrers(name, parts)
        return True

    async def _check_manifests(self, name: RepositoryName, parts: Parts) -> None:
        """Check the references of manifests; the suspects of one manifest are in memory."""
        manifests = parts.manifests()
        while not manifests.is_over:
            for digest in await self._batch(partial(self._lacking, name, parts, manifests)):
                suspects = await self._batch(partial(self._check, name, parts, digest))
                for finding in await self._look_again(suspects):
                    if finding is not None:
                        self._found(finding)

    def _lacking(
        self, name: RepositoryName, parts: Parts, manifests: Pages[Digest], reader: Reader
    ) -> list[Digest]:
        """Return the manifests of the next page that have suspects."""
        return [digest for digest in manifests.next() if self._check(name, parts, digest, reader)]

    def _check(
        self, name: RepositoryName, parts: Parts, digest: Digest, reader: Reader
    ) -> tuple[Checkable, ...]:
        """Check a manifest, and record what the referrers index should contain."""
        try:
            checked = check(reader, self._contents, name, digest)
        except OSError as error:
            raise_if_exhausted(error)
            return (UnreadableManifest(name, digest),)
        if checked.subject is not None:
            parts.expect(checked.subject, digest)
        return checked.suspects

    async def _check_tags(self, name: RepositoryName, parts: Parts) -> None:
        async for tags in self._listed(name, parts.tags()):
            findings = await self._look(tags)
            dead = {finding.path for finding in findings if finding.kind is Kind.DEAD_TAG}
            alive = [link.tag for link in tags if link.path not in dead]
            async for history in self._listed(name, parts.history(alive)):
                await self._look(history)

    async def _check_referrers(self, name: RepositoryName, parts: Parts) -> None:
        """Check what the referrers index contains, then what it lacks."""
        async for subjects in self._listed(name, parts.subjects()):
            async for links in self._listed(name, parts.referrers(subjects)):
                await self._look(map(_description, links))
                await self._look(links)
                await self._batch(lambda _: parts.see(links))  # noqa: B023
        unlisted = parts.unlisted()
        while not unlisted.is_over:
            await self._look(await self._batch(lambda _: unlisted.next()))

    async def _listed(self, name: RepositoryName, part: Part[T]) -> AsyncGenerator[list[T], None]:
        """Yield a part of a repository page by page, and report strays."""
        while not part.is_over:
            if page := await self._lister.run(part.next, name):
                yield page

    async def _batch(self, job: Callable[[Reader], T]) -> T:
        """Run a job that uses the database to its end, so that the database stays open."""
        return await to_completion(self._driver.batch(job))

    async def _look(self, entries: Iterable[Checkable]) -> list[Finding]:
        """Check entries; repair, report and return the confirmed findings."""
        page, reported = list(entries), list[Finding]()
        if not page:
            return reported
        suspects = await self._driver.batch(lambda reader: self._look_at(reader, page))
        if suspects:
            suspects = await self._confirmed(suspects)
        for entry, suspect in suspects:
            finding = await self._repairer.repair(entry, suspect) if self._repairer else suspect
            if finding is not None:
                reported.append(finding)
                self._found(finding)
        return reported

    async def _confirmed(self, suspects: list[Pair]) -> list[Pair]:
        """Return the findings that a second look confirms."""
        again = await self._look_again([entry for entry, _ in suspects])
        return [pair for pair, finding in zip(suspects, again, strict=True) if finding == pair[1]]

    async def _look_again(self, entries: Sequence[Checkable]) -> list[Finding | None]:
        """Check entries under the exclusive tree lock."""
        look = partial(_look_at_one, contents=self._contents.without_reading())
        return await look_at_each_exclusively(self._driver, entries, look)

    def _look_at(self, reader: Reader, entries: Iterable[Checkable]) -> list[Pair]:
        pairs = ((entry, _look_at_one(reader, entry, self._contents)) for entry in entries)
        return [(entry, finding) for entry, finding in pairs if finding is not None]


def _look_at_one(reader: Reader, entry: Checkable, contents: Contents) -> Finding | None:
    try:
        return entry.look(reader, contents)
    except OSError as error:
        raise_if_exhausted(error)
        what = f"it cannot be read: {reason_of(error)}"
        return Finding(Kind.UNREADABLE, entry.path, what, entry.name)


def _description(link: ReferrerLink) -> ReferrerDescription:
    return ReferrerDescription(link.name, link.subject, link.digest)
