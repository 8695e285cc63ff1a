"""The survey: every blob on the disk, with its size and the version of its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from storage.drivers.base import Reader
from storage.errors import DigestInvalid
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob, SurveyedBlobs
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant_reads import Reads
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest

# The minimum, because two changes of a file within one tick of the clock give the same version.
SHORTEST_GRACE_NS = 1_000_000_000


async def survey(
    driver: Reads, blobs: SurveyedBlobs, young_after: int, progress: Progress, stop: Stop
) -> None:
    """Add every blob to `blobs`; those last changed before `young_after` (ns since 1970) are old.

    Folders and files that are not blobs are ignored.
    """
    folders = await driver.batch(blob_folders)
    for done, folder in enumerate(folders):
        stop.raise_if_requested()
        await driver.batch(partial(_survey, blobs, folder, young_after))
        progress.step("surveying blobs", done + 1, len(folders))


def _survey(
    blobs: SurveyedBlobs, folder: tuple[str, str], young_after: int, reader: Reader
) -> None:
    blobs.add(_blobs(reader, folder, young_after))


def blob_folders(reader: Reader) -> list[tuple[str, str]]:
    """Return the algorithm and the two hex digits of each folder of blobs."""
    return [
        (algorithm, short)
        for algorithm in HEX_LENGTHS
        for short in sorted(reader.folders(paths.blobs_of(algorithm)))
    ]


def _blobs(reader: Reader, folder: tuple[str, str], young_after: int) -> Iterator[SurveyedBlob]:
    algorithm, short = folder
    for hex in reader.folders(paths.blob_folder(algorithm, short)):
        with suppress(DigestInvalid):
            digest = Digest.parse(f"{algorithm}:{hex}")
            data = reader.stat(paths.blob(digest)) if hex.startswith(short) else None
            if data is not None:
                old = data.modified_ns < young_after
                yield SurveyedBlob(digest, data.size, data.modified_ns, old)
