"""A process without descriptors or memory does not take unreadable content for damaged or missing.

Each read fails once in its turn, as it does when another thread takes the last descriptor. Tests
with real limits are in `tests/live/test_scrub_exhaustion.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import count

import pytest

from storage.drivers.base import Driver, ExclusiveEditor, OpenFile, Reader
from storage.drivers.memory import MemoryDriver
from storage.drivers.wrapping import WrappedDriver
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.progress import NoProgress
from storage.maintenance.scrub import run
from storage.maintenance.scrub.reading import blob_contents
from storage.repository.registry import StoredRegistry
from storage.values.paths import SCRUBBED, tag_current_link
from tests.storage.content import APP, entry, image, push_image, raw, tags
from tests.storage.scrubbing import Findings, scrub
from tests.storage.wrappers import ObservedReader, T

pytestmark = pytest.mark.faults

LACKS = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, None]


class Exhausted(WrappedDriver):
    """Lets one read of the tree fail, number `at`."""

    def __init__(self, inner: Driver, at: int, lack: int | None) -> None:
        super().__init__(inner)
        self._left = at
        self._lack = lack
        self.failed = False

    def before(self) -> None:
        """Fail if it is this read's turn."""
        self._left -= 1
        if self._left == -1:
            self.failed = True
            raise (
                MemoryError if self._lack is None else OSError(self._lack, os.strerror(self._lack))
            )

    async def open(self, path: str) -> OpenFile:
        """Fail, or forward."""
        self.before()
        return await super().open(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run a job whose reader may fail."""
        return await self._inner.batch(lambda reader: job(ObservedReader(reader, self.before)))

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Fail, as if the lock file can't be opened, or forward."""
        self.before()
        return await self._inner.exclusively(job)


def _error(lack: int | None) -> Exception:
    return MemoryError() if lack is None else OSError(lack, os.strerror(lack))


def is_error(error: Exception, lack: int | None) -> bool:
    """Return whether an error is the one that was raised."""
    return repr(error) == repr(_error(lack))


@pytest.fixture(autouse=True)
def _some_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let layers be opened, and all smaller blobs be read whole."""
    monkeypatch.setattr(blob_contents, "_SMALL", 1000)


async def pushed() -> MemoryDriver:
    """Return an intact storage with an image, a referrer of it, and a foreign file."""
    driver = MemoryDriver()
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, "v1", "latest")
    await push_image(repository, "v2", subject=entry(raw(image())))
    await driver.write("docker/registry/v2/notes.txt", b"of a user")
    return driver


@pytest.mark.parametrize("lack", LACKS)
async def test_a_scrub_ends_and_reports_nothing(lack: int | None) -> None:
    """It raises the error itself, whichever read fails; the next scrub continues."""
    driver = await pushed()
    ended = 0
    for at in count():
        failing = Exhausted(driver, at, lack)
        try:
            found, _ = await scrub(failing)
        except (OSError, MemoryError) as error:
            ended += is_error(error, lack)
            found, summary = await scrub(driver)
            assert summary.errors == 0
        assert [one.path for one in found] == ["docker/registry/v2/notes.txt"]
        if not failing.failed:
            break
    assert ended > 20


async def test_earlier_findings_are_kept() -> None:
    """They are in the report of the next scrub, which says where it continued."""
    driver = await pushed()
    for at in count():
        failing, listener = Exhausted(driver, at, errno.EMFILE), Findings()
        with pytest.raises(OSError, match="Too many open files"):
            await _scrub_into(failing, listener)
        if listener.all:
            break
    assert await driver.exists(SCRUBBED)
    found, summary = await scrub(driver)
    assert found[0] == listener.all[0]
    assert summary.continued_from


async def _scrub_into(driver: Driver, listener: Findings) -> None:
    await run.Scrub(driver, run.Options(), listener, NoProgress()).run()


@pytest.mark.parametrize("lack", LACKS)
async def test_a_collection_removes_nothing_that_is_needed(lack: int | None) -> None:
    """It ends with the error, or completes."""
    ended = 0
    for at in count():
        driver = await pushed()
        failing = Exhausted(driver, at, lack)
        try:
            async with planned(failing, Options(grace=0.0)) as plan:
                await carry_out(failing, plan)
        except (OSError, MemoryError) as error:
            ended += is_error(error, lack)
        found, _ = await scrub(driver)
        assert [one.path for one in found] == ["docker/registry/v2/notes.txt"]
        for tag in tags("latest", "v1", "v2"):
            assert await driver.exists(tag_current_link(APP, tag))
        if not failing.failed:
            break
    assert ended > 20
