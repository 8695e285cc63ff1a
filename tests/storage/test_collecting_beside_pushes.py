"""A push beside a collection, at each of its steps: it is refused, or all of it is kept.

A collection calls the driver step by step. Before each step in turn a client in another process
pushes what the collection is about to delete, in one go or in two parts: then it is held after its
check, until the collection waits for it or is done. All content has an old mtime, so only the order
of steps decides.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from storage.drivers.base import Driver, ExclusiveEditor, FileInfo, Reader, TouchingReader
from storage.drivers.changes import Step
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.wrapping import WrappedDriver
from storage.errors import BlobUnknown, ReferencesUnknown
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.collecting import collect
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    entry,
    image,
    index,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.damaged_pulls import age
from tests.storage.soundness import assert_sound
from tests.storage.turnstile import PausePoint, Turnstile
from tests.support.scratch import scratch_folder

pytestmark = pytest.mark.race

T = TypeVar("T")

Work: TypeAlias = Callable[[StoredRegistry], Awaitable[object]]
Hook: TypeAlias = Callable[[], Awaitable[None]]

SAVED = Tag("saved")


class Stepping(WrappedDriver):
    """Calls `before` in front of each call."""

    def __init__(self, inner: Driver, before: Hook) -> None:
        super().__init__(inner)
        self._before = before

    async def write_unsynced(self, path: str, content: bytes) -> None:
        await self._before()
        await self._inner.write_unsynced(path, content)

    async def stat(self, path: str) -> FileInfo | None:
        await self._before()
        return await self._inner.stat(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        await self._before()
        return await self._inner.batch(job)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        await self._before()
        return await self._inner.exclusively(job)


class Pausing(WrappedDriver):
    """Pauses, once, between a check and the changes that rely on it."""

    def __init__(self, inner: Driver, held: PausePoint) -> None:
        super().__init__(inner)
        self._held = held

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Publish in one go."""

        def stay(reader: TouchingReader) -> None:
            if check is not None:
                check(reader)
                self._held.stay()

        return await self._inner.publish(*steps, check=stay)


async def _untagged_image(registry: StoredRegistry) -> None:
    await push_image(registry.repository(APP))


async def _tag_image(registry: StoredRegistry) -> None:
    await push_manifest(registry.repository(APP), image(), str(SAVED))


async def _loose_blobs(registry: StoredRegistry) -> None:
    for content in (CONFIG, LAYER):
        await push_blob(registry.repository(APP), content)


async def _mount_and_tag(registry: StoredRegistry) -> None:
    for content in (CONFIG, LAYER):
        await registry.repository(OTHER).blobs.mount(Digest.of(content), APP)
    await push_manifest(registry.repository(OTHER), image(), str(SAVED))


async def _upload_and_tag(registry: StoredRegistry) -> None:
    await push_image(registry.repository(APP), str(SAVED))


async def _ask_and_tag(registry: StoredRegistry) -> None:
    """Leave out of a push what a HEAD finds."""
    repository = registry.repository(APP)
    for content in (CONFIG, LAYER):
        try:
            await repository.blobs.size(Digest.of(content))
        except BlobUnknown:
            await push_blob(repository, content)
    await push_manifest(repository, image(), str(SAVED))


async def _untagged_index(registry: StoredRegistry) -> None:
    await _untagged_image(registry)
    await push_manifest(registry.repository(APP), index([raw(image())]))


async def _tag_index(registry: StoredRegistry) -> None:
    await push_manifest(registry.repository(APP), index([raw(image())]), str(SAVED))


async def _untagged_signature(registry: StoredRegistry) -> None:
    await _untagged_image(registry)
    await push_manifest(registry.repository(APP), image([], subject=entry(raw(image()))))


async def _moved_tag(registry: StoredRegistry) -> None:
    repository = registry.repository(APP)
    await push_image(repository, str(SAVED))
    await push_image(repository, str(SAVED), layer=b"else")


@dataclass(frozen=True, slots=True)
class Scenario:
    """Content that is deleted unless `push` keeps it, and whether the push may be refused."""

    prepare: Work
    push: Work
    may_be_refused: bool = True


