"""Leftovers of crashes and deletions, which no reader sees but which take up space.

These are temporary files and folders whose writer ended, empty folders, dangling links in the
history of tags and in the referrers index, and the trash. Files of other programs are kept. Upload
sessions are purged by their age (`stale_uploads`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TypeAlias

from storage.content.deletions import ManifestDeletion, deletion_notes
from storage.content.links import digests, tags_in
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.survey.blob_survey import blob_folders
from storage.maintenance.garbage.sweep.content_sweep import Swept
from storage.maintenance.garbage.sweep.leftover_queue import Leftover
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant_reads import TolerantReader, last_change
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

Search: TypeAlias = Callable[[Reader], Iterator[Leftover]]

_BATCH = 100


class LeftoverRemoval:
    """Removes leftovers from the repositories and blob folders of a plan."""

    def __init__(
        self, driver: Driver, plan: Plan, swept: Swept, progress: Progress, stop: Stop
    ) -> None:
        self._driver = driver
        self._plan = plan
        self._swept = swept
        self._progress = progress
        self._stop = stop

    async def interrupted_deletions(self) -> None:
        """Complete deletions of manifests that were interrupted."""
        for name in self._plan.repositories:
            if self._stop.is_requested:
                return
            for digest in await self._driver.batch(partial(self._incomplete, name)):
                try:
                    await ManifestDeletion(self._driver, name, digest).finish()
                except TimeoutError:
                    continue
                except OSError as error:
                    self._swept.note_failure(paths.tags(name), error)

    def _incomplete(self, name: RepositoryName, reader: Reader) -> list[Digest]:
        tolerant = TolerantReader(reader, [])
        notes = ((digest, tolerant.stat(note)) for note, digest in deletion_notes(tolerant, name))
        young_after = self._plan.young_after
        return [digest for digest, stat in notes if stat and _is_old(stat.modified_ns, young_after)]

    async def dangling_links(self) -> None:
        """Remove links to deleted manifests from tag histories and referrers, before the blobs."""
        for done, name in enumerate(self._plan.repositories):
            await self._remove_found(partial(_dangling_links, name))
            self._progress.step("removing dangling links", done + 1, len(self._plan.repositories))

    async def temporary_files(self) -> None:
        """Remove old temporary files, old empty folders and the trash."""
        names, young_after = self._plan.repositories, self._plan.young_after
        folders = await self._driver.batch(lambda reader: blob_folders(TolerantReader(reader, [])))
        searches: Iterator[Search] = chain(
            (partial(_in_blob_folder, *folder, young_after) for folder in folders),
            (partial(_in_repository, name, young_after) for name in names),
        )
        for done, search in enumerate(searches):
            await self._remove_found(search)
            self._progress.step("removing temporary files", done + 1, len(folders) + len(names))
        await self._remove_found(lambda reader: map(Leftover, _trash(reader)))

    async def _remove_found(self, search: Search) -> None:
        if self._stop.is_requested:
            return
        batch = await self._driver.batch(partial(self._find, search))
        while batch and not self._stop.is_requested:
            # Constant pushes can keep the lock from us; leftovers can wait for the next collection.
            with contextlib.suppress(TimeoutError):
                await self._driver.exclusively(partial(self._remove, batch))
            batch = await self._driver.batch(self._next) if len(batch) == _BATCH else []

    def _find(self, search: Search, reader: Reader) -> list[Leftover]:
        """Return the first leftovers; queue the others, of which there may be a million."""
        leftovers = search(TolerantReader(reader, []))
        batch = list(islice(leftovers, _BATCH))
        if len(batch) == _BATCH:
            self._plan.database.leftovers.add(leftovers)
        return batch

    def _next(self, _: Reader) -> list[Leftover]:
        return self._plan.database.leftovers.take(_BATCH)

    def _remove(self, leftovers: list[Leftover], editor: ExclusiveEditor) -> None:
        for leftover in leftovers:
            try:
                self._swept.leftovers += _remove(editor, leftover)
            except OSError as error:
                self._swept.note_failure(leftover.path, error)


def _remove(editor: ExclusiveEditor, leftover: Leftover) -> bool:
    if leftover.unless and editor.stat(leftover.unless) is not None:
        return False
    if editor.stat(leftover.path) is not None or _is_removed_with_content(leftover.path):
        return editor.remove(leftover.path)
    return editor.remove_empty(leftover.path)


def _dangling_links(name: RepositoryName, reader: Reader) -> Iterator[Leftover]:
    """Yield links and descriptors of manifests that are no longer members."""
    yield from _dangling_in_histories(name, reader)
    top = paths.referrers_of_all(name)
    for subject in digests(reader, top):
        for referrer in digests(reader, paths.referrers(name, subject)):
            revision = paths.revision_link(name, referrer)
            if reader.stat(revision) is None:
                descriptor = paths.referrer_descriptor(name, subject, referrer)
                if reader.stat(descriptor) is not None:
                    yield Leftover(descriptor, unless=revision)
                yield Leftover(paths.referrer_link(name, subject, referrer), unless=revision)


def _dangling_in_histories(name: RepositoryName, reader: Reader) -> Iterator[Leftover]:
    for tag in tags_in(reader, name):
        for digest in digests(reader, paths.tag_history(name, tag)):
            revision = paths.revision_link(name, digest)
            if reader.stat(revision) is None:
                yield Leftover(paths.tag_index_link(name, tag, digest), unless=revision)


def _in_blob_folder(
    algorithm: str, short: str, young_after: int, reader: Reader
) -> Iterator[Leftover]:
    return _in_folder(reader, paths.blob_folder(algorithm, short), young_after, levels=1)


def _in_repository(name: RepositoryName, young_after: int, reader: Reader) -> Iterator[Leftover]:
    """Yield the leftovers of a repository, without repositories below it or upload sessions."""
    folder = paths.repository(name)
    yield from _in_folder(reader, folder, young_after, levels=0)
    parts = set(filter(paths.is_part, reader.folders(folder)))
    for part in sorted(parts - {paths.UPLOADS}):
        yield from _in_folder(reader, f"{folder}/{part}", young_after, paths.MAX_LEVELS)
    if not parts - {paths.UPLOADS, paths.REFERRERS}:
        scanned = paths.referrers_scanned(name)
        yield from [Leftover(scanned)] if reader.stat(scanned) is not None else []
    if parts == {paths.UPLOADS}:  # else the next push would only create it again
        yield from _in_folder(reader, paths.uploads(name), young_after, levels=0)


def _in_folder(reader: Reader, folder: str, young_after: int, levels: int) -> Iterator[Leftover]:
    """Yield old temporary files and folders, and old empty folders, `levels` deep."""
    is_empty = True
    for name, is_folder in reader.entries(folder):
        is_empty = False
        path = f"{folder}/{name}"
        if paths.is_temporary(name):
            if _is_old(last_change(reader, path), young_after):
                yield Leftover(path)
        elif is_folder and levels:
            yield from _in_folder(reader, path, young_after, levels - 1)
    if is_empty and _is_old(reader.modified(folder), young_after):
        yield Leftover(folder)


def _is_old(changed: int | None, young_after: int) -> bool:
    return changed is not None and changed < young_after


def _trash(reader: Reader) -> Iterator[str]:
    """Yield the entries of the trash; under the exclusive lock no process uses them."""
    for name, _ in reader.entries(paths.TRASH):
        yield f"{paths.TRASH}/{name}"


def _is_removed_with_content(path: str) -> bool:
    """Return whether a folder is removed even if it is not empty."""
    return path.startswith(f"{paths.TRASH}/") or paths.is_temporary(path.rpartition("/")[2])
