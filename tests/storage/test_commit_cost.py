"""The cost of a push on the disk, counted: each fsync, rename and new inode is needed.

The reasons are in the table of docs/design.md, with which the numbers are compared here.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from storage.concurrency.threads import Threads
from storage.content.upload_store import WORTH_A_STATE
from storage.drivers.changes import Put
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    append,
    entry,
    finish,
    image,
    name,
    push_blob,
    push_manifest,
    raw,
)

DESIGN = Path(__file__).resolve().parents[2] / "docs" / "design.md"
COUNTED = {
    "fsync": "fsync",
    "rename": "rename",
    "mkdir": "new",
    "open": "new",
    "unlink": "gone",
    "rmdir": "gone",
}
BLOB, NEW = b"a small blob", b"another small blob"


@dataclass
class Meter:
    """Counts calls that change the disk, and hops to worker threads."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str) -> None:
        """Count one call."""
        with self.lock:
            self.counts[kind] += 1

    async def of(self, work: Awaitable[object]) -> tuple[int, ...]:
        """Return the cost of `work`: fsyncs, renames, new inodes, removed names, hops."""
        self.counts.clear()
        await work
        return tuple(self.counts[kind] for kind in ("fsync", "rename", "new", "gone", "hops"))


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """Count successful calls from here on."""
    meter = Meter()

    def counting(call: str, kind: str, real: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **more: object) -> object:
            result = real(*args, **more)
            if call != "open" or (isinstance(args[1], int) and args[1] & os.O_CREAT):
                meter.note(kind)
            return result

        return counted

    for call, kind in COUNTED.items():
        monkeypatch.setattr(os, call, counting(call, kind, getattr(os, call)))
    monkeypatch.setattr(Threads, "run", counting("run", "hops", Threads.run))
    locking = counting("run_locking", "hops", Threads.run_locking)
    monkeypatch.setattr(Threads, "run_locking", locking)
    return meter


@pytest.fixture
def driver(tmp_path: Path) -> FilesystemDriver:
    """Return a driver with fsync on."""
    return FilesystemDriver(tmp_path, threads=4)


@pytest.fixture
async def registry(driver: FilesystemDriver) -> AsyncIterator[StoredRegistry]:
    """Return a registry in which `APP` has an image.

    It has served for a while: the 256 folders of blobs exist, and are known to be durable.
    """
    folders = (f"{paths.ROOT}/blobs/sha256/{number:02x}" for number in range(256))
    await driver.publish(tuple(Put(f"{folder}/stray", b"") for folder in folders))
    registry = StoredRegistry(driver)
    repository = registry.repository(APP)
    for blob in (CONFIG, LAYER):
        await push_blob(repository, blob)
    await push_manifest(repository, image(), "there")
    yield registry
    await driver.close()


Costs: TypeAlias = dict[str, tuple[int, ...]]


async def _costs_of_blobs(meter: Meter, registry: StoredRegistry) -> Costs:
    """Push a blob in three requests, to an existing repository and a new one; mount one."""
    costs: Costs = {}
    for where, blob in ((APP, BLOB), (name("fresh/app"), NEW)):
        repository, kind = registry.repository(where), "known" if where == APP else "new"
        costs[f"`POST`, {kind} repository"] = await meter.of(repository.uploads.start("sha256"))
        id = await repository.uploads.start("sha256")
        costs["`PATCH`, less than 1 MiB"] = await meter.of(append(repository, id, blob))
        costs[f"`PUT`, {kind} repository"] = await meter.of(finish(repository, id, Digest.of(blob)))
    repository = registry.repository(APP)
    id = await repository.uploads.start("sha256")
    costs["`PATCH`, 1 MiB or more, the first"] = await meter.of(
        append(repository, id, b"x" * WORTH_A_STATE)
    )
    await push_blob(registry.repository(OTHER), CONFIG)
    mount = registry.repository(OTHER).blobs.mount(Digest.of(BLOB), APP)
    costs["mount"] = await meter.of(mount)
    return costs


async def _costs_of_manifests(meter: Meter, registry: StoredRegistry) -> Costs:
    """Push manifests under new and existing tags."""
    repository = registry.repository(APP)
    await push_manifest(repository, image(annotations={"has": "referrers"}))
    first = image(subject=entry(raw(image())))
    await push_manifest(repository, first, "there")
    plans = {
        "manifest by digest": (image(annotations={"n": "1"}), ()),
        "manifest, new tag": (image(annotations={"n": "2"}), ("n2",)),
        "manifest, two new tags": (image(annotations={"n": "3"}), ("n3", "n4")),
        "manifest, tag that moves": (image(annotations={"n": "4"}), ("there",)),
        "manifest with a subject, new tag": (
            image(subject=entry(raw(image())), annotations={"n": "5"}),
            ("n5",),
        ),
    }
    return {
        what: await meter.of(push_manifest(repository, document, *tagged))
        for what, (document, tagged) in plans.items()
    }


async def test_a_push_costs_what_the_design_says(meter: Meter, registry: StoredRegistry) -> None:
    """Each request changes the disk exactly as often as documented, and hops as often."""
    found = await _costs_of_blobs(meter, registry) | await _costs_of_manifests(meter, registry)
    documented = _documented(await asyncio.to_thread(DESIGN.read_text))
    assert found == documented


async def test_a_tag_that_this_process_has_set_is_moved_for_the_usual_price(
    meter: Meter, registry: StoredRegistry
) -> None:
    """The folders of a new tag are durable, and are not synced again when it is first moved."""
    repository = registry.repository(APP)
    await push_manifest(repository, image(annotations={"n": "1"}), "fresh")
    for number in ("2", "3"):
        moved = image(annotations={"n": number})
        cost = await meter.of(push_manifest(repository, moved, "fresh"))
        documented = _documented(await asyncio.to_thread(DESIGN.read_text))
        assert cost == documented["manifest, tag that moves"]


def _documented(text: str) -> Costs:
    """Read the rows with a number in each of five columns."""
    number = r" (\d+) \|"
    rows = re.finditer(rf"^\| ([^|]+) \|{number * 5} [^|]+\|$", text, re.MULTILINE)
    return {row[1]: tuple(int(row[column]) for column in range(2, 7)) for row in rows}


async def test_a_folder_is_synced_once(
    meter: Meter, driver: FilesystemDriver, registry: StoredRegistry
) -> None:
    """A folder that this process does not know is synced by the first write below it, once."""
    fresh = await asyncio.to_thread(FilesystemDriver, Path(driver.root), threads=2)
    folder = paths.repository(APP)
    first = await meter.of(fresh.write(f"{folder}/_layers/x/link", b""))
    again = await meter.of(fresh.write(f"{folder}/_layers/y/link", b""))
    other = await meter.of(driver.write(f"{folder}/_layers/z/link", b""))
    await fresh.close()
    depth = len(f"{folder}/_layers/x".split("/"))
    assert first[0] == 2 + depth
    assert again[0] == other[0] == 3


async def test_nothing_is_synced_without_fsync(meter: Meter, tmp_path: Path) -> None:
    """A scratch registry makes the same renames, and never waits for the disk."""
    driver = await asyncio.to_thread(FilesystemDriver, tmp_path, sync=False, threads=2)
    repository = StoredRegistry(driver).repository(APP)
    await push_blob(repository, CONFIG)
    await push_blob(repository, LAYER)
    cost = await meter.of(push_manifest(repository, image(), "v1"))
    await driver.close()
    assert (cost[0], cost[1]) == (0, 3)
