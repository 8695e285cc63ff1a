"""Counts of all files except blobs, by category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from storage.drivers.filesystem.file_census import CountedFile, FileCensus
from storage.errors import reason_of
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant_reads import Trouble
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.categories import Category, category_of
from storage.values import paths

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class FileUsage:
    """Amounts of every category except blobs, and what a collection would free of them."""

    amounts: Mapping[Category, Amount]
    leftovers: Amount


def count_files(
    census: FileCensus, young_after: int, trouble: list[Trouble], progress: Progress, stop: Stop
) -> FileUsage:
    """Count every file; temporary ones last changed at `young_after` (ns) or later are young.

    What can't be read is added to `trouble`. Raises `Stopped`.
    """
    # Plain numbers: adding an `Amount` per file is slow for millions of links.
    counts: dict[Category, int] = defaultdict(int)
    sizes: dict[Category, int] = defaultdict(int)
    leftovers = Amount()
    for done, (file, category) in enumerate(_classified(census, trouble)):
        if done % _BATCH == 0:
            stop.raise_if_requested()
            progress.step("counting files", done, None)
        counts[category] += 1
        sizes[category] += file.size
        if _is_leftover(file, category, young_after):
            leftovers += Amount(1, file.size)
    others = [category for category in Category if category is not Category.BLOB]
    return FileUsage({one: Amount(counts[one], sizes[one]) for one in others}, leftovers)


def _classified(
    census: FileCensus, trouble: list[Trouble]
) -> Iterator[tuple[CountedFile, Category]]:
    def add_trouble(path: str, error: OSError) -> None:
        trouble.append(Trouble(path or ".", reason_of(error)))

    # Each of these two may be a symbolic link to another disk.
    linkable = (paths.BLOBS, paths.REPOSITORIES)
    for start, without in (("", linkable), *((folder, ()) for folder in linkable)):
        for file in census.files(start, add_trouble, without):
            yield file, category_of(file.path)


def _is_leftover(file: CountedFile, category: Category, young_after: int) -> bool:
    if category is Category.TEMPORARY:
        return file.modified_ns < young_after
    return category is Category.TRASH
