"""A scrub beside clients and a collection, on real files: intact content is never reported."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import ManifestUnknown, ReferencesUnknown
from storage.interfaces import Repository
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.scrub.findings import Finding, Kind
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from tests.storage.content import entry, image, push_image, raw
from tests.storage.scrubbing import scrub

pytestmark = pytest.mark.race

SCRUBS = 25
NAMES = [RepositoryName(f"app/{number}") for number in range(3)]
# Left by a deletion until the next collection. It is no damage, but may be reported.
EXPECTED = {Kind.STALE_REFERRER, Kind.STALE_HISTORY}


@pytest.fixture
def nothing_blocks() -> None:
    """Replace the detector of blocking calls: it would slow down the many reads here."""


@pytest.fixture
async def drivers(tmp_path: Path) -> AsyncIterator[list[FilesystemDriver]]:
    """Yield the drivers of three processes."""
    made = [FilesystemDriver(tmp_path, sync=False, threads=4) for _ in range(3)]
    yield made
    for driver in made:
        await driver.close()


async def _push(repository: Repository, pushed: asyncio.Queue[tuple[Repository, Digest]]) -> None:
    """Push images with layers of their own, some of them referrers of the previous one."""
    before: bytes | None = None
    for number in itertools.count():
        layer = f"{repository.name} {number}".encode() * 50
        more = {"subject": entry(before)} if before and number % 3 == 0 else {}
        before = raw(image(layers=[layer], **more))
        with suppress(ReferencesUnknown):  # on a slow machine a collection has deleted it
            digest = await push_image(repository, f"v{number}", "latest", layer=layer, **more)
            await pushed.put((repository, digest))


async def _delete(pushed: asyncio.Queue[tuple[Repository, Digest]]) -> None:
    """Delete what was pushed, with its tags."""
    while True:
        repository, digest = await pushed.get()
        with suppress(ManifestUnknown):
            await repository.manifests.delete(digest)


async def _collect(driver: Driver) -> None:
    while True:
        async with planned(driver, Options(grace=0.0)) as plan:
            await carry_out(driver, plan)


async def test_no_scrub_beside_a_busy_registry_finds_damage(
    drivers: list[FilesystemDriver], nothing_blocks: None
) -> None:
    """Images are pushed, deleted and collected all the time."""
    pushed: asyncio.Queue[tuple[Repository, Digest]] = asyncio.Queue(12)
    registry = StoredRegistry(drivers[0])
    others = [asyncio.ensure_future(_push(registry.repository(name), pushed)) for name in NAMES]
    others += [asyncio.ensure_future(_delete(pushed)), asyncio.ensure_future(_collect(drivers[1]))]
    found: list[Finding] = []
    blobs = 0
    try:
        for _ in range(SCRUBS):
            findings, summary = await scrub(drivers[2], parallel=4)
            found += [one for one in findings if one.kind not in EXPECTED]
            blobs += summary.blobs
            for task in others:
                assert not task.done(), task.exception()
    finally:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
    assert Counter(one.kind for one in found) == {}, found
    assert blobs > SCRUBS * len(NAMES)
