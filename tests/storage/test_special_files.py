"""Pipes and sockets in the place of files count as missing files.

Opening a pipe waits for a writer without limit, and a link is opened on the event loop. Here such
a call fails immediately instead of blocking.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import chdir
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.errors import BlobUnknown, ManifestUnknown, UploadUnknown
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag, UploadId
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    image,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.purging import purged
from tests.storage.scrubbing import scrub

pytestmark = pytest.mark.disk

Put: TypeAlias = Callable[[Path], None]

BLOB = b"something special lies in place of these bytes"
LINKED = b"something special lies in place of their link"
DOCUMENT = image(annotations={"something special": "lies in place of its link"})
SPECIAL = Tag("special")
SESSION = UploadId("01234567-89ab-cdef-0123-456789abcdef")


class WouldHang(Exception):
    """A pipe was opened in a way that waits for a writer."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    # The path of a socket has to be short.
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


@pytest.fixture(params=[_pipe, _socket], ids=["a pipe", "a socket"])
def put(request: pytest.FixtureRequest) -> Put:
    """Create each kind of special file in turn."""
    made: Put = request.param
    return made


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Return a driver of an empty root."""
    return FilesystemDriver(tmp_path, sync=False, threads=4)


@pytest.fixture
async def files(
    new_files: FilesystemDriver, put: Put, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FilesystemDriver]:
    """Yield a storage with an image, and special files in the places of another one's files."""
    repository = StoredRegistry(new_files).repository(APP)
    await push_image(repository, "v1")
    for path in _places():
        whole = Path(new_files.root, path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        put(whole)
    link = paths.layer_link(APP, Digest.of(BLOB))
    await new_files.write_unsynced(link, str(Digest.of(BLOB)).encode())
    monkeypatch.setattr(os, "open", _never_waiting(os.open))
    yield new_files
    await new_files.close()


def _places() -> list[str]:
    """Return the paths of the special files."""
    return [
        paths.blob(Digest.of(BLOB)),
        paths.layer_link(APP, Digest.of(LINKED)),
        paths.revision_link(APP, Digest.of(raw(DOCUMENT))),
        paths.tag_current_link(APP, SPECIAL),
        paths.upload_data(APP, SESSION),
    ]


def _never_waiting(real: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if not flags & (os.O_NONBLOCK | os.O_RDWR | os.O_WRONLY):
            fd = real(path, flags | os.O_NONBLOCK, *more, **named)
            is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
            os.close(fd)
            if is_pipe:
                raise WouldHang(path)
        return real(path, flags, *more, **named)

    return call


@pytest.fixture
def repository(files: FilesystemDriver) -> StoredRepository:
    """Return the repository, opened by a process that has just started."""
    return StoredRegistry(files).repository(APP)


async def _assert_unknown(attempt: Awaitable[object]) -> None:
    with pytest.raises((BlobUnknown, ManifestUnknown, UploadUnknown)):
        await attempt


@pytest.mark.parametrize("reference", [SPECIAL, Digest.of(raw(DOCUMENT))], ids=["tag", "digest"])
async def test_a_manifest_behind_it_is_unknown(
    repository: StoredRepository, reference: Tag | Digest
) -> None:
    """By tag and by digest."""
    await _assert_unknown(repository.manifests.get(reference))


async def test_a_blob_whose_link_it_is_is_unknown(repository: StoredRepository) -> None:
    """`size` and `open` raise BlobUnknown."""
    await _assert_unknown(repository.blobs.size(Digest.of(LINKED)))
    await _assert_unknown(repository.blobs.open(Digest.of(LINKED)))


async def test_a_blob_whose_bytes_it_is_has_no_size(
    repository: StoredRepository,
) -> None:
    """It is treated like a file that was truncated to zero bytes."""
    await _assert_unknown(repository.blobs.size(Digest.of(BLOB)))


async def test_a_blob_whose_bytes_it_is_can_t_be_opened(repository: StoredRepository) -> None:
    """A pull gets BlobUnknown."""
    await _assert_unknown(repository.blobs.open(Digest.of(BLOB)))


async def test_a_mount_from_any_repository_skips_it(files: FilesystemDriver) -> None:
    """All repositories are searched for the blob, including this one."""
    registry = StoredRegistry(files)
    await push_blob(registry.repository(OTHER), LINKED)
    assert await registry.holders(Digest.of(LINKED)) == [OTHER]


async def test_deleting_a_manifest_skips_it(repository: StoredRepository) -> None:
    """The tags of the manifest are searched, including this one."""
    await repository.manifests.delete(Digest.of(raw(image())))
    await _assert_unknown(repository.manifests.get(Tag("v1")))


async def test_pushes_and_listings_continue(repository: StoredRepository) -> None:
    """Intact content is listed and pulled; a push replaces a special file."""
    assert (await repository.tags.page("", None)).entries == (SPECIAL, "v1")
    assert (await repository.manifests.get(Tag("v1"))).raw == raw(image())
    for content in (BLOB, LINKED):
        await push_blob(repository, content)
        assert await pull_blob(repository, Digest.of(content)) == content
    await push_manifest(repository, DOCUMENT, str(SPECIAL))
    for reference in (SPECIAL, Digest.of(raw(DOCUMENT))):
        assert (await repository.manifests.get(reference)).raw == raw(DOCUMENT)


async def test_a_tag_is_deleted(repository: StoredRepository) -> None:
    """Deleting it reads nothing."""
    await repository.tags.delete(SPECIAL)
    assert (await repository.tags.page("", None)).entries == ("v1",)


async def test_a_session_is_unknown(repository: StoredRepository) -> None:
    """Its length is checked by the type of the file."""
    await _assert_unknown(repository.uploads.length(SESSION))


async def _collect(files: FilesystemDriver) -> None:
    async with planned(files, Options(60.0, delete_untagged=True)) as plan:
        assert (await carry_out(files, plan)).failed == []


async def _du(files: FilesystemDriver) -> None:
    async with usage_of(files, FileCensus(Path(files.root)), 60.0) as usage:
        assert usage.total.count > 5


async def _scrub(files: FilesystemDriver) -> None:
    found, _ = await scrub(files)
    assert {one.path for one in found}.issuperset(_places()[:4])


async def _repair(files: FilesystemDriver) -> None:
    await scrub(files, repair=True)


async def _purge(files: FilesystemDriver) -> None:
    await purged(files, 60.0)


UPKEEP = (_collect, _du, _scrub, _repair)


@pytest.mark.parametrize(
    ("put", "work"),
    [
        *((_pipe, work) for work in UPKEEP),
        *((_socket, work) for work in UPKEEP),
        (_pipe, _purge),
        (_socket, _purge),
    ],
    indirect=["put"],
)
async def test_maintenance_continues(
    files: FilesystemDriver, work: Callable[[FilesystemDriver], Awaitable[None]]
) -> None:
    """It is completed, and intact content is kept."""
    await work(files)
    repository = StoredRegistry(files).repository(APP)
    assert (await repository.manifests.get(Tag("v1"))).raw == raw(image())
    for content in (CONFIG, LAYER):
        assert await pull_blob(repository, Digest.of(content)) == content
