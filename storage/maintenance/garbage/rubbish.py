"""Rubbish: what crashes and deletions leave, which no reader sees and which takes up space.

Temporary files and folders whose writer died, folders that are empty, what tags and subjects
remember of manifests that are gone, and what lies in the trash. Files of other programs stay, and
so do upload sessions, which are purged by their age (`stale_uploads`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from storage.content.deletions import ManifestDeletion, noted
from storage.content.links import digests, tags_in
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.maintenance.garbage.leftovers import Item
from storage.maintenance.garbage.plan import Plan
from storage.maintenance.garbage.sweep import Swept
from storage.maintenance.last_change import last_change
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant import TolerantReader
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName

_AT_ONCE = 100
# `_referrers/<alg>/<hex>/<alg>/<hex>` and `_manifests/tags/<tag>/index/<alg>/<hex>`
_LEVELS = 5


class Rubbish:
    """Clears away what is left around what the plan found."""

    def __init__(
        self, driver: Driver, plan: Plan, swept: Swept, progress: Progress, stop: Stop
    ) -> None:
        self._driver = driver
        self._plan = plan
        self._swept = swept
        self._progress = progress
        self._stop = stop

    async def deletions(self) -> None:
        """Complete deletions of manifests that were cut off."""
        for name in self._plan.repositories:
            if self._stop.is_wished:
                return
            for digest in await self._driver.batch(partial(self._undone, name)):
                try:
                    await ManifestDeletion(self._driver, name, digest).finish()
                except TimeoutError:
                    continue
                except OSError as error:
                    self._swept.note_failure(paths.tags(name), error)

    def _undone(self, name: RepositoryName, reader: Reader) -> list[Digest]:
        tolerant = TolerantReader(reader, [])
        notes = ((digest, tolerant.stat(note)) for note, digest in noted(tolerant, name))
        young_after = self._plan.young_after
        return [one for one, found in notes if found and _is_old(found.modified_ns, young_after)]

    async def histories(self) -> None:
        """Have tags and subjects forget manifests that are gone, before the bytes go."""
        for done, name in enumerate(self._plan.repositories):
            await self._clear(partial(_forgotten, name))
            self._progress.step("tidying links", done + 1, len(self._plan.repositories))

    async def rest(self) -> None:
        """Remove what is temporary, empty folders and the trash."""
        folders = await self._driver.batch(
            lambda reader: list(_blob_folders(TolerantReader(reader, [])))
        )
        folders += [paths.repository(name) for name in self._plan.repositories]
        for done, folder in enumerate(folders):
            await self._clear(partial(self._rubbish, folder))
            self._progress.step("tidying folders", done + 1, len(folders))
        await self._clear(lambda reader: map(Item, _trash(reader)))

    def _rubbish(self, folder: str, reader: Reader) -> Iterator[Item]:
        if folder.startswith(f"{paths.REPOSITORIES}/"):
            return _in_repository(reader, folder, self._plan.young_after)
        return _in_folder(reader, folder, self._plan.young_after, levels=1)

    async def _clear(self, find: Callable[[Reader], Iterator[Item]]) -> None:
        if self._stop.is_wished:
            return
        some = await self._driver.batch(partial(self._find, find))
        while some and not self._stop.is_wished:
            # Who pushes all the time keeps us out; rubbish can wait for the next collection.
            with contextlib.suppress(TimeoutError):
                await self._driver.exclusively(partial(self._remove, some))
            some = await self._driver.batch(self._more) if len(some) == _AT_ONCE else []

    def _find(self, find: Callable[[Reader], Iterator[Item]], reader: Reader) -> list[Item]:
        """Return the first items; the ledger has the others, which may be a million."""
        found = find(TolerantReader(reader, []))
        some = list(islice(found, _AT_ONCE))
        if len(some) == _AT_ONCE:
            self._plan.ledger.leftovers.add(found)
        return some

    def _more(self, _: Reader) -> list[Item]:
        return self._plan.ledger.leftovers.take(_AT_ONCE)

    def _remove(self, items: list[Item], editor: ExclusiveEditor) -> None:
        for item in items:
            try:
                self._swept.rubbish += _remove(editor, item)
            except OSError as error:
                self._swept.note_failure(item.path, error)


def _remove(editor: ExclusiveEditor, item: Item) -> bool:
    if item.unless and editor.stat(item.unless) is not None:
        return False
    if editor.stat(item.path) is not None or _goes_with_all_in_it(item.path):
        return editor.remove(item.path)
    return editor.remove_empty(item.path)


def _forgotten(name: RepositoryName, reader: Reader) -> Iterator[Item]:
    """Yield what is remembered of manifests that are no members any more."""
    yield from _past_of_tags(name, reader)
    top = paths.referrers_of_all(name)
    for subject in digests(reader, top):
        for referrer in digests(reader, paths.referrers(name, subject)):
            revision = paths.revision_link(name, referrer)
            if reader.stat(revision) is None:
                descriptor = paths.referrer_descriptor(name, subject, referrer)
                if reader.stat(descriptor) is not None:
                    yield Item(descriptor, unless=revision)
                yield Item(paths.referrer_link(name, subject, referrer), unless=revision)


def _past_of_tags(name: RepositoryName, reader: Reader) -> Iterator[Item]:
    for tag in tags_in(reader, name):
        for digest in digests(reader, paths.tag_history(name, tag)):
            revision = paths.revision_link(name, digest)
            if reader.stat(revision) is None:
                yield Item(paths.tag_index_link(name, tag, digest), unless=revision)


def _blob_folders(reader: Reader) -> Iterator[str]:
    for algorithm in HEX_LENGTHS:
        for short in sorted(reader.folders(f"{paths.BLOBS}/{algorithm}")):
            yield f"{paths.BLOBS}/{algorithm}/{short}"


def _in_repository(reader: Reader, folder: str, young_after: int) -> Iterator[Item]:
    """Yield the rubbish in a repository: not in those below it, nor in its upload sessions."""
    yield from _in_folder(reader, folder, young_after, levels=0)
    parts = {name for name in reader.folders(folder) if name.startswith("_")}
    for name in sorted(parts - {"_uploads"}):
        yield from _in_folder(reader, f"{folder}/{name}", young_after, _LEVELS)
    if not parts - {"_uploads", "_referrers"}:
        scanned = f"{folder}/_referrers/scanned"
        yield from [Item(scanned)] if reader.stat(scanned) is not None else []
    if parts == {"_uploads"}:  # else the next push would only have to make it again
        yield from _in_folder(reader, f"{folder}/_uploads", young_after, levels=0)


def _in_folder(reader: Reader, folder: str, young_after: int, levels: int) -> Iterator[Item]:
    """Yield what is temporary and old, and old folders with nothing in them, `levels` deep."""
    is_empty = True
    for name, is_folder in reader.entries(folder):
        is_empty = False
        path = f"{folder}/{name}"
        if paths.is_temporary(name):
            if _is_old(last_change(reader, path), young_after):
                yield Item(path)
        elif is_folder and levels:
            yield from _in_folder(reader, path, young_after, levels - 1)
    if is_empty and _is_old(reader.modified(folder), young_after):
        yield Item(folder)


def _is_old(changed: int | None, young_after: int) -> bool:
    return changed is not None and changed < young_after


def _trash(reader: Reader) -> Iterator[str]:
    """Yield what lies in the trash: alone on the tree, nobody has anything to do with it."""
    for name, _ in reader.entries(paths.TRASH):
        yield f"{paths.TRASH}/{name}"


def _goes_with_all_in_it(path: str) -> bool:
    """Tell whether a folder is removed though it is not empty."""
    return path.startswith(f"{paths.TRASH}/") or paths.is_temporary(path.rpartition("/")[2])
