"""File modes: other users of the machine can open images, as with distribution, and nothing else.

A user that can open a lock file can lock it, and a lock on the tree blocks every push.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver, make_ready
from storage.drivers.filesystem.tree_lock import TreeLock
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import APP, LAYER, begin, push_image
from tests.storage.test_other_user import USER, as_root, folder

pytestmark = pytest.mark.disk

__all__ = ["folder"]

# Run as another user: open everything below a folder for reading, print what was opened.
OPENER = """
import os, sys
os.setgroups([]); os.setegid(int(sys.argv[1])); os.seteuid(int(sys.argv[1]))
for top, folders, files in os.walk(sys.argv[2]):
    for name in ("", *files):
        try:
            os.close(os.open(os.path.join(top, name), os.O_RDONLY))
        except PermissionError:
            continue
        print(os.path.relpath(os.path.join(top, name), sys.argv[2]))
"""


@pytest.fixture(params=[0o022, 0o002, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the file mode creation mask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _use(root: Path) -> None:
    """Create a server's folders, an image, an upload in progress, and something removed."""
    make_ready(root)
    asyncio.run(_work(FilesystemDriver(root, threads=1)))


async def _work(driver: FilesystemDriver) -> None:
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, "v1", "v2")
    await begin(repository, b"in progress", algorithm="sha512")
    await repository.tags.delete(Tag("v2"))
    async with driver.claim(paths.COLLECTION), driver.claim("quota-1"):
        await driver.write_unsynced(paths.COLLECTED, b"{}")
    await driver.exclusively(lambda editor: editor.move(paths.CLOCK, f"{paths.QUARANTINE}/x"))
    await driver.close()


def _ours(root: Path) -> list[Path]:
    """Return the paths that are closed to others: locks, sessions and the trash."""
    tops = [root / paths.OURS, root / paths.TRASH, root / paths.uploads(APP)]
    return [*tops, *(path for path in tops[0].rglob("*") if path.is_file())]


def test_work_in_progress_is_closed_to_others_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    """The umask decides about the group; a lock file in a closed folder is closed itself."""
    _use(tmp_path)
    locks = {str(tmp_path / name) for name in (paths.GATE, paths.TREE, paths.claim("quota-1"))}
    assert locks < set(map(str, _ours(tmp_path)))
    for path in [*map(Path, locks), *(one for one in _ours(tmp_path) if one.is_dir())]:
        most = 0o770 if path.is_dir() else 0o660
        assert stat.S_IMODE(path.stat().st_mode) == most & ~umask, path


def test_images_have_the_modes_that_distribution_gives_them(tmp_path: Path, umask: int) -> None:
    """Other programs read blobs, a backup reads links; without a umask no other user can write."""
    _use(tmp_path)
    for path in (tmp_path / "docker").rglob("*"):
        if paths.UPLOADS not in path.parts:
            most = 0o755 if path.is_dir() else 0o644
            assert stat.S_IMODE(path.stat().st_mode) == most & ~umask, path


def test_a_start_closes_what_an_older_version_left_open(tmp_path: Path) -> None:
    """Existing locks and folders lose only the permissions of others."""
    (tmp_path / paths.TRASH).mkdir(0o755)
    (tmp_path / paths.OURS).mkdir(0o755)
    for name in (paths.GATE, paths.TREE):
        (tmp_path / name).write_bytes(b"x" * 16)
        (tmp_path / name).chmod(0o664)
    make_ready(tmp_path)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert (found["gate"], found["tree"]) == (0o660, 0o660)
    assert (found[paths.TRASH], found[paths.OURS]) == (0o750, 0o750)


def test_a_linked_folder_keeps_its_other_permissions(tmp_path: Path) -> None:
    """An operator may have linked the trash elsewhere: it is closed, and never opened wider."""
    for mode, wanted in ((0o700, 0o700), (0o755, 0o750)):
        root, elsewhere = tmp_path / f"{mode}", tmp_path / f"{mode}-elsewhere"
        root.mkdir()
        elsewhere.mkdir()
        elsewhere.chmod(mode)
        (root / paths.TRASH).symlink_to(elsewhere)
        make_ready(root)
        assert stat.S_IMODE(elsewhere.stat().st_mode) == wanted


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    """The file that another user's symbolic link names is not overwritten."""
    (tmp_path / "victim").write_bytes(b"all of it")
    (tmp_path / paths.OURS).mkdir()
    (tmp_path / paths.TREE).symlink_to(tmp_path / "victim")
    with (
        pytest.raises(OSError, match="symbolic links"),
        TreeLock(str(tmp_path)).exclusive() as held,
    ):
        held.change_removal_number()
    assert (tmp_path / "victim").read_bytes() == b"all of it"


@as_root
def test_another_user_can_open_images_and_hold_no_lock(folder: Path) -> None:
    """Only published files can be opened: no lock, no session, no trash."""
    _use(folder)
    command = [sys.executable, "-c", OPENER, str(USER), str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    opened = set(said.stdout.split())
    assert paths.blob(Digest.of(LAYER)) in opened
    assert paths.tag_current_link(RepositoryName(APP.text), Tag("v1")) in opened
    closed = (f"{paths.OURS}", f"{paths.TRASH}", paths.uploads(APP))
    assert [one for one in opened if one.startswith(closed)] == []
