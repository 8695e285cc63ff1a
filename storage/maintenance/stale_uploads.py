"""Upload sessions that nobody went on with: find them, then remove them.

A session is as old as its last sign of life: when it was started, or when its data last grew,
whichever is later. One that is being written to right now is never removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from storage import paths
from storage.drivers.base import Driver, StagingBusy, View
from storage.errors import PathNotFound, UploadIdInvalid
from storage.maintenance.tolerant import TolerantView
from storage.names import RepositoryName, UploadId
from storage.registry import walk

logger = logging.getLogger(__name__)


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

    @property
    def size(self) -> int:
        """How many bytes would come back."""
        return sum(upload.size for upload in self.uploads)


async def plan(driver: Driver, age: float) -> Plan:
    """Find the sessions without a sign of life for `age` seconds."""
    before = time.time() - age

    def job(view: View) -> Plan:
        tolerant = TolerantView(view, [])  # which logs what can't be read
        found = (one for name in walk(tolerant) for one in sessions(tolerant, name))
        return Plan(tuple(one for one in found if one.touched < before))

    return await driver.batch(job)


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


def sessions(view: View, name: RepositoryName) -> Iterator[StaleUpload]:
    """Yield the sessions of a repository, stale or not."""
    for text, _ in view.entries(paths.uploads(name)):
        with suppress(UploadIdInvalid):
            yield _session(view, name, UploadId.parse(text))


def _session(view: View, name: RepositoryName, id: UploadId) -> StaleUpload:
    data = view.stat(paths.upload_data(name, id))
    started = view.stat(paths.upload_started(name, id))
    # distribution leaves folders behind that hold nothing but a hash state.
    bare = (view.modified(paths.upload(name, id)) or 0) / 1e9
    signs = [_started(view, name, id), *(info.modified for info in (data, started) if info), bare]
    return StaleUpload(name, id, max(signs), data.size if data else 0)


def _started(view: View, name: RepositoryName, id: UploadId) -> float:
    try:
        text = view.read(paths.upload_started(name, id)).decode("ascii")
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
    now = await driver.batch(lambda view: _session(view, upload.name, upload.id))
    if now.touched > upload.touched:
        return False
    await driver.staging.discard(paths.upload(upload.name, upload.id))
    return True
