"""Abandoned upload sessions: find them, then remove them.

A session is idle since it started or since its data last grew, whichever is later. A session that
is being written to is never removed.

There may be millions, and a server purges them while it serves, so few are in memory at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver, Reader, StagingBusy
from storage.errors import PathNotFound, UploadIdInvalid
from storage.maintenance.tolerant_reads import TolerantReader
from storage.repository.registry import walk
from storage.values import paths
from storage.values.names import RepositoryName, UploadId

logger = logging.getLogger(__name__)

# Repositories and sessions that are read for one plan.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class StaleUpload:
    """A session of `size` bytes, idle since `touched` (seconds since 1970)."""

    name: RepositoryName
    id: UploadId
    touched: float
    size: int


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """The sessions that `execute` would remove; print it for a dry run."""

    uploads: tuple[StaleUpload, ...]


async def plans(driver: Driver, age: float) -> AsyncGenerator[PurgePlan, None]:
    """Yield plans that together contain all sessions that are idle for `age` seconds.

    Plans are made lazily. Close the generator: it may have a folder open.
    """
    before = time.time() - age
    with closing(await driver.batch(_all_sessions)) as all_sessions:

        def job(_: Reader) -> list[StaleUpload | None]:
            return list(islice(all_sessions, _BATCH))

        # A cancelled caller must not close the generator while a thread still runs it.
        while batch := await to_completion(driver.batch(job)):
            yield PurgePlan(tuple(upload for upload in batch if upload and upload.touched < before))


def _all_sessions(reader: Reader) -> Generator[StaleUpload | None, None, None]:
    """Yield every session, and None for each repository, which counts towards the batch."""
    tolerant = TolerantReader(reader, [])  # logs what can't be read
    for name in walk(tolerant):
        yield None
        yield from sessions(tolerant, name)


async def execute(driver: Driver, plan: PurgePlan) -> list[StaleUpload]:
    """Remove the planned sessions; return those removed. Failures are logged."""
    removed = []
    for upload in plan.uploads:
        try:
            if await _remove(driver, upload):
                removed.append(upload)
        except OSError as error:
            logger.error("upload %s of %s was not removed: %s", upload.id, upload.name, error)
    return removed


def sessions(reader: Reader, name: RepositoryName) -> Iterator[StaleUpload]:
    """Yield all sessions of a repository."""
    for text, _ in reader.entries(paths.uploads(name)):
        with suppress(UploadIdInvalid):
            yield _session(reader, name, UploadId.parse(text))


def _session(reader: Reader, name: RepositoryName, id: UploadId) -> StaleUpload:
    data = reader.stat(paths.upload_data(name, id))
    started = reader.stat(paths.upload_started(name, id))
    # distribution leaves folders behind that contain only a hash state.
    folder_modified = (reader.modified(paths.upload(name, id)) or 0) / 1e9
    modified = (stat.modified for stat in (data, started) if stat)
    touched = max(_started(reader, name, id), folder_modified, *modified)
    return StaleUpload(name, id, touched, data.size if data else 0)


def _started(reader: Reader, name: RepositoryName, id: UploadId) -> float:
    try:
        text = reader.read(paths.upload_started(name, id)).decode("ascii")
        started = datetime.fromisoformat(text)
    except (PathNotFound, ValueError):
        return 0.0
    return started.timestamp() if started.tzinfo else 0.0


async def _remove(driver: Driver, upload: StaleUpload) -> bool:
    try:
        async with driver.staging.open(paths.upload_data(upload.name, upload.id)):
            return await _discard(driver, upload)
    except StagingBusy:
        return False
    except PathNotFound:
        return await _discard(driver, upload)


async def _discard(driver: Driver, upload: StaleUpload) -> bool:
    """Remove a session unless it was continued since the plan was made."""
    now = await driver.batch(lambda reader: _session(reader, upload.name, upload.id))
    if now.touched > upload.touched:
        return False
    await driver.staging.discard(paths.upload(upload.name, upload.id))
    return True
