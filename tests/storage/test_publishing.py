"""Publishing files: the tree at every point, and what a failure at any point leaves.

Each test observes every system call that changes the disk, on any thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from storage.values.paths import TRASH
from tests.storage.collecting import collect
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    append,
    entry,
    finish,
    image,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.soundness import assert_sound

pytestmark = pytest.mark.faults

CHANGING = ("rename", "mkdir", "unlink", "rmdir", "fsync", "pwrite", "open")
DERIVED = image(subject=entry(raw(image())))


class Watch:
    """Calls `before` in front of each system call that changes something, if enabled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
        self._before = before
        self._inside = threading.local()
        self.on = False
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            reads = name == "open" and not (isinstance(args[1], int) and args[1] & os.O_CREAT)
            if self.on and not reads and not getattr(self._inside, "it", False):
                self._inside.it = True
                try:
                    self._before(name)
                finally:
                    self._inside.it = False
            return real(*args, **more)

        return call


@pytest.fixture
def new_driver(tmp_path: Path) -> FilesystemDriver:
    """Return a driver over an empty folder."""
    (tmp_path / "root").mkdir()
    return FilesystemDriver(tmp_path / "root", threads=2)


@pytest.fixture
async def driver(new_driver: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield the driver, and close it."""
    yield new_driver
    await new_driver.close()


async def _prepare(driver: FilesystemDriver) -> None:
    await push_image(StoredRegistry(driver).repository(APP), "there")


async def _push(driver: FilesystemDriver, content: bytes) -> None:
    """Push a blob in three requests, and a referrer under an existing tag and a new one."""
    repository = StoredRegistry(driver).repository(APP)
    id = await repository.uploads.start("sha512")
    await append(repository, id, content)
    await finish(repository, id, Digest.of(content))
    await push_manifest(repository, DERIVED, "there", "new")


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("eager_states")
async def test_a_process_may_be_killed_at_any_point(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before each system call of a push the tree is sound, and the push can be repeated."""
    instants: list[Path] = []

    def photograph(_: str) -> None:
        instants.append(tmp_path / f"instant-{len(instants)}")
        shutil.copytree(driver.root, instants[-1])

    watch = Watch(monkeypatch, photograph)
    await _prepare(driver)
    watch.on = True
    await _push(driver, b"new")
    watch.on = False
    assert len(instants) > 60
    for instant in instants:
        again = await asyncio.to_thread(FilesystemDriver, instant, sync=False, threads=2)
        try:
            await assert_sound(again)
            await _push(again, b"new")
            await assert_sound(again)
            await _assert_pushed(again)
        except BaseException as error:
            error.add_note(f"at {instant.name}")
            raise
        finally:
            await again.close()
        await asyncio.to_thread(shutil.rmtree, instant)


async def _assert_pushed(driver: FilesystemDriver) -> None:
    repository = StoredRegistry(driver).repository(APP)
    for tag in ("there", "new"):
        assert (await repository.manifests.get(Tag(tag))).raw == raw(DERIVED)
    for digest in map(Digest.of, (b"new", CONFIG, LAYER)):
        assert await repository.blobs.size(digest) > 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.timeout(180)
async def test_a_failure_at_any_point_leaves_nothing_half_made(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """After one error, at each call in turn, no temporary file is left and a retry succeeds."""
    left = [-1]

    def fail(name: str) -> None:
        left[0] -= 1
        # The cleanup after the failure, and the removal of a session at the end, must not fail.
        if left[0] == 0 and name not in ("unlink", "rmdir"):
            raise OSError(code, os.strerror(code))

    watch = Watch(monkeypatch, fail)
    await _prepare(driver)
    descriptors = len(os.listdir("/proc/self/fd"))
    failures = 0
    for at in range(1, 200):
        left[0], watch.on = at, True
        failed = await _failure(_push(driver, b"new %d" % at))
        watch.on = False
        failures += failed == code
        assert failed in (None, code)
        done = left[0] > 0
        await _assert_tidy(driver)
        await assert_sound(driver)
        await _push(driver, b"new %d" % at)
        await StoredRegistry(driver).repository(APP).tags.delete(Tag("new"))
        if done:
            break
        if at % 10 == 0:  # else each look at the tree takes longer than the one before
            await collect(driver, delete_untagged=False)
    assert failures > 30
    assert len(os.listdir("/proc/self/fd")) == descriptors


async def _failure(work: Awaitable[None]) -> int | None:
    """Return the code of the error that `work` ends with."""
    try:
        await work
    except OSError as error:
        return error.errno
    return None


async def _assert_tidy(driver: FilesystemDriver) -> None:
    """Check that there is no temporary file, no partial folder, and no empty one in a listing."""
    found = await asyncio.to_thread(lambda: sorted(Path(driver.root).rglob("*")))
    names = [str(path.relative_to(driver.root)) for path in found]
    assert [name for name in names if "/.tmp-" in name or name.startswith(f"{TRASH}/")] == []
    for folder in (f"{paths.ROOT}/blobs", paths.manifests(APP), paths.layers(APP)):
        empty = [path for path in (Path(driver.root) / folder).rglob("*") if _is_empty(path)]
        assert empty == []


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


async def test_a_folder_of_a_later_step_may_be_removed_at_any_time(
    driver: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever another process removes the folder of a link, the link is written all the same."""
    layers = Path(driver.root) / paths.layers(APP)
    left = [-1]

    def remove(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            shutil.rmtree(layers, ignore_errors=True)

    watch = Watch(monkeypatch, remove)
    repository = StoredRegistry(driver).repository(APP)
    for at in range(1, 100):
        content = b"blob %d" % at
        left[0], watch.on = at, True
        await push_blob(repository, content)
        watch.on = False
        link = paths.layer_link(APP, Digest.of(content))
        # If the removal follows the link, everything is removed, as it would be a second later.
        assert await driver.exists(link) or not await driver.exists(paths.layers(APP))
        if left[0] > 0:
            break
    assert at > 15
