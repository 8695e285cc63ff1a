"""Tests of the tree lock across processes; each holds threads at fixed points."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from storage.content.links import link_change
from storage.content.tag_store import TagStore
from storage.drivers.base import Driver, ExclusiveEditor, TouchingReader
from storage.drivers.changes import Put
from storage.drivers.filesystem import locks, tree_lock
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.lock_files import NUMBER_BYTES, LockFiles
from storage.errors import AlreadyRunning
from storage.maintenance.scrub.checks.tag_checks import CurrentLink
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.maintenance.scrub.repairs import Repairer
from storage.values import paths
from storage.values.buffers import Buffer
from storage.values.digest import Digest
from storage.values.names import Tag
from storage.values.paths import LINK, OURS
from tests.storage.content import APP
from tests.storage.turnstile import PausePoint, Turnstile, hold_call

# Another process that holds the tree lock.
HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""

TAG = Tag("v1")
OLD, NEW = Digest.of(b"old"), Digest.of(b"new")

Work: TypeAlias = Callable[[FilesystemDriver], Awaitable[object]]


@pytest.fixture
def turnstile(monkeypatch: pytest.MonkeyPatch) -> Turnstile:
    """Record which tasks are refused a lock."""
    made = Turnstile()
    made.put(monkeypatch)
    return made


@pytest.fixture
def made(tmp_path: Path) -> list[FilesystemDriver]:
    """Return a function that creates the drivers of three processes."""
    return [FilesystemDriver(tmp_path, sync=False, threads=2) for _ in range(3)]


@pytest.fixture
async def drivers(made: list[FilesystemDriver]) -> AsyncIterator[list[FilesystemDriver]]:
    """Yield drivers over a root that contains a file and an upload."""
    await made[0].write("docker/file", b"x")
    await made[0].staging.create("uploads/1/data", {})
    yield made
    for driver in made:
        await driver.close()


def _ignore(_: Buffer) -> None:
    """Do nothing."""


async def _publish(driver: FilesystemDriver) -> None:
    await driver.publish((Put("docker/published", b"x"),))


async def _publish_in_steps(driver: FilesystemDriver) -> None:
    await driver.publish((Put("docker/first", b"x"),), (Put("docker/published", b"x"),))


async def _adopt(driver: FilesystemDriver) -> None:
    async with driver.staging.open("uploads/1/data") as staged:
        await staged.adopt("docker/published")


async def _adopt_and_link(driver: FilesystemDriver) -> None:
    async with driver.staging.open("uploads/1/data") as staged:
        await staged.adopt("docker/data", (Put("docker/published", b"x"),))


async def _use(driver: FilesystemDriver) -> None:
    assert await driver.touch("docker/file")


async def _delete(driver: FilesystemDriver) -> None:
    assert await driver.delete("docker/file")


# Operations under the shared lock, and a system call in the middle: its name, a path's end.
SHARING: dict[str, tuple[Work, str, str]] = {
    "a change": (_publish, "rename", "docker/published"),
    "the last of several changes": (_publish_in_steps, "rename", "docker/published"),
    "an upload": (_adopt, "rename", "docker/published"),
    "the link of an upload": (_adopt_and_link, "rename", "docker/published"),
    "a use": (_use, "utime", "docker/file"),
    "a deletion": (_delete, "unlink", "docker/file"),
}
sharing = pytest.mark.parametrize(("work", "call", "path"), SHARING.values(), ids=SHARING)


async def stay_in_check(driver: Driver, held: PausePoint) -> None:
    """Publish something, and stay in its check."""

    def check(_: TouchingReader) -> None:
        held.stay()

    await driver.publish((Put("docker/held", b"x"),), check=check)


@sharing
async def test_the_exclusive_lock_waits_for_all_publications(
    drivers: list[FilesystemDriver],
    turnstile: Turnstile,
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
    call: str,
    path: str,
) -> None:
    """No process gets the exclusive lock while another is in the middle of a change."""
    held = hold_call(monkeypatch, call, path)
    working = asyncio.ensure_future(work(drivers[0]))
    await held.entered(working)
    exclusive = asyncio.ensure_future(drivers[1].exclusively(lambda _: working.done()))
    waited = await turnstile.waits(exclusive, "tree", fcntl.LOCK_EX)
    held.release()
    await working
    await exclusive
    assert waited


async def test_no_removal_comes_between_a_check_and_its_change(
    drivers: list[FilesystemDriver], turnstile: Turnstile
) -> None:
    """What a check found exists when the change is made; its removal comes afterwards."""
    held = PausePoint()
    publishing = asyncio.ensure_future(stay_in_check(drivers[0], held))
    await held.entered(publishing)
    exclusive = asyncio.ensure_future(drivers[1].exclusively(lambda one: one.stat("docker/held")))
    waited = await turnstile.waits(exclusive, "tree", fcntl.LOCK_EX)
    held.release()
    await publishing
    assert await exclusive is not None, "it ran before the change was made"
    assert waited


@sharing
async def test_publications_wait_for_the_exclusive_lock(
    drivers: list[FilesystemDriver],
    turnstile: Turnstile,
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
    call: str,
    path: str,
) -> None:
    """What the holder of the exclusive lock reads does not change until it is done."""
    held, reached = PausePoint(), hold_call(monkeypatch, call, path)
    reached.release()
    exclusive = asyncio.ensure_future(drivers[0].exclusively(lambda _: held.stay()))
    await held.entered(exclusive)
    working = asyncio.ensure_future(work(drivers[1]))
    waited = await turnstile.waits(working, "gate", fcntl.LOCK_SH)
    assert not reached.is_inside
    held.release()
    await asyncio.gather(exclusive, working)
    assert waited
    assert reached.is_inside


async def test_a_check_waits_for_the_exclusive_lock(
    drivers: list[FilesystemDriver], turnstile: Turnstile
) -> None:
    """A check reads the tree as it is after the removal."""
    held, checked = PausePoint(), PausePoint()
    checked.release()

    def remove_late(_: object) -> None:
        held.stay()

    exclusive = asyncio.ensure_future(drivers[0].exclusively(remove_late))
    await held.entered(exclusive)
    publishing = asyncio.ensure_future(stay_in_check(drivers[1], checked))
    waited = await turnstile.waits(publishing, "gate", fcntl.LOCK_SH)
    assert not checked.is_inside
    held.release()
    await asyncio.gather(exclusive, publishing)
    assert waited
    assert checked.is_inside


async def test_the_exclusive_lock_has_one_holder(
    drivers: list[FilesystemDriver], turnstile: Turnstile
) -> None:
    """A process waits for another that holds the exclusive lock."""
    held, order = PausePoint(), list[str]()
    first = asyncio.ensure_future(drivers[0].exclusively(lambda _: held.stay()))
    await held.entered(first)
    second = asyncio.ensure_future(drivers[1].exclusively(lambda _: order.append("second")))
    waited = await turnstile.waits(second, "gate", fcntl.LOCK_EX)
    assert order == []
    held.release()
    await asyncio.gather(first, second)
    assert waited
    assert order == ["second"]


async def test_publications_share_the_lock(drivers: list[FilesystemDriver]) -> None:
    """A slow publication blocks no other one, in its process or in another."""
    held = PausePoint()
    slow = asyncio.ensure_future(stay_in_check(drivers[0], held))
    await held.entered(slow)
    for driver in drivers:
        await _publish(driver)
    assert not slow.done()
    held.release()
    await slow


async def test_publications_queue_behind_a_waiting_exclusive_lock(
    drivers: list[FilesystemDriver], turnstile: Turnstile
) -> None:
    """Later publications wait, however many overlap, so the exclusive lock is granted."""
    first, later, order = PausePoint(), PausePoint(), list[str]()
    later.release()
    publishing = asyncio.ensure_future(stay_in_check(drivers[0], first))
    await first.entered(publishing)
    exclusive = asyncio.ensure_future(
        drivers[1].exclusively(lambda _: order.append(f"exclusive, others {later.is_inside}"))
    )
    assert await turnstile.waits(exclusive, "tree", fcntl.LOCK_EX)
    overtaking = asyncio.ensure_future(stay_in_check(drivers[2], later))
    waited = await turnstile.waits(overtaking, "gate", fcntl.LOCK_SH)
    first.release()
    await asyncio.gather(publishing, exclusive, overtaking)
    assert waited
    assert order == ["exclusive, others False"]


async def test_an_exclusive_lock_that_times_out_opens_the_gate(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publication that never ends makes removals fail, and no other publication."""
    monkeypatch.setattr(tree_lock, "_PATIENCE_EXCLUSIVE", 0.0)
    held, ran = PausePoint(), list[str]()
    publishing = asyncio.ensure_future(stay_in_check(drivers[0], held))
    await held.entered(publishing)
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await drivers[1].exclusively(lambda _: ran.append("exclusive"))
    assert ran == []
    assert len(os.listdir("/proc/self/fd")) == open_before
    monkeypatch.setattr(tree_lock, "_PATIENCE", 0.0)
    await _publish(drivers[2])
    held.release()
    await publishing
    await drivers[1].exclusively(lambda _: ran.append("exclusive"))
    assert ran == ["exclusive"]


@sharing
async def test_a_publication_that_times_out_changes_nothing(
    drivers: list[FilesystemDriver],
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
    call: str,
    path: str,
) -> None:
    """Under an exclusive lock without end publications fail completely; they succeed afterwards."""
    monkeypatch.setattr(tree_lock, "_PATIENCE", 0.0)
    held, reached = PausePoint(), hold_call(monkeypatch, call, path)
    reached.release()
    exclusive = asyncio.ensure_future(drivers[0].exclusively(lambda _: held.stay()))
    await held.entered(exclusive)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TimeoutError):
        await work(drivers[1])
    assert not reached.is_inside
    assert len(os.listdir("/proc/self/fd")) == open_before
    held.release()
    await exclusive
    await work(drivers[1])
    assert reached.is_inside


@pytest.mark.parametrize(
    ("name", "kind"), [("gate", fcntl.LOCK_EX), ("tree", fcntl.LOCK_SH), ("tree", fcntl.LOCK_EX)]
)
async def test_the_end_of_a_process_releases_its_locks(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch, name: str, kind: int
) -> None:
    """The locks are the kernel's, on files below the root, so other processes see their end."""
    monkeypatch.setattr(tree_lock, "_PATIENCE", 0.0)
    monkeypatch.setattr(tree_lock, "_PATIENCE_EXCLUSIVE", 0.0)
    path = f"{drivers[0].root}/{OURS}/{name}"
    command = [sys.executable, "-I", "-c", HOLDER, path, str(kind)]
    process = await asyncio.to_thread(
        subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"held\n"
        with pytest.raises(TimeoutError):
            await drivers[0].exclusively(lambda _: None)
        if kind == fcntl.LOCK_EX:
            with pytest.raises(TimeoutError):
                await _publish(drivers[0])
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
    await drivers[0].exclusively(lambda _: None)
    await _publish(drivers[0])


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file or folder be created from now on."""
    real = os.open

    def refuse(path: str, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def open_or_refuse(path: str, flags: int, *more: int) -> int:
        if flags & os.O_CREAT:
            refuse(path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.setattr(os, "open", open_or_refuse)


async def test_locks_work_without_lock_files(
    drivers: list[FilesystemDriver], turnstile: Turnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk another process waits, even one that can create the files by then."""
    await drivers[0].write(f"{paths.BLOBS}/file", b"x")
    await asyncio.to_thread(shutil.rmtree, f"{drivers[0].root}/{OURS}")
    held, order = PausePoint(), list[str]()
    with monkeypatch.context() as full:
        fill_the_disk(full)
        exclusive = asyncio.ensure_future(drivers[0].exclusively(lambda _: held.stay()))
        await held.entered(exclusive)
        other = asyncio.ensure_future(drivers[1].exclusively(lambda _: order.append("other")))
        assert await turnstile.waits(other, "docker", fcntl.LOCK_EX)
    turnstile.away.clear()
    publishing = asyncio.ensure_future(stay_in_check(drivers[2], later := PausePoint()))
    later.release()
    assert await turnstile.waits(publishing, "docker", fcntl.LOCK_EX)
    assert (order, later.is_inside) == ([], False)
    held.release()
    await asyncio.gather(exclusive, other, publishing)
    assert order == ["other"]
    assert sorted(os.listdir(f"{drivers[0].root}/{OURS}")) == ["gate", "tree"]


async def test_a_lock_file_without_number_is_exclusive(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may find the new file: there is never a second lock.

    Folders can be removed all the same, and each process detects it.
    """
    await asyncio.to_thread(shutil.rmtree, f"{drivers[0].root}/{OURS}")
    os.makedirs(f"{drivers[0].root}/docker/registry")
    others, real = list[int](), os.pwrite

    def find_no_room(fd: int, content: bytes, at: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") != f"{drivers[0].root}/{paths.TREE}":
            return real(fd, content, at)
        if not others:
            with suppress(TimeoutError):
                others.append(LockFiles(drivers[1].root).lock(paths.TREE, fcntl.LOCK_EX, 0.0))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", find_no_room)
    monkeypatch.setattr(tree_lock, "_PATIENCE_EXCLUSIVE", 0.1)
    exclusive = drivers[0].exclusively(lambda editor: editor.remove("docker/file"))
    with pytest.raises(TimeoutError):
        await exclusive
    os.close(others[0])
    assert await drivers[0].exclusively(lambda editor: editor.remove("docker/file"))
    for _ in range(2):
        await _publish(drivers[1])
        await drivers[0].exclusively(lambda editor: editor.remove("docker"))
    monkeypatch.setattr(os, "pwrite", real)
    await _publish(drivers[1])
    await drivers[0].exclusively(lambda editor: editor.remove("docker"))
    assert os.stat(f"{drivers[0].root}/{paths.TREE}").st_size == NUMBER_BYTES


async def test_claims_work_without_lock_files(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One collection and one scrub run at a time, on a full disk and while space is freed."""
    await drivers[0].write(f"{paths.BLOBS}/file", b"x")
    await drivers[0].write(f"{paths.REPOSITORIES}/file", b"x")
    with monkeypatch.context() as full:
        fill_the_disk(full)
        async with drivers[0].claim(paths.COLLECTION), drivers[0].claim(paths.SCRUB):
            for what in (paths.COLLECTION, paths.SCRUB):
                with pytest.raises(AlreadyRunning):
                    await drivers[1].claim(what).__aenter__()
            full.undo()
            for what in (paths.COLLECTION, paths.SCRUB):
                with pytest.raises(AlreadyRunning):
                    await drivers[1].claim(what).__aenter__()
    for what in (paths.COLLECTION, paths.SCRUB):
        async with drivers[1].claim(what):
            assert os.path.exists(f"{drivers[0].root}/{paths.claim(what)}")


async def _move(driver: FilesystemDriver) -> None:
    await TagStore(driver, APP).point(TAG, NEW, lambda _: None)


async def _remove(driver: FilesystemDriver) -> None:
    await TagStore(driver, APP).remove(TAG)


def _tag(folder: str, text: str) -> int:
    """Create a tag, as another program does, and lock it."""
    os.makedirs(f"{folder}/current")
    Path(folder, "current", LINK).write_text(text)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


async def _replace_while_it_is_held(
    drivers: list[FilesystemDriver], turnstile: Turnstile, text: str, work: Awaitable[object]
) -> tuple[int, asyncio.Future[object]]:
    """Replace the tag that `work` has locked by another one, which is locked as well.

    Returns the descriptor of that lock, and `work`, which continues.
    """
    folder = f"{drivers[0].root}/{paths.tag(APP, TAG)}"
    held = PausePoint()

    def replace(editor: ExclusiveEditor) -> int:
        held.stay()
        editor.remove(paths.tag(APP, TAG))
        return _tag(folder, text)

    replacing = asyncio.ensure_future(drivers[0].exclusively(replace))
    await held.entered(replacing)
    working = asyncio.ensure_future(work)
    assert await turnstile.waits(working, "gate", fcntl.LOCK_SH)
    held.release()
    return await replacing, working


@pytest.mark.parametrize("work", [_move, _remove])
async def test_a_tag_whose_folder_was_replaced_is_locked_again(
    drivers: list[FilesystemDriver],
    turnstile: Turnstile,
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
) -> None:
    """A process that locked a removed folder does not change the new one without its lock."""
    folder = f"{drivers[0].root}/{paths.tag(APP, TAG)}"
    os.close(await asyncio.to_thread(_tag, folder, str(OLD)))
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    doing = work(drivers[1])
    fd, working = await _replace_while_it_is_held(drivers, turnstile, str(OLD), doing)
    with pytest.raises(TimeoutError, match="another request holds it"):
        await working
    assert await drivers[2].read(paths.tag_current_link(APP, TAG)) == str(OLD).encode()
    os.close(fd)
    await work(drivers[1])


async def test_a_tag_whose_folder_was_replaced_is_not_repaired(
    drivers: list[FilesystemDriver], turnstile: Turnstile
) -> None:
    """A scrub does not repair the new folder, which another process has locked."""
    folder, text = f"{drivers[0].root}/{paths.tag(APP, TAG)}", f"{OLD}\n"
    os.close(await asyncio.to_thread(_tag, folder, text))
    revision = link_change(paths.revision_link(APP, OLD), OLD)
    await drivers[0].publish((revision, Put(paths.blob(OLD), b"old")))
    contents, entry = Contents(), CurrentLink(APP, TAG)
    finding = await drivers[1].batch(lambda reader: entry.look(reader, contents))
    assert finding is not None
    mending = Repairer(drivers[1], contents, ReadRate(), may_remove=True).repair(entry, finding)
    fd, working = await _replace_while_it_is_held(drivers, turnstile, text, mending)
    assert await working is None
    assert await drivers[2].read(paths.tag_current_link(APP, TAG)) == text.encode()
    os.close(fd)
