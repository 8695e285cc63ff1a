"""Work that is stopped ends within a repository, whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from storage.drivers.base import Driver, Entry, Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.drivers.wrapping import WrappedDriver, WrappedReader
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.progress import Stop, Stopped
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.values import paths
from tests.storage.content import APP, push_image
from tests.storage.read_counter import ReadCounter

T = TypeVar("T")
Work: TypeAlias = Callable[[Driver, Path, Stop], AbstractAsyncContextManager[object]]


def _collecting(driver: Driver, _: Path, stop: Stop) -> AbstractAsyncContextManager[object]:
    return planned(driver, Options(grace=0), stop=stop)


def _explaining(driver: Driver, root: Path, stop: Stop) -> AbstractAsyncContextManager[object]:
    return usage_of(driver, FileCensus(root), 0, stop=stop)


async def _push_some(driver: Driver) -> None:
    for number in range(3):
        repository = StoredRegistry(driver).repository(APP)
        await push_image(repository, annotations={"number": str(number)})


@pytest.mark.parametrize("work", [_collecting, _explaining])
async def test_it_ends_between_two_manifests(files: FilesystemDriver, work: Work) -> None:
    """A stop is requested while one manifest is read; the others are not read."""
    await _push_some(files)
    stop, counter = Stop(), ReadCounter(files)
    counter.before_blob = stop.request
    with pytest.raises(Stopped):
        async with work(counter, Path(files.root), stop):
            raise AssertionError("the work did not stop")
    assert counter.blobs == 1


class _Listings(WrappedDriver):
    """A driver that records the folders that its batches list."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.listed: list[str] = []

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Record."""
        return await self._inner.batch(lambda reader: job(_Listing(reader, self.listed)))


class _Listing(WrappedReader):
    def __init__(self, inner: Reader, listed: list[str]) -> None:
        super().__init__(inner)
        self._listed = listed

    def entries(self, path: str) -> Iterator[Entry]:
        """Record."""
        self._listed.append(path)
        return super().entries(path)


async def test_a_stopped_sweep_reads_no_repository(files: FilesystemDriver) -> None:
    """The stop is requested before the first removal."""
    await _push_some(files)
    stop, listings = Stop(), _Listings(files)
    async with planned(listings, Options(grace=0), stop=stop) as plan:
        stop.request()
        listings.listed.clear()
        swept = await carry_out(listings, plan, stop=stop)
    assert swept.was_stopped
    assert not [path for path in listings.listed if path.startswith(paths.REPOSITORIES)]
