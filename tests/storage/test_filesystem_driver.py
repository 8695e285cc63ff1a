"""The filesystem driver passes the contract, and tests of what only files can break."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.drivers.base import CHUNK, StagedFile, StagingBusy
from storage.drivers.filesystem.driver import FilesystemDriver, empty_trash
from storage.drivers.filesystem.reader import FileReader
from storage.errors import PathNotFound
from storage.values.buffers import Buffer
from storage.values.paths import TRASH
from tests.storage.driver_contract import DriverContract
from tests.storage.streams import cancelled_after, joined

pytestmark = pytest.mark.disk

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class _Files(DriverContract):
    sync = True

    @pytest.fixture
    def new_driver(self, tmp_path: Path) -> Iterator[FilesystemDriver]:
        yield FilesystemDriver(tmp_path, sync=self.sync, threads=4)
        left = [path for path in tmp_path.rglob("*") if path.name.startswith(".tmp-")]
        assert left == []
        assert list(tmp_path.glob(f"{TRASH}/*")) == []


class TestFilesystemDriver(_Files):
    """The contract, on files; no test leaves a temporary file or trash."""


class TestScratchFilesystemDriver(_Files):
    """The contract with fsync off."""

    sync = False


@pytest.fixture
def new_driver(tmp_path: Path) -> FilesystemDriver:
    """Make a driver over an empty folder."""
    return FilesystemDriver(tmp_path, threads=4)


@pytest.fixture
async def driver(new_driver: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield the driver, and close it."""
    yield new_driver
    await new_driver.close()


@pytest.fixture
async def other_driver(tmp_path: Path) -> AsyncIterator[FilesystemDriver]:
    """Yield a second driver over the same folder, like that of another worker."""
    driver = await asyncio.to_thread(FilesystemDriver, tmp_path, threads=2)
    yield driver
    await driver.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Fail a test that leaves a file descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def _ignore(_: Buffer) -> None:
    """Do nothing."""


async def _held(staged: StagedFile) -> bytes:
    seen = bytearray()
    await staged.replay(0, seen.extend)
    return bytes(seen)


