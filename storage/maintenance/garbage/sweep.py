"""The sweep: carry out a plan, alone for one small batch after the other.

    manifests   family by family, those that list others first
    links       of blobs that no manifest of their repository needs
    bytes       that nothing uses

Each is looked at again while nobody publishes, and stays if it was used since the survey. It may
end after any batch: what is left is what the next collection finds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, Editor, View
from storage.links import read_link
from storage.maintenance.garbage.families import spared
from storage.maintenance.garbage.ledger import Family, Ledger, LooseLink, SurveyedBlob
from storage.maintenance.garbage.marking import linked
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.revisions import read_needs
from storage.maintenance.progress import Progress, Stop
from storage.names import RepositoryName

logger = logging.getLogger(__name__)

# What is removed while everybody else waits: a look and a rename take some 20 us each.
_AT_ONCE = 100


@dataclass(slots=True)
class Swept:
    """What a sweep removed, and what it left: used since the survey, or not to be removed."""

    manifests: int = 0
    links: int = 0
    blobs: int = 0
    size: int = 0
    spared: int = 0
    rubbish: int = 0
    was_stopped: bool = False
    failed: list[str] = field(default_factory=list)

    def note_failure(self, path: str, error: OSError) -> None:
        """Remember and log what could not be removed."""
        logger.error("%s was not removed: %s", path, error)
        self.failed.append(f"{path}: {error.strerror or error}")


class Sweep:
    """Carries out one plan; each step is to be called once, in the order they stand here."""

    def __init__(self, driver: Driver, plan: Plan, progress: Progress, stop: Stop) -> None:
        self._driver = driver
        self._ledger: Ledger = plan.ledger
        self._progress = progress
        self._stop = stop
        self.swept = Swept()

    async def manifests(self) -> None:
        """Remove the links of manifests that go."""
        total = await self._driver.batch(lambda _: self._ledger.count_of_doomed())
        after = 0
        while not self._stop.is_wished:
            some = await self._driver.batch(partial(self._families, after))
            for families in _batches(some):
                await self._remove_families(families)
                self._progress.step("removing manifests", self.swept.manifests, total)
            if not some:
                return
            after = some[-1].number

    async def links(self) -> None:
        """Remove the links of blobs that nothing in their repositories needs."""
        total = await self._driver.batch(lambda _: self._ledger.count_of_loose())
        after: LooseLink | None = None
        while not self._stop.is_wished:
            some = await self._driver.batch(partial(self._loose, after))
            if not some:
                return
            await self._driver.exclusively(partial(self._remove_links, some))
            self._progress.step("removing links", self.swept.links, total)
            after = some[-1]

    async def blobs(self) -> None:
        """Remove the bytes that nothing uses."""
        total, _ = await self._driver.batch(lambda _: self._ledger.sum_of_unused())
        after: Digest | None = None
        while not self._stop.is_wished:
            some = await self._driver.batch(partial(self._unused, after))
            if not some:
                return
            await self._driver.exclusively(partial(self._remove_blobs, some))
            self._progress.step("removing blobs", self.swept.blobs, total)
            after = some[-1].digest

    def _families(self, after: int, _: View) -> list[Family]:
        return self._ledger.families(after, _AT_ONCE)

    def _loose(self, after: LooseLink | None, _: View) -> list[LooseLink]:
        return self._ledger.loose_links(after, _AT_ONCE)

    def _unused(self, after: Digest | None, _: View) -> list[SurveyedBlob]:
        return self._ledger.unused(after, _AT_ONCE)

    async def _remove_families(self, families: Sequence[Family]) -> None:
        staying = await self._driver.exclusively(
            lambda editor: [self._remove_family(editor, family) for family in families]
        )
        for family, left in zip(families, staying, strict=True):
            if left:
                await self._driver.batch(partial(self._keep, family.repository, left))

    def _remove_family(self, editor: Editor, family: Family) -> set[Digest]:
        """Remove those of a family that may go; return those that stay."""
        try:
            used = [one for one in family.members if not self._is_as_surveyed(editor, one)]
        except OSError as error:
            self.swept.note_failure(paths.revisions(family.repository), error)
            return set(family.members)
        staying = spared(used, family.hangs_on)
        self.swept.spared += len(staying)
        for at, digest in enumerate(family.members):
            if digest in staying:
                continue
            link = paths.revision_link(family.repository, digest)
            try:
                self.swept.manifests += editor.remove(link)
            except OSError as error:
                self.swept.note_failure(link, error)
                return staying.union(family.members[at:])
        return staying

    def _keep(self, repository: RepositoryName, manifests: Iterable[Digest], view: View) -> None:
        """Have the ledger know that manifests stay that were to go."""
        number = self._ledger.add_repository(repository)
        for digest in manifests:
            needs = read_needs(view, digest)
            blobs = linked(view, repository) if needs is None else needs.blobs
            self._ledger.tie(number, (digest, *blobs))

    def _remove_links(self, links: Iterable[LooseLink], editor: Editor) -> None:
        for one in links:
            path = paths.layer_link(one.repository, one.digest)
            try:
                if not self._is_loose_still(editor, path, one):
                    self.swept.spared += 1
                    continue
                self.swept.links += editor.remove(path)
            except OSError as error:
                self.swept.note_failure(path, error)
                number = self._ledger.add_repository(one.repository)
                self._ledger.use(number, (one.digest, one.content))

    def _remove_blobs(self, blobs: Iterable[SurveyedBlob], editor: Editor) -> None:
        for blob in blobs:
            path = paths.blob(blob.digest)
            try:
                if not self._is_as_surveyed(editor, blob.digest):
                    self.swept.spared += 1
                elif editor.remove(path):
                    self.swept.blobs += 1
                    self.swept.size += blob.size
            except OSError as error:
                self.swept.note_failure(path, error)

    def _is_loose_still(self, editor: Editor, path: str, one: LooseLink) -> bool:
        """Whether a link leads where it led, and neither what it names nor that was used since."""
        leads_to = read_link(editor, path) or one.digest
        ends = {one.digest, one.content}
        return leads_to == one.content and all(self._is_as_surveyed(editor, end) for end in ends)

    def _is_as_surveyed(self, editor: Editor, digest: Digest) -> bool:
        """Whether nobody used content since; content that is absent was used if it came."""
        found = editor.stat(paths.blob(digest))
        return self._ledger.version(digest) == (None if found is None else found.modified_ns)


def _batches(families: Sequence[Family]) -> Iterable[list[Family]]:
    """Cut into batches of few manifests; a family is never cut."""
    batch: list[Family] = []
    count = 0
    for family in families:
        batch.append(family)
        count += len(family.members)
        if count >= _AT_ONCE:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch
