"""All files that are no blobs, counted by what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from storage.drivers.filesystem.file_census import CountedFile, FileCensus
from storage.errors import reason_of
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant import Trouble
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.categories import Category, category_of
from storage.values import paths

_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class FileUsage:
    """Every category but that of blobs, and of some of them what a collection would give back."""

    amounts: Mapping[Category, Amount]
    leftovers: Amount


def count_files(
    census: FileCensus, young_after: int, trouble: list[Trouble], progress: Progress, stop: Stop
) -> FileUsage:
    """Count every file; temporary ones last changed at `young_after` (ns) or later are young.

    What can't be read is added to `trouble`. Raises `Stopped`.
    """
    # One object for each file would be a burden for millions of links.
    counts: dict[Category, int] = defaultdict(int)
    sizes: dict[Category, int] = defaultdict(int)
    leftovers = Amount()
    for done, (file, category) in enumerate(_classified(census, trouble)):
        if done % _AT_ONCE == 0:
            stop.heed()
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
    def complain(path: str, error: OSError) -> None:
        trouble.append(Trouble(path or ".", reason_of(error)))

    # Each of these two may be a link to another disk.
    apart = (paths.BLOBS, paths.REPOSITORIES)
    for start, without in (("", apart), *((one, ()) for one in apart)):
        for file in census.files(start, complain, without):
            yield file, category_of(file.path)


def _is_leftover(file: CountedFile, category: Category, young_after: int) -> bool:
    if category is Category.TEMPORARY:
        return file.modified_ns < young_after
    return category is Category.TRASH
