"""Upload sessions that nobody went on with: find them, then remove them.

A session is as old as its last sign of life: when it was started, or when its data last grew,
whichever is later. One that is being written to right now is never removed.

There may be millions, and a server purges them while it serves: few are in memory at a time.
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
from storage.maintenance.tolerant import TolerantReader
from storage.repository.registry import walk
from storage.values import paths
from storage.values.names import RepositoryName, UploadId

logger = logging.getLogger(__name__)

# Repositories and sessions that are looked at for one plan.
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class StaleUpload:
    """A session of `size` bytes whose last sign of life was at `touched`, seconds since 1970."""

    name: RepositoryName
    id: UploadId
    touched: float
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What `execute` would remove; print it for a dry run."""

    uploads: tuple[StaleUpload, ...]


async def plans(driver: Driver, age: float) -> AsyncGenerator[Plan, None]:
    """Yield plans that together have the sessions without a sign of life for `age` seconds.

    The next one is made when it is asked for. Close the generator: it may have a folder open.
    """
    before = time.time() - age
    with closing(await driver.batch(_looks)) as looks:

        def job(_: Reader) -> list[StaleUpload | None]:
            return list(islice(looks, _AT_ONCE))

        # A caller that is cancelled must not close what a thread goes on with.
        while some := await to_completion(driver.batch(job)):
            yield Plan(tuple(one for one in some if one and one.touched < before))


def _looks(reader: Reader) -> Generator[StaleUpload | None, None, None]:
    """Yield every session; None for each repository, of which many may have no session."""
    tolerant = TolerantReader(reader, [])  # which logs what can't be read
    for name in walk(tolerant):
        yield None
        yield from sessions(tolerant, name)


async def execute(driver: Driver, plan: Plan) -> list[StaleUpload]:
    """Remove what was planned; return what was. One that fails is logged and left."""
    removed = []
    for upload in plan.uploads:
        try:
            if await _remove(driver, upload):
                removed.append(upload)
        except OSError as error:
            logger.error("upload %s of %s was not removed: %s", upload.id, upload.name, error)
    return removed


def sessions(reader: Reader, name: RepositoryName) -> Iterator[StaleUpload]:
    """Yield the sessions of a repository, stale or not."""
    for text, _ in reader.entries(paths.uploads(name)):
        with suppress(UploadIdInvalid):
            yield _session(reader, name, UploadId.parse(text))


def _session(reader: Reader, name: RepositoryName, id: UploadId) -> StaleUpload:
    data = reader.stat(paths.upload_data(name, id))
    started = reader.stat(paths.upload_started(name, id))
    # distribution leaves folders behind that hold nothing but a hash state.
    bare = (reader.modified(paths.upload(name, id)) or 0) / 1e9
    signs = [_started(reader, name, id), *(info.modified for info in (data, started) if info), bare]
    return StaleUpload(name, id, max(signs), data.size if data else 0)


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
    """Remove a session unless somebody came back to it since the plan was made."""
    now = await driver.batch(lambda reader: _session(reader, upload.name, upload.id))
    if now.touched > upload.touched:
        return False
    await driver.staging.discard(paths.upload(upload.name, upload.id))
    return True
