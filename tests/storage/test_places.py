"""Where another program can fetch a blob: a file, if the driver stores files."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.read_only import ReadOnlyDriver
from storage.errors import BlobUnknown
from storage.interfaces import BlobLocation, Registry
from storage.repository.modes import ReadOnlyRegistry, UndeletableRegistry
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

pytestmark = pytest.mark.disk

APP = RepositoryName.parse("library/app")
CONTENT = b"the bytes of a blob"


async def store(driver: Driver, digest: Digest, content: bytes, linked: Digest) -> None:
    """Make `digest` a member whose link holds `linked`, under which the content is stored."""
    await driver.write(paths.blob(linked), content)
    await driver.write(paths.layer_link(APP, digest), str(linked).encode())


def registries(driver: Driver) -> list[Registry]:
    """Return every kind of registry over a driver."""
    stored = StoredRegistry(driver)
    read_only = ReadOnlyRegistry(StoredRegistry(ReadOnlyDriver(driver)))
    return [stored, UndeletableRegistry(stored), read_only]


@pytest.mark.parametrize("linked_by", ["sha256", "sha512"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_member_has_a_file(
    driver: Driver, tmp_path: Path, algorithm: str, linked_by: str
) -> None:
    """The file below the folder of blobs holds the bytes; a driver without files has none.

    A blob whose link holds a digest of another algorithm has the file of that digest.
    """
    digest, linked = Digest.of(CONTENT, algorithm), Digest.of(CONTENT, linked_by)
    await store(driver, digest, CONTENT, linked)
    for registry in registries(driver):
        place = await registry.repository(APP).blobs.locate(digest)
        if not isinstance(driver, FilesystemDriver):
            assert place is None
            continue
        expected = f"{linked_by}/{linked.hex[:2]}/{linked.hex}/data"
        assert place == BlobLocation(expected, len(CONTENT))
        assert (tmp_path / paths.BLOBS / place.path).read_bytes() == CONTENT


async def test_a_blob_that_is_no_member_has_no_file(driver: Driver) -> None:
    """Content without a link, a link without content, and emptied content."""
    unlinked, absent, cut = (Digest.of(text) for text in (b"unlinked", b"absent", b"cut"))
    await driver.write(paths.blob(unlinked), b"unlinked")
    await driver.write(paths.layer_link(APP, absent), str(absent).encode())
    await store(driver, cut, b"", cut)
    for registry in registries(driver):
        for digest in (unlinked, absent, cut):
            with pytest.raises(BlobUnknown):
                await registry.repository(APP).blobs.locate(digest)