async def test_another_process_holds_the_staged_file(
    driver: FilesystemDriver, tmp_path: Path, impatient: None
) -> None:
    """The lock excludes other processes, and the end of its process releases it."""
    await driver.staging.create("u/data", {})
    command = [sys.executable, "-I", "-c", HOLDER, str(tmp_path / "u/data")]
    process = await asyncio.to_thread(
        subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"held\n"
    with pytest.raises(StagingBusy):
        async with driver.staging.open("u/data"):
            pass
    process.kill()
    await asyncio.to_thread(process.communicate)
    async with driver.staging.open("u/data") as staged:
        assert staged.length == 0


async def test_another_worker_s_driver_shares_the_lock(
    driver: FilesystemDriver, other_driver: FilesystemDriver, impatient: None
) -> None:
    """Two drivers over one folder exclude each other, and see each other's bytes."""
    await driver.staging.create("u/data", {})
    async with driver.staging.open("u/data") as staged:
        await staged.append(bytearray(b"abc"), _ignore)
        with pytest.raises(StagingBusy):
            async with other_driver.staging.open("u/data"):
                pass
    async with other_driver.staging.open("u/data") as staged:
        assert await _held(staged) == b"abc"


async def test_no_descriptor_is_left_open(
    driver: FilesystemDriver, impatient: None, tmp_path: Path, descriptors: None
) -> None:
    """Reads, failed reads, and locked, busy and ended sessions close all descriptors."""
    (tmp_path / "folder").mkdir()
    for number in range(5):
        await driver.write("a/file", b"x")
        await driver.read("a/file")
        file = await driver.open("a/file")
        await joined(file.stream(0, 1))
        await file.close()
        for path in ("folder", "nothing", "a/file/below"):
            with pytest.raises(PathNotFound):
                await driver.read(path)
            with pytest.raises(PathNotFound):
                await driver.open(path)
        await driver.staging.create(f"u{number}/data", {})
        async with driver.staging.open(f"u{number}/data") as staged:
            with pytest.raises(StagingBusy):
                async with driver.staging.open(f"u{number}/data"):
                    pass
            await staged.adopt("b/data")
        with pytest.raises(PathNotFound):
            async with driver.staging.open(f"u{number}/data"):
                pass
        await driver.delete("a")


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancelled_read_leaves_no_descriptor(
    driver: FilesystemDriver, ticks: int, descriptors: None
) -> None:
    """A file that is being opened when its request is cancelled is closed again."""
    await driver.write("file", b"x" * CHUNK)

    async def read() -> None:
        file = await driver.open("file")
        try:
            await joined(file.stream(0, file.size))
        finally:
            await file.close()

    await cancelled_after(ticks, read())
    await driver.close()


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancelled_open_leaves_no_descriptor(
    driver: FilesystemDriver, ticks: int, descriptors: None
) -> None:
    """A staged file that is being locked when its request is cancelled is closed again."""
    await driver.staging.create("u/data", {})

    async def hold() -> None:
        async with driver.staging.open("u/data"):
            pass

    await cancelled_after(ticks, hold())
    await driver.close()


async def test_a_full_disk_stores_nothing_of_an_append(driver: FilesystemDriver) -> None:
    """When the disk takes only a part of an append, none of it is stored, nor any later append.
    The next holder continues from the old end.
    """
    await driver.staging.create("u/data", {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with driver.staging.open("u/data") as staged:
        await staged.append(bytearray(b"before"), _ignore)
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, hard))
        try:
            appends = [staged.append(bytearray(size), _ignore) for size in (2 * CHUNK, 1)]
            failures = await asyncio.gather(*appends, return_exceptions=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert ["too large" in str(failure) for failure in failures] == [True, True]
        with pytest.raises(OSError, match="too large"):
            await staged.append(bytearray(b"later"), _ignore)
        assert staged.length == await driver.staging.length("u/data") == len(b"before")
    async with driver.staging.open("u/data") as staged:
        await staged.append(bytearray(b" after"), _ignore)
        assert await _held(staged) == b"before after"


async def test_appends_that_overlap_are_done_in_order(driver: FilesystemDriver) -> None:
    """Each is written and observed after the earlier ones, and then counted in `length`."""
    await driver.staging.create("u/data", {})
    seen: list[tuple[int, bytes]] = []
    async with driver.staging.open("u/data") as staged:

        def observe(data: Buffer) -> None:
            seen.append((staged.length, bytes(data)))

        pieces = [b"%d" % number * (number % 7 + 1) for number in range(200)]
        await asyncio.gather(*(staged.append(piece, observe) for piece in pieces))
        whole = b"".join(pieces)
        assert await _held(staged) == whole
    assert [piece for _, piece in seen] == pieces
    assert [at for at, _ in seen] == [len(b"".join(pieces[:n])) for n in range(len(pieces))]


async def test_a_full_disk_leaves_the_old_content(driver: FilesystemDriver, tmp_path: Path) -> None:
    """A failed write keeps the old content and leaves no temporary file."""
    await driver.write("f/file", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            await driver.write("f/file", bytes(2 * CHUNK))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await driver.read("f/file") == b"old"
    assert os.listdir(tmp_path / "f") == ["file"]


async def test_a_folder_in_a_file_s_place_is_no_file(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    """A folder called `data` or `link` counts as a missing file, and is no staged file."""
    (tmp_path / "x/data").mkdir(parents=True)
    assert await driver.stat("x/data") is None
    assert await driver.exists("x/data")
    with pytest.raises(PathNotFound):
        await driver.staging.length("x/data")
    with pytest.raises(PathNotFound):
        async with driver.staging.open("x/data"):
            pass


async def test_a_file_in_a_folder_s_place_fails_only_its_own_write(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    """A write below a file, or onto a folder, fails and changes nothing."""
    (tmp_path / "x").write_bytes(b"stray")
    (tmp_path / "y/link").mkdir(parents=True)
    for path in ("x/link", "y/link"):
        with pytest.raises(OSError):
            await driver.write(path, b"content")
    assert (tmp_path / "x").read_bytes() == b"stray"
    assert os.listdir(tmp_path / "y") == ["link"]
    assert os.listdir(tmp_path / "y/link") == []


def test_entry_and_entries_agree_about_symbolic_links(tmp_path: Path) -> None:
    """For links to folders, parents, files, themselves or nothing, and for a pipe."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    for link in ("../other", "below", "..", ".", "file", "loop", "nowhere"):
        (folder / f"to {link.replace('/', ' ')}").symlink_to(link)
    (folder / "loop").symlink_to("loop")
    reader = FileReader(str(tmp_path))
    entries = list(reader.entries("folder"))
    assert len(entries) == 11
    assert [reader.entry(f"folder/{one.name}") for one in entries] == entries


async def test_dangling_and_circular_symlinks_count_as_missing(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    """A symbolic link that leads nowhere is not a file."""
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert await driver.stat("nowhere") is None
    with pytest.raises(PathNotFound):
        await driver.read("nowhere")
    assert await driver.delete("nowhere") is True
    assert not os.path.lexists(tmp_path / "nowhere")


async def test_removing_a_folder_never_follows_symlinks(
    driver: FilesystemDriver, tmp_path: Path
) -> None:
    """The target of a link inside a removed folder stays."""
    await driver.write("kept/file", b"x")
    await driver.write("gone/file", b"x")
    (tmp_path / "gone/link").symlink_to(tmp_path / "kept")
    assert await driver.delete("gone")
    await driver.staging.discard("gone")
    assert await driver.read("kept/file") == b"x"


def test_the_trash_is_emptied_before_serving(tmp_path: Path) -> None:
    """What a crashed process left in the trash is deleted; a missing trash is no error."""
    empty_trash(tmp_path)
    for folder in (f"{TRASH}/0123/index", "docker"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "link").write_bytes(b"x")
    (tmp_path / TRASH / "4567").write_bytes(b"a blob")
    empty_trash(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [TRASH, "docker"]
    assert list((tmp_path / TRASH).iterdir()) == []
    assert (tmp_path / "docker/link").read_bytes() == b"x"


def test_a_folder_of_any_size_is_removed_without_being_held_in_memory(tmp_path: Path) -> None:
    """Its entries are removed as they are read."""
    folder = tmp_path / TRASH / "0123"
    folder.mkdir(parents=True)
    for number in range(4000):
        (folder / f"{number:0200}").touch()
    tracemalloc.start()
    empty_trash(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list((tmp_path / TRASH).iterdir()) == []
    assert peak < 4000 * 100


async def test_a_folder_removed_between_two_steps_of_a_write_is_made_again(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tag is deleted while the folders of its new link are created: they are created again."""
    await driver.write("tags/v1/current/link", b"x")
    mkdir = os.mkdir
    raced: list[str] = []

    def racing_mkdir(path: str, mode: int = 0o777) -> None:
        if not raced and path.endswith("/index"):
            raced.append(path)
            shutil.rmtree(tmp_path / "tags/v1")
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", racing_mkdir)
    await driver.write("tags/v1/index/sha256/x/link", b"y")
    assert raced
    assert await driver.read("tags/v1/index/sha256/x/link") == b"y"


async def test_a_folder_removed_just_before_a_rename_is_made_again(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tag is deleted just before its new link is renamed into place: the write is repeated."""
    rename = os.rename
    raced: list[str] = []

    def racing_rename(source: str, target: str) -> None:
        if not raced and target.endswith("/link"):
            raced.append(target)
            shutil.rmtree(tmp_path / "tags/v1")
        rename(source, target)

    monkeypatch.setattr(os, "rename", racing_rename)
    await driver.write("tags/v1/current/link", b"y")
    assert raced
    assert await driver.read("tags/v1/current/link") == b"y"


async def test_a_folder_is_removed_though_another_worker_empties_the_trash(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A starting worker removes the trash while a folder is moved there: the removal succeeds."""
    await driver.write("tags/v1/current/link", b"x")
    rename = os.rename
    raced: list[str] = []

    def racing_rename(source: str, target: str) -> None:
        if not raced:
            raced.append(target)
            os.rmdir(tmp_path / TRASH)
        rename(source, target)

    monkeypatch.setattr(os, "rename", racing_rename)
    assert await driver.delete("tags/v1") is True
    assert raced
    assert not await driver.exists("tags/v1")


async def test_an_adopted_file_has_no_stale_name(driver: FilesystemDriver, tmp_path: Path) -> None:
    """An adopted file has one path, one link and the usual permissions."""
    await driver.staging.create("u/data", {})
    async with driver.staging.open("u/data") as staged:
        await staged.append(bytearray(b"abc"), _ignore)
        await staged.adopt("blobs/data")
    found = (tmp_path / "blobs/data").stat()
    assert (found.st_nlink, found.st_size, found.st_mode & 0o777) == (1, 3, 0o644)
    assert sorted(os.listdir(tmp_path)) == [".registry", "blobs"]