SCENARIOS = {
    "a tag for an image": Scenario(_untagged_image, _tag_image),
    "a manifest for blobs": Scenario(_loose_blobs, _tag_image),
    "an image that is uploaded again": Scenario(_untagged_image, _upload_and_tag, False),
    "an image of blobs that a HEAD found": Scenario(_untagged_image, _ask_and_tag, False),
    "blobs that are mounted": Scenario(_loose_blobs, _mount_and_tag),
    "a tag for an index": Scenario(_untagged_index, _tag_index),
    "an index over an image": Scenario(_untagged_image, _tag_index),
    "a tag for what was signed": Scenario(_untagged_signature, _tag_image),
    "a tag that moves back": Scenario(_moved_tag, _upload_and_tag, False),
}


@dataclass(slots=True)
class Race:
    """A collection; before its step `at` a push begins, and waits after its check if it is held."""

    root: Path
    scenario: Scenario
    at: int
    held: PausePoint | None
    made: list[FilesystemDriver] = field(default_factory=list)
    steps: int = 0
    pushing: asyncio.Future[object] | None = None

    async def run(self) -> bool:
        """Collect beside the push; return whether that was acknowledged."""
        client, collector = self.made
        await self.scenario.prepare(StoredRegistry(client))
        await asyncio.to_thread(age, self.root)
        await collect(Stepping(collector, self._step), delete_untagged=True)
        if self.pushing is None:
            await self._push()
        assert self.pushing is not None
        self.release()
        try:
            await self.pushing
        except (BlobUnknown, ReferencesUnknown):
            assert self.scenario.may_be_refused
            return False
        return True

    def release(self) -> None:
        """Let the push continue."""
        if self.held is not None:
            self.held.release()

    async def _step(self) -> None:
        self.steps += 1
        if self.steps - 1 == self.at:
            await self._push()

    async def _push(self) -> None:
        """Begin the push; return when it waits after its check or is done."""
        driver: Driver = self.made[0]
        if self.held is not None:
            driver = Pausing(driver, self.held)
        self.pushing = asyncio.ensure_future(self.scenario.push(StoredRegistry(driver)))
        while True:
            if self.pushing.done() or (self.held and self.held.is_inside):
                return
            await asyncio.sleep(0.0005)


@asynccontextmanager
async def race(
    root: Path, scenario: Scenario, at: int, held: PausePoint | None
) -> AsyncIterator[Race]:
    """Yield the drivers of two processes over an empty root."""
    root.mkdir()
    made = await asyncio.to_thread(
        lambda: [FilesystemDriver(root, sync=False, threads=2) for _ in range(2)]
    )
    try:
        yield Race(root, scenario, at, held, made)
    finally:
        for driver in made:
            await driver.close()


async def _assert_kept(driver: Driver, scenario: Scenario) -> None:
    """A client whose push was acknowledged can pull all of it."""
    registry = StoredRegistry(driver)
    name = OTHER if scenario.push is _mount_and_tag else APP
    repository = registry.repository(name)
    saved = (await repository.manifests.get(SAVED)).digest
    assert await driver.stat(paths.tag_index_link(name, SAVED, saved)) is not None
    assert (await repository.manifests.get(Digest.of(raw(image())))).raw == raw(image())
    for content in (CONFIG, LAYER):
        assert await pull_blob(repository, Digest.of(content)) == content
    if scenario.prepare is _untagged_signature:
        page = await repository.referrers.page(Digest.of(raw(image())), None, "", 10)
        assert len(page.entries) <= 1
    await assert_sound(driver)


@pytest.mark.parametrize("is_held", [False, True], ids=["in one go", "held behind its check"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_an_acknowledged_push_is_kept(
    monkeypatch: pytest.MonkeyPatch, scenario: Scenario, is_held: bool
) -> None:
    """At whatever step the push comes, it is refused and changes nothing, or is kept completely."""
    now: list[Race] = []

    def turned_away(name: str, kind: int) -> None:
        # The collection waits for the push; no other process needs the exclusive lock.
        if (name, kind) == ("tree", fcntl.LOCK_EX):
            now[0].release()

    Turnstile(turned_away).put(monkeypatch)
    acknowledged = at = 0
    with scratch_folder() as folder:
        while True:
            held = PausePoint() if is_held else None
            async with race(folder / str(at), scenario, at, held) as one:
                now[:] = [one]
                is_acknowledged = await one.run()
                if is_acknowledged:
                    await _assert_kept(one.made[0], scenario)
                acknowledged += is_acknowledged
            at += 1
            if at > one.steps:
                break
    assert at > 12
    assert acknowledged > 3
