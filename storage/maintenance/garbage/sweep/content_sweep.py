"""The sweep: carry out a plan in small batches, each under the exclusive lock.

    manifests   component by component, those that list others first
    links       of blobs that no manifest of their repository needs
    blobs       that nothing needs

Under the lock each is checked again, and kept if it was used since the survey. The sweep may end
after any batch; the next collection removes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from storage.content.links import read_link
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.candidates import Component, UnreferencedLink
from storage.maintenance.garbage.mark.dependencies import read_dependencies
from storage.maintenance.garbage.mark.marking import linked
from storage.maintenance.garbage.mark.removal_order import RemovalUnit, reachable, successors
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.maintenance.progress import Progress, Stop
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

logger = logging.getLogger(__name__)

# Removals under one hold of the exclusive lock: a stat and a rename take some 20 us each.
_BATCH = 100
# Each attempt waits for as long as the driver waits for a lock.
_ATTEMPTS = 3


@dataclass(slots=True)
class Swept:
    """What a sweep removed, kept because it was used since the survey, or failed to remove."""

    manifests: int = 0
    links: int = 0
    blobs: int = 0
    size: int = 0
    spared: int = 0
    leftovers: int = 0
    was_stopped: bool = False
    failed: list[str] = field(default_factory=list)

    def note_failure(self, path: str, error: OSError) -> None:
        """Record and log what could not be removed."""
        logger.error("%s was not removed: %s", path, error)
        self.failed.append(f"{path}: {error.strerror or error}")


class _Removal:
    """The removal of a component; `kept` are the manifests in use, and all that these retain."""

    def __init__(self, component: Component) -> None:
        self.repository = component.repository
        self.units = component.units
        self.kept: set[Digest] = set()
        self._retained = successors(component.retains)

    def keep(self, manifests: Iterable[Digest]) -> None:
        """Keep manifests, with all that they retain."""
        self.kept |= reachable(manifests, self._retained)


# Units of one component, removed under one hold of the lock.
_Part: TypeAlias = tuple[_Removal, tuple[RemovalUnit, ...]]


class Sweep:
    """Carries out one plan: call `manifests`, `links` and `blobs` in this order, each once."""

    def __init__(self, driver: Driver, plan: Plan, progress: Progress, stop: Stop) -> None:
        self._driver = driver
        self._database: CollectionDatabase = plan.database
        self._progress = progress
        self._stop = stop
        self.swept = Swept()

    async def manifests(self) -> None:
        """Remove the revision links of eligible manifests."""
        total = await self._driver.batch(lambda _: self._database.candidates.count_of_manifests())
        after = 0
        while not self._stop.is_requested:
            components = await self._driver.batch(partial(self._components, after))
            for parts in _batches(map(_Removal, components)):
                if self._stop.is_requested:
                    return
                await self._remove_parts(parts)
                self._progress.step("removing manifests", self.swept.manifests, total)
            if not components:
                return
            after = components[-1].number

    async def links(self) -> None:
        """Remove the links of blobs that no manifest of their repository needs."""
        total = await self._driver.batch(lambda _: self._database.candidates.count_of_links())
        after: UnreferencedLink | None = None
        while not self._stop.is_requested:
            links = await self._driver.batch(partial(self._links, after))
            if not links:
                return
            await self._exclusively(
                partial(self._remove_links, links), partial(self._keep_links, links)
            )
            self._progress.step("removing links", self.swept.links, total)
            after = links[-1]

    async def blobs(self) -> None:
        """Remove the blobs that nothing needs."""
        total, _ = await self._driver.batch(
            lambda _: self._database.candidates.count_and_size_of_blobs()
        )
        after: Digest | None = None
        while not self._stop.is_requested:
            blobs = await self._driver.batch(partial(self._blobs, after))
            if not blobs:
                return
            await self._exclusively(partial(self._remove_blobs, blobs), lambda _: None)
            self._progress.step("removing blobs", self.swept.blobs, total)
            after = blobs[-1].digest

    def _components(self, after: int, _: Reader) -> list[Component]:
        return self._database.candidates.components(after, _BATCH)

    def _links(self, after: UnreferencedLink | None, _: Reader) -> list[UnreferencedLink]:
        return self._database.candidates.links(after, _BATCH)

    def _blobs(self, after: Digest | None, _: Reader) -> list[SurveyedBlob]:
        return self._database.candidates.blobs(after, _BATCH)

    async def _exclusively(
        self, job: Callable[[ExclusiveEditor], None], give_up: Callable[[Reader], None]
    ) -> None:
        """Run a job under the exclusive lock; run `give_up` if every attempt times out.

        The next collection removes what is left.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._driver.exclusively(job)
            except TimeoutError as error:
                logger.warning("the collection waits for the exclusive lock: %s", error)
        self.swept.failed.append("timed out waiting for the exclusive lock; a batch was skipped")
        return await self._driver.batch(give_up)

    async def _remove_parts(self, parts: Sequence[_Part]) -> None:
        await self._exclusively(partial(self._remove_all, parts), partial(_keep_parts, parts))
        for removal, units in parts:
            kept = [digest for unit in units for digest in unit if digest in removal.kept]
            if kept:
                await self._driver.batch(partial(self._spare, removal.repository, kept))

    def _remove_all(self, parts: Iterable[_Part], editor: ExclusiveEditor) -> None:
        for removal, units in parts:
            for unit in units:
                self._remove_unit(editor, removal, unit)

    def _remove_unit(self, editor: ExclusiveEditor, removal: _Removal, unit: RemovalUnit) -> None:
        """Remove a unit's manifests, unless one of them or of their retainers is in use.

        What they retain still exists, and is kept if they are.
        """
        try:
            removal.keep(digest for digest in unit if not self._is_unchanged(editor, digest))
        except OSError as error:
            self.swept.note_failure(paths.revisions(removal.repository), error)
            removal.keep(unit)
        for digest in unit:
            if digest in removal.kept:
                self.swept.spared += 1
                continue
            link = paths.revision_link(removal.repository, digest)
            try:
                self.swept.manifests += editor.remove(link)
            except OSError as error:
                self.swept.note_failure(link, error)
                removal.keep((digest,))

    def _spare(
        self, repository: RepositoryName, manifests: Iterable[Digest], reader: Reader
    ) -> None:
        """Record that manifests are kept after all, with what they need."""
        number = self._database.marks.number_of(repository)
        for digest in manifests:
            dependencies = read_dependencies(reader, digest)
            blobs = linked(reader, repository) if dependencies is None else dependencies.blobs
            self._database.candidates.spare(number, (digest, *blobs))

    def _remove_links(self, links: Iterable[UnreferencedLink], editor: ExclusiveEditor) -> None:
        for link in links:
            path = paths.layer_link(link.repository, link.digest)
            try:
                if not self._is_unreferenced_still(editor, path, link):
                    self.swept.spared += 1
                    continue
                self.swept.links += editor.remove(path)
            except OSError as error:
                self.swept.note_failure(path, error)
                self._keep_links((link,), editor)

    def _keep_links(self, links: Iterable[UnreferencedLink], _: Reader) -> None:
        for link in links:
            self._database.marks.need(link.repository_number, (link.digest, link.content))

    def _remove_blobs(self, blobs: Iterable[SurveyedBlob], editor: ExclusiveEditor) -> None:
        for blob in blobs:
            path = paths.blob(blob.digest)
            try:
                if not self._is_unchanged(editor, blob.digest):
                    self.swept.spared += 1
                elif editor.remove(path):
                    self.swept.blobs += 1
                    self.swept.size += blob.size
            except OSError as error:
                self.swept.note_failure(path, error)

    def _is_unreferenced_still(
        self, editor: ExclusiveEditor, path: str, link: UnreferencedLink
    ) -> bool:
        """Return whether a link points where it did, and neither end was used since."""
        target = read_link(editor, path) or link.digest
        ends = {link.digest, link.content}
        return target == link.content and all(self._is_unchanged(editor, end) for end in ends)

    def _is_unchanged(self, editor: ExclusiveEditor, digest: Digest) -> bool:
        """Return whether content has its surveyed version, or is missing as in the survey."""
        data = editor.stat(paths.blob(digest))
        return self._database.blobs.version(digest) == (None if data is None else data.modified_ns)


def _keep_parts(parts: Iterable[_Part], _: Reader) -> None:
    for removal, units in parts:
        for unit in units:
            removal.keep(unit)


def _batches(removals: Iterable[_Removal]) -> Iterator[list[_Part]]:
    """Divide components into batches of few manifests; a unit is never divided."""
    batch: list[_Part] = []
    count = 0
    for removal in removals:
        part: list[RemovalUnit] = []
        for unit in removal.units:
            part.append(unit)
            count += len(unit)
            if count >= _BATCH:
                yield [*batch, (removal, tuple(part))]
                batch, part, count = [], [], 0
        if part:
            batch.append((removal, tuple(part)))
    if batch:
        yield batch
