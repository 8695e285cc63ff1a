"""The sweep: carry out a plan, alone for one small batch after the other.

    manifests   family by family, those that list others first
    links       of blobs that no manifest of their repository needs
    bytes       that nothing uses

Each is looked at again while nobody publishes, and stays if it was used since the survey. It may
end after any batch: what is left is what the next collection finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from storage.content.links import read_link
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.maintenance.garbage.families import Knot, below, reached
from storage.maintenance.garbage.ledger import Family, Ledger, LooseLink, SurveyedBlob
from storage.maintenance.garbage.marking import linked
from storage.maintenance.garbage.needs import read_needs
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.progress import Progress, Stop
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

logger = logging.getLogger(__name__)

# What is removed while everybody else waits: a look and a rename take some 20 us each.
_AT_ONCE = 100
# Each waits for as long as the driver waits for a lock.
_ATTEMPTS = 3


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


class _Case:
    """A family on its way out: which of it stay, because they were used or hang on what was."""

    def __init__(self, family: Family) -> None:
        self.repository = family.repository
        self.knots = family.knots
        self.staying: set[Digest] = set()
        self._below = below(family.hangs_on)

    def spare(self, manifests: Iterable[Digest]) -> None:
        """Have manifests stay, with all that hangs on them."""
        self.staying |= reached(manifests, self._below)


# Knots of a family, to be removed in one hold.
_Part: TypeAlias = tuple[_Case, tuple[Knot, ...]]


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
            for parts in _batches(map(_Case, some)):
                if self._stop.is_wished:
                    return
                await self._remove_parts(parts)
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
            await self._alone(partial(self._remove_links, some), partial(self._give_up_links, some))
            self._progress.step("removing links", self.swept.links, total)
            after = some[-1]

    async def blobs(self) -> None:
        """Remove the bytes that nothing uses."""
        total, _ = await self._driver.batch(lambda _: self._ledger.sum_of_unneeded())
        after: Digest | None = None
        while not self._stop.is_wished:
            some = await self._driver.batch(partial(self._unneeded, after))
            if not some:
                return
            await self._alone(partial(self._remove_blobs, some), lambda _: None)
            self._progress.step("removing blobs", self.swept.blobs, total)
            after = some[-1].digest

    def _families(self, after: int, _: Reader) -> list[Family]:
        return self._ledger.families(after, _AT_ONCE)

    def _loose(self, after: LooseLink | None, _: Reader) -> list[LooseLink]:
        return self._ledger.loose_links(after, _AT_ONCE)

    def _unneeded(self, after: Digest | None, _: Reader) -> list[SurveyedBlob]:
        return self._ledger.unneeded(after, _AT_ONCE)

    async def _alone(
        self, job: Callable[[ExclusiveEditor], None], give_up: Callable[[Reader], None]
    ) -> None:
        """Do a job while nobody else holds the tree; one that others never let go of has to wait.

        What is given up is left for the next collection.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._driver.exclusively(job)
            except TimeoutError as error:
                logger.warning("the collection has to wait for others: %s", error)
        self.swept.failed.append("others held the tree for too long; a part was left as it is")
        return await self._driver.batch(give_up)

    async def _remove_parts(self, parts: Sequence[_Part]) -> None:
        await self._alone(partial(self._remove_all, parts), partial(_give_up_parts, parts))
        for case, knots in parts:
            left = [one for knot in knots for one in knot if one in case.staying]
            if left:
                await self._driver.batch(partial(self._keep, case.repository, left))

    def _remove_all(self, parts: Iterable[_Part], editor: ExclusiveEditor) -> None:
        for case, knots in parts:
            for knot in knots:
                self._remove_knot(editor, case, knot)

    def _remove_knot(self, editor: ExclusiveEditor, case: _Case, knot: Knot) -> None:
        """Remove manifests that hang on each other, unless one of them or above them is used.

        What hangs on them is still there, and stays if they do.
        """
        try:
            case.spare(one for one in knot if not self._is_as_surveyed(editor, one))
        except OSError as error:
            self.swept.note_failure(paths.revisions(case.repository), error)
            case.spare(knot)
        for digest in knot:
            if digest in case.staying:
                self.swept.spared += 1
                continue
            link = paths.revision_link(case.repository, digest)
            try:
                self.swept.manifests += editor.remove(link)
            except OSError as error:
                self.swept.note_failure(link, error)
                case.spare((digest,))

    def _keep(
        self, repository: RepositoryName, manifests: Iterable[Digest], reader: Reader
    ) -> None:
        """Have the ledger know that manifests stay that were to go."""
        number = self._ledger.add_repository(repository)
        for digest in manifests:
            needs = read_needs(reader, digest)
            blobs = linked(reader, repository) if needs is None else needs.blobs
            self._ledger.tie(number, (digest, *blobs))

    def _remove_links(self, links: Iterable[LooseLink], editor: ExclusiveEditor) -> None:
        for one in links:
            path = paths.layer_link(one.repository, one.digest)
            try:
                if not self._is_loose_still(editor, path, one):
                    self.swept.spared += 1
                    continue
                self.swept.links += editor.remove(path)
            except OSError as error:
                self.swept.note_failure(path, error)
                self._give_up_links((one,), editor)

    def _give_up_links(self, links: Iterable[LooseLink], _: Reader) -> None:
        for one in links:
            number = self._ledger.add_repository(one.repository)
            self._ledger.need(number, (one.digest, one.content))

    def _remove_blobs(self, blobs: Iterable[SurveyedBlob], editor: ExclusiveEditor) -> None:
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

    def _is_loose_still(self, editor: ExclusiveEditor, path: str, one: LooseLink) -> bool:
        """Whether a link leads where it led, and neither what it names nor that was used since."""
        leads_to = read_link(editor, path) or one.digest
        ends = {one.digest, one.content}
        return leads_to == one.content and all(self._is_as_surveyed(editor, end) for end in ends)

    def _is_as_surveyed(self, editor: ExclusiveEditor, digest: Digest) -> bool:
        """Whether nobody used content since; content that is absent was used if it came."""
        found = editor.stat(paths.blob(digest))
        return self._ledger.version(digest) == (None if found is None else found.modified_ns)


def _give_up_parts(parts: Iterable[_Part], _: Reader) -> None:
    for case, knots in parts:
        for knot in knots:
            case.spare(knot)


def _batches(cases: Iterable[_Case]) -> Iterator[list[_Part]]:
    """Cut into batches of few manifests; a knot is never cut."""
    batch: list[_Part] = []
    count = 0
    for case in cases:
        part: list[Knot] = []
        for knot in case.knots:
            part.append(knot)
            count += len(knot)
            if count >= _AT_ONCE:
                yield [*batch, (case, tuple(part))]
                batch, part, count = [], [], 0
        if part:
            batch.append((case, tuple(part)))
    if batch:
        yield batch
