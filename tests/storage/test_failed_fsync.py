"""An fsync of an upload that fails: the kernel reports the error only once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.content.upload_store import WORTH_A_STATE
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import BlobUnknown, DigestInvalid
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from tests.storage.content import APP, append, begin, finish

pytestmark = pytest.mark.faults

_LONGEST_LINK = 200
CONTENT = bytes(range(256)) * (WORTH_A_STATE // 256)


@pytest.fixture
def new_disk(tmp_path: Path) -> FilesystemDriver:
    """Return a driver with fsync on."""
    return FilesystemDriver(tmp_path)


@pytest.fixture
async def disk(new_disk: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield a driver, and close it."""
    yield new_disk
    await new_disk.close()


@pytest.fixture
def next_fsync_fails(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list: as many fsyncs of uploads fail as it contains errors."""
    errors: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        if errors and stat.S_ISREG(found.st_mode) and found.st_size > _LONGEST_LINK:
            raise OSError(errors.pop(), "as the test wants it")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return errors


async def test_a_chunk_that_cannot_be_synced_is_not_kept(
    disk: FilesystemDriver, next_fsync_fails: list[int]
) -> None:
    """The request fails instead of returning a length; the session is empty again."""
    repository = StoredRegistry(disk).repository(APP)
    id = await begin(repository)
    next_fsync_fails.append(errno.EIO)
    with pytest.raises(OSError, match="as the test wants it"):
        await append(repository, id, CONTENT)
    assert await repository.uploads.length(id) == 0
    await append(repository, id, CONTENT)
    await finish(repository, id, Digest.of(CONTENT))
    assert await repository.blobs.size(Digest.of(CONTENT)) == len(CONTENT)


async def test_a_retry_does_not_commit_bytes_that_were_not_synced(
    disk: FilesystemDriver, next_fsync_fails: list[int]
) -> None:
    """A second fsync would succeed, and acknowledge a blob without bytes."""
    repository = StoredRegistry(disk).repository(APP)
    small = CONTENT[:1000]
    id = await begin(repository, small)
    next_fsync_fails.append(errno.EIO)
    with pytest.raises(OSError, match="as the test wants it"):
        await finish(repository, id, Digest.of(small))
    with pytest.raises(DigestInvalid):
        await finish(repository, id, Digest.of(small))
    with pytest.raises(BlobUnknown):
        await repository.blobs.size(Digest.of(small))
