"""The sweep: carry out a plan in small batches, each under the exclusive lock.

    manifests   component by component, those that list others first
    links       of blobs that no manifest of their repository needs
    blobs       that nothing needs

Under the lock each is checked again, and kept if it was touched since the survey. The sweep may end
after any batch; the next collection removes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from storage.content.links import read_link
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.maintenance.garbage.mark.candidates import UnreferencedLink
from storage.maintenance.garbage.mark.dependencies import read_dependencies
from storage.maintenance.garbage.mark.removal_order import RemovalUnit
from storage.maintenance.garbage.mark.repository_links import linked
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.maintenance.garbage.sweep.component_removal import (
    BATCH,
    Part,
    Removal,
    in_batches,
    keep_parts,
)
from storage.maintenance.progress import Progress, Stop
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

logger = logging.getLogger(__name__)

K = TypeVar("K")
T = TypeVar("T")

# Each attempt waits for as long as the driver waits for a lock.
_ATTEMPTS = 3


@dataclass(slots=True)
class Swept:
    """What a sweep removed, kept because it was touched since the survey, or failed to remove."""

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


class Sweep:
    """Carries out one plan: call `manifests`, `links` and `blobs` in this order, each once."""

    def __init__(self, driver: Driver, plan: Plan, progress: Progress, stop: Stop) -> None:
        self._driver = driver
        self._database = plan.database
        self._candidates = plan.database.candidates
        self._progress = progress
        self._stop = stop
        self.swept = Swept()

    async def manifests(self) -> None:
        """Remove the revision links of candidates, component by component."""
        total = await self._driver.batch(lambda _: self._candidates.count_of_manifests())
        async for components in self._pages(
            self._candidates.components, 0, lambda last: last.number
        ):
            for parts in in_batches(map(Removal, components)):
                if not self._stop.is_requested:
                    await self._remove_parts(parts)
                    self._progress.step("removing manifests", self.swept.manifests, total)

    async def links(self) -> None:
        """Remove the links of blobs that no manifest of their repository needs."""
        total = await self._driver.batch(lambda _: self._candidates.count_of_links())
        async for links in self._pages(self._candidates.links, None, lambda last: last):
            remove, keep = partial(self._remove_links, links), partial(self._keep_links, links)
            await self._exclusively(remove, keep)
            self._progress.step("removing links", self.swept.links, total)

    async def blobs(self) -> None:
        """Remove the blobs that nothing needs."""
        total, _ = await self._driver.batch(lambda _: self._candidates.count_and_size_of_blobs())
        async for blobs in self._pages(self._candidates.blobs, None, lambda last: last.digest):
            await self._exclusively(partial(self._remove_blobs, blobs), lambda _: None)
            self._progress.step("removing blobs", self.swept.blobs, total)

    async def _pages(
        self, load: Callable[[K, int], list[T]], start: K, key: Callable[[T], K]
    ) -> AsyncIterator[list[T]]:
        """Yield what `load` returns after `start`, then after the `key` of the last candidate.

        Ends when a stop is requested, or no candidate is left.
        """
        after = start
        while not self._stop.is_requested:
            page = await self._driver.batch(lambda _: load(after, BATCH))  # noqa: B023
            if not page:
                return
            yield page
            after = key(page[-1])

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

    async def _remove_parts(self, parts: Sequence[Part]) -> None:
        await self._exclusively(partial(self._remove_all, parts), partial(keep_parts, parts))
        for removal, units in parts:
            kept = [digest for unit in units for digest in unit if digest in removal.kept]
            if kept:
                await self._driver.batch(partial(self._spare, removal.repository, kept))

    def _remove_all(self, parts: Iterable[Part], editor: ExclusiveEditor) -> None:
        for removal, units in parts:
            for unit in units:
                self._remove_unit(editor, removal, unit)

    def _remove_unit(self, editor: ExclusiveEditor, removal: Removal, unit: RemovalUnit) -> None:
        """Remove a unit's manifests, unless one of them or of their retainers was touched.

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
            self._candidates.spare(number, (digest, *blobs))

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
        """Return whether a link points where it did, and neither end was touched since."""
        target = read_link(editor, path) or link.digest
        ends = {link.digest, link.content}
        return target == link.content and all(self._is_unchanged(editor, end) for end in ends)

    def _is_unchanged(self, editor: ExclusiveEditor, digest: Digest) -> bool:
        """Return whether content has its surveyed version, or is missing as in the survey."""
        data = editor.stat(paths.blob(digest))
        return self._database.blobs.version(digest) == (None if data is None else data.modified_ns)
