"""Commands on a disk that is full: what gives space back needs none.

No server of ours need ever have run there: a volume that filled up under another registry has none
of the files that ours makes when it starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver, make_ready
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.live.conftest import CONFIG
from tests.live.programs import run
from tests.live.small_disks import MIB, fill, fill_with_files, free, small_disk
from tests.storage.content import index, push_blob, push_manifest, raw
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

NAME = "full/disk"
APP = RepositoryName(NAME)
KEPT, GONE = index([]), index([], annotations={"is": "to go"})
GARBAGE = os.urandom(2 * MIB)


class Fullness(NamedTuple):
    """How a disk is made, and how it is filled."""

    options: str
    fill: Callable[[Path], object]


FULL: Mapping[str, Fullness] = {
    "no byte left": Fullness("", fill),
    "no inode left": Fullness(",nr_inodes=120", fill_with_files),
}


async def _populate(driver: FilesystemDriver) -> None:
    """Have an image that stays, one that is to go, a blob of no image, and an old upload."""
    repository = StoredRegistry(driver).repository(APP)
    await push_blob(repository, GARBAGE)
    await push_manifest(repository, KEPT, "kept")
    await push_manifest(repository, GONE, "gone")
    await repository.uploads.start("sha256")
    await driver.close()


@contextmanager
def _volume(folder: Path, how: str, *, served: bool) -> Iterator[Path]:
    """Mount a full disk with a registry on it; `served`: a server of ours has started there."""
    with small_disk(folder, FULL[how].options) as root:
        asyncio.run(_populate(FilesystemDriver(root, threads=1)))
        for path in (root / paths.BLOBS).rglob("data"):
            os.utime(path, (0, 0))  # older than any grace period
        shutil.rmtree(root / paths.OURS)
        shutil.rmtree(root / paths.TRASH)
        if served:
            make_ready(root)
        FULL[how].fill(root)
        yield root


def _command(root: Path, *words: str) -> str:
    """Run a command, which must succeed; return what it says."""
    done = run([*words, "--root", str(root)], root.parent)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("how", FULL)
@pytest.mark.parametrize("served", [True, False], ids=["served before", "never served"])
def test_the_first_collection_ever_gives_space_back(tmp_path: Path, how: str, served: bool) -> None:
    """It removes what nothing needs, and keeps the rest."""
    with _volume(tmp_path / "disk", how, served=served) as root:
        before = free(root)
        _command(root, "garbage-collect", "--grace", "0s")
        assert not (root / paths.blob(Digest.of(GARBAGE))).exists()
        assert (root / paths.blob(Digest.of(raw(KEPT)))).read_bytes() == raw(KEPT)
        assert free(root) > before + MIB


@pytest.mark.parametrize("how", FULL)
def test_looking_repairing_and_purging_need_no_space(tmp_path: Path, how: str) -> None:
    """`du`, a repair of a tag that leads nowhere, `purge-uploads`, and `delete` do."""
    with _volume(tmp_path / "disk", how, served=False) as root:
        assert NAME in _command(root, "du")
        (root / paths.blob(Digest.of(raw(GONE)))).unlink()
        FULL[how].fill(root)
        _command(root, "scrub", "--repair")
        assert not (root / paths.tag(APP, Tag("gone"))).exists()
        assert (root / paths.tag(APP, Tag("kept"))).exists()
        FULL[how].fill(root)
        assert "1 uploads removed" in _command(root, "purge-uploads", "--age", "0s")
        FULL[how].fill(root)
        _command(root, "delete", NAME)
        assert not (root / paths.manifests(APP)).exists()


@pytest.mark.parametrize("how", FULL)
def test_a_server_that_starts_on_a_full_disk_deletes(tmp_path: Path, how: str) -> None:
    """Manifests by digest with their tags, blobs and tags."""
    with (
        _volume(tmp_path / "disk", how, served=False) as root,
        RegistryServer(tmp_path / "server", root, config=CONFIG) as server,
    ):

        def delete(path: str) -> None:
            server.wire.expect(202, "DELETE", f"/v2/{NAME}/{path}")

        delete(f"manifests/{Digest.of(raw(GONE))}")
        delete(f"blobs/{Digest.of(GARBAGE)}")
        listed = server.wire.expect(200, "GET", f"/v2/{NAME}/tags/list").body
        assert json.loads(listed)["tags"] == ["kept"]
        delete("manifests/kept")
        server.wire.expect(404, "GET", f"/v2/{NAME}/manifests/gone")
