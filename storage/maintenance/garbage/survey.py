"""The survey: every blob on the disk, with its size and the version of its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from storage.drivers.base import Reader
from storage.errors import DigestInvalid
from storage.maintenance.garbage.ledger import Ledger, SurveyedBlob
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant import Reads
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest

# However short the grace period: a file changed twice within a tick of the clock that stamps it
# has one version for both.
SHORTEST_GRACE_NS = 1_000_000_000


async def survey(
    driver: Reads, ledger: Ledger, young_after: int, progress: Progress, stop: Stop
) -> None:
    """Write down every blob; those whose last change is at `young_after` (ns) or later are young.

    Folders and files that are no blobs are passed over.
    """
    folders = await driver.batch(_folders)
    for done, folder in enumerate(folders):
        stop.heed()
        await driver.batch(partial(_survey, ledger, folder, young_after))
        progress.step("surveying blobs", done + 1, len(folders))


def _survey(ledger: Ledger, folder: tuple[str, str], young_after: int, reader: Reader) -> None:
    ledger.add_blobs(_blobs(reader, folder, young_after))


def _folders(reader: Reader) -> list[tuple[str, str]]:
    return [
        (algorithm, short)
        for algorithm in HEX_LENGTHS
        for short in sorted(reader.folders(f"{paths.BLOBS}/{algorithm}"))
    ]


def _blobs(reader: Reader, folder: tuple[str, str], young_after: int) -> Iterator[SurveyedBlob]:
    algorithm, short = folder
    for hex in reader.folders(f"{paths.BLOBS}/{algorithm}/{short}"):
        with suppress(DigestInvalid):
            digest = Digest.parse(f"{algorithm}:{hex}")
            found = reader.stat(paths.blob(digest)) if hex.startswith(short) else None
            if found is not None:
                old = found.modified_ns < young_after
                yield SurveyedBlob(digest, found.size, found.modified_ns, old)
