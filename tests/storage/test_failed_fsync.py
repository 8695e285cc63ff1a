"""An fsync of what was received that fails: the kernel says so once, and never again."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.content.uploads import WORTH_A_STATE
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import BlobUnknown, DigestInvalid
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from tests.storage.content import APP, append, begin, finish

_LONGEST_LINK = 200
CONTENT = bytes(range(256)) * (WORTH_A_STATE // 256)


@pytest.fixture
def new_disk(tmp_path: Path) -> FilesystemDriver:
    """Make a driver with fsync on."""
    return FilesystemDriver(tmp_path)


@pytest.fixture
async def disk(new_disk: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Give a driver, and close it."""
    yield new_disk
    await new_disk.close()


@pytest.fixture
def next_fsync_fails(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have as many fsyncs of what is received fail as there are errors in the list this gives."""
    errors: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        found = os.fstat(fd)
        if errors and stat.S_ISREG(found.st_mode) and found.st_size > _LONGEST_LINK:
            raise OSError(errors.pop(), "as the test wants it")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return errors


async def test_what_a_chunk_brought_is_not_held_if_it_can_not_be_kept(
    disk: FilesystemDriver, next_fsync_fails: list[int]
) -> None:
    """The request fails instead of telling a length, and the session begins again from nothing."""
    repository = StoredRegistry(disk).repository(APP)
    id = await begin(repository)
    next_fsync_fails.append(errno.EIO)
    with pytest.raises(OSError, match="as the test wants it"):
        await append(repository, id, CONTENT)
    assert await repository.uploads.length(id) == 0
    await append(repository, id, CONTENT)
    await finish(repository, id, Digest.of(CONTENT))
    assert await repository.blobs.size(Digest.of(CONTENT)) == len(CONTENT)


async def test_a_retry_does_not_commit_what_could_not_be_kept(
    disk: FilesystemDriver, next_fsync_fails: list[int]
) -> None:
    """An fsync that follows would succeed, and the blob be a promise without bytes."""
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
