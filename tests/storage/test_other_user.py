"""Files of another user: they are used where possible; else the error names the remedy."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.drivers.base import CHUNK
from storage.drivers.filesystem import file_modes, owned_copies
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.owned_copies import replace_by_copy
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, CONFIG, LAYER, push_image
from tests.storage.file_operations import Operation, watch
from tests.storage.losing_disk import Disk, Recorder
from tests.storage.power_cuts import latest, losses

pytestmark = pytest.mark.slow

# A user without files, on most systems.
USER = 65534
LONG_AGO = 1_000_000_000

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user can reach; those of other tests are private."""
    made = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def root(folder: Path) -> Path:
    """Return a root with an old image that we own; another user can read it."""
    asyncio.run(_push(FilesystemDriver(folder, threads=1)))
    for path in folder.rglob("data"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


async def _push(driver: FilesystemDriver) -> None:
    await push_image(StoredRegistry(driver).repository(APP), "v1")
    await driver.close()


def _open_folders(root: Path, *kept: str) -> None:
    """Let all users write into folders, except below some prefixes; files are unchanged.

    The locks can be read, as those of older versions could.
    """
    root.chmod(0o777)
    for name in (paths.GATE, paths.TREE):
        (root / name).chmod(0o644)
    for path in root.rglob("*"):
        if path.is_dir() and not str(path.relative_to(root)).startswith(kept):
            path.chmod(0o777)


def _as_another(root: Path, work: str) -> str:
    """Let another user do something; return the output."""
    command = [sys.executable, "-m", "tests.storage.other_user", str(USER), str(root), work]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _blob(root: Path, content: bytes) -> Path:
    return root / paths.blob(Digest.of(content))


@as_root
@pytest.mark.parametrize(
    ("work", "used"), [("head", [LAYER]), ("mount", [LAYER]), ("push", [LAYER, CONFIG])]
)
def test_a_blob_of_another_user_is_replaced_by_a_copy(
    root: Path, work: str, used: list[bytes]
) -> None:
    """Only its owner can touch a file; a copy has a new mtime."""
    _open_folders(root)
    assert _as_another(root, work) == "done"
    for content in used:
        state = _blob(root, content).stat()
        assert (state.st_uid, state.st_mtime > LONG_AGO) == (USER, True)
        assert _blob(root, content).read_bytes() == content
        assert os.listdir(_blob(root, content).parent) == ["data"]


@as_root
@pytest.mark.parametrize("work", ["mount", "push"])
def test_a_blob_that_can_t_be_replaced_is_not_relied_on(root: Path, work: str) -> None:
    """A collection could delete it: the push is refused, and the message names the remedy."""
    _open_folders(root, paths.BLOBS)
    before = sorted(root.rglob("*"))
    said = _as_another(root, work)
    assert said.startswith(f"WrongOwner: {root}/{paths.BLOBS}")
    assert said.endswith(f"chown -R {USER} {root}")
    assert sorted(root.rglob("*")) == before
    assert _blob(root, LAYER).stat().st_mtime == LONG_AGO


@as_root
def test_a_blob_that_can_t_be_replaced_can_be_pulled(root: Path) -> None:
    """Pulls do not need to touch it."""
    assert _as_another(root, "head") == "done"


@as_root
def test_locks_of_another_user_lock(root: Path) -> None:
    """A push only needs to lock them; a removal has to write to one, and is refused before."""
    _open_folders(root)
    for name in (paths.GATE, paths.TREE):
        assert (root / name).stat().st_uid == 0
    assert _as_another(root, "push") == "done"
    for work in ("untag", "delete"):
        said = _as_another(root, work)
        assert said.startswith(f"WrongOwner: {root}/{paths.TREE}"), said
    assert (root / paths.tag_current_link(APP, Tag("v1"))).exists()
    assert (root / paths.layer_link(APP, Digest.of(LAYER))).exists()


@as_root
@pytest.mark.parametrize("closed", [paths.OURS, paths.GATE, paths.TREE])
def test_locks_that_are_closed_to_a_user_refuse_what_needs_them(root: Path, closed: str) -> None:
    """Nothing is changed without the lock, and the error names the remedy."""
    _open_folders(root)
    file_modes.close_to_others(str(root / closed))
    before = sorted(root.rglob("*"))
    for work in ("push", "untag", "delete"):
        said = _as_another(root, work)
        assert said.startswith(f"WrongOwner: {root}/{paths.OURS}/"), said
        assert said.endswith(f"chown -R {USER} {root}")
    assert sorted(root.rglob("*")) == before


CONTENT = random.Random(1).randbytes(2 * CHUNK + 100)


def test_a_copy_replaces_the_file_when_it_is_durable(tmp_path: Path) -> None:
    """Whatever a disk loses, the bytes exist; only a chunk of them is in memory."""
    root = tmp_path / "root"
    root.mkdir()
    recorder, written = Recorder(root), list[int]()
    disk = Disk()

    def count(operation: Operation) -> None:
        written.append(len(operation.data))

    with watch(root, count, recorder.after):
        (root / "data").touch()
        fd = os.open(root / "data", os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, CONTENT, 0)
        os.fsync(fd)
        os.close(fd)
        top = os.open(root, os.O_RDONLY)
        os.fsync(top)
        os.close(top)
        done = len(recorder.log)
        written.clear()
        replace_by_copy(str(root / "data"))
    assert 0 < max(written) <= CHUNK
    for number, event in enumerate(recorder.log):
        disk.apply(event)
        for left in (*latest(disk), *losses(disk, random.Random(1), 2)) if number >= done else ():
            assert dict(left.tree.entries)["data"].data == CONTENT, left.how  # type: ignore[union-attr]


def test_concurrent_callers_copy_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that waited for another's copy does nothing."""
    (tmp_path / "data").write_bytes(b"old")
    fd = os.open(tmp_path / "data", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    asked, real, done = threading.Event(), fcntl.flock, list[str]()

    def flock(fd: int, kind: int) -> None:
        asked.set()
        real(fd, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    thread = threading.Thread(target=_replace_by_copy, args=(tmp_path, done))
    thread.start()
    try:
        assert asked.wait(30)
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").rename(tmp_path / "data")
        inode = (tmp_path / "data").stat().st_ino
    finally:
        os.close(fd)
        thread.join()
    assert (tmp_path / "data").stat().st_ino == inode
    assert "create" not in done


def test_waiting_for_a_locked_file_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process may be suspended: the wait times out, and the file is unchanged."""
    monkeypatch.setattr(owned_copies, "_PATIENCE", 0.05)
    (tmp_path / "data").write_bytes(b"x")
    with (tmp_path / "data").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another process holds it"):
            replace_by_copy(str(tmp_path / "data"))
    assert os.listdir(tmp_path) == ["data"]


def _replace_by_copy(folder: Path, done: list[str]) -> None:
    """Replace a file by its copy, and record what is done in its folder."""
    with watch(folder, lambda operation: done.append(operation.kind)):
        replace_by_copy(str(folder / "data"))


def test_a_file_that_is_published_during_the_copy_stays(tmp_path: Path) -> None:
    """It may have been pushed because the old one was damaged."""
    (tmp_path / "data").write_bytes(b"damaged")
    (tmp_path / "pushed").write_bytes(b"whole")

    def push(operation: Operation) -> None:
        if operation.kind == "sync":
            (tmp_path / "pushed").rename(tmp_path / "data")

    with watch(tmp_path, push):
        replace_by_copy(str(tmp_path / "data"))
    assert (tmp_path / "data").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["data"]


def test_only_regular_files_are_copied(tmp_path: Path) -> None:
    """A folder or a pipe is unchanged, and opening the pipe does not block."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        replace_by_copy(str(tmp_path / name))
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    """An operator has moved the file elsewhere: the copy is written there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(b"x")
    (tmp_path / "data").symlink_to("elsewhere/file")
    before = (tmp_path / "data").stat().st_ino
    replace_by_copy(str(tmp_path / "data"))
    assert (tmp_path / "data").is_symlink()
    assert (tmp_path / "data").read_bytes() == b"x"
    assert (tmp_path / "data").stat().st_ino != before
