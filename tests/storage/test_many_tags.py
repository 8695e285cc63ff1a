"""Deletion of a manifest with many tags: in several steps, but atomic for readers."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from storage.content import deletions
from storage.content.links import link_change
from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import ManifestUnknown
from storage.interfaces import Repository
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, entry, image, push_image, push_manifest, raw
from tests.storage.scrubbing import Around, scrub
from tests.storage.test_hidden import unmount_its_revisions
from tests.storage.test_scrub import FailingReads
from tests.storage.wrappers import Change, T
from tests.support.drivers import AnyDriver

TAGS = [f"v{number}" for number in range(7)]
DIGEST = Digest.of(raw(image()))
OTHER = image(annotations={"is": "another"})
REFERRER = image(annotations={"refers": "yes"}, subject=entry(raw(OTHER)))
REFERRING = Digest.of(raw(REFERRER))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one step remove two tags, so that three are many."""
    monkeypatch.setattr(deletions, "AT_ONCE", 2)


@pytest.fixture
def nothing_blocks() -> None:
    """Disable the guard that checks each read: there are very many here."""


async def _prepare(driver: Driver) -> Repository:
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, *TAGS)
    await push_manifest(repository, OTHER, "other")
    return repository


async def _listed(repository: Repository) -> list[str]:
    return [tag.text for tag in (await repository.tags.page("", None)).entries]


async def _answers(repository: Repository, reference: Digest | Tag) -> bool:
    with suppress(ManifestUnknown):
        await repository.manifests.get(reference)
        return True
    return False


class Watched(Around):
    """Calls `look` after each change."""

    def __init__(self, inner: Driver, look: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self.exclusive = 0
        self._look = look

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Look after the change."""
        done = await carry_out()
        self.exclusive += change.kind == "exclusive"
        await self._look()
        return done


async def test_readers_lose_a_manifest_and_all_its_tags_atomically(driver: AnyDriver) -> None:
    """It can be listed and pulled by tag and digest, or not at all, at every step."""
    reader = await _prepare(driver)
    states: list[bool] = []

    async def look() -> None:
        there = await _answers(reader, DIGEST)
        assert await _listed(reader) == ["other", *(TAGS if there else [])]
        assert {await _answers(reader, Tag(text)) for text in TAGS} == {there}
        states.append(there)

    watched = Watched(driver, look)
    await StoredRegistry(watched).repository(APP).manifests.delete(DIGEST)
    assert watched.exclusive >= 4, "it was to take several parts"
    assert states == sorted(states, reverse=True)
    assert (states[0], states[-1]) == (True, False)
    assert await driver.batch(lambda tree: tree.names(paths.deletions(APP))) == []


async def test_a_page_of_tags_is_full_beside_a_deletion(driver: AnyDriver) -> None:
    """Skipped tags do not count towards the limit."""
    reader = await _prepare(driver)
    await push_manifest(reader, OTHER, "v3-of-another")

    async def look() -> None:
        if not await _answers(reader, DIGEST):
            page = await reader.tags.page("o", 1)
            assert ([tag.text for tag in page.entries], page.more) == (["other"], True)
            page = await reader.tags.page("other", 1)
            assert ([tag.text for tag in page.entries], page.more) == (["v3-of-another"], False)

    await StoredRegistry(Watched(driver, look)).repository(APP).manifests.delete(DIGEST)


async def test_a_note_that_is_being_written_is_not_called_damaged(
    driver: AnyDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """A listing or a push at that moment logs nothing about it."""
    reader = await _prepare(driver)
    await driver.write(f"{paths.deletions(APP)}/{paths.temporary()}", b"")
    assert await _listed(reader) == ["other", *TAGS]
    await push_manifest(reader, image(), "new")
    assert caplog.messages == []


async def test_a_scrub_beside_a_deletion_finds_nothing(driver: AnyDriver) -> None:
    """Tags that are about to be removed are no damage."""
    await _prepare(driver)

    async def look() -> None:
        findings, _ = await scrub(driver)
        assert findings == []

    await StoredRegistry(Watched(driver, look)).repository(APP).manifests.delete(DIGEST)


async def test_a_push_of_the_same_manifest_brings_no_old_tag_back(driver: AnyDriver) -> None:
    """At any moment: once the deletion has begun, the push completes it first."""
    reader, pushed = StoredRegistry(driver).repository(APP), list[int]()
    for at in (1, 2, 3, 5, 6):
        await _prepare(driver)
        steps: list[int] = []

        async def look(at: int = at, steps: list[int] = steps) -> None:
            steps.append(1)
            if len(steps) == at:
                is_gone = not await _answers(reader, DIGEST)
                await push_manifest(reader, image(), "new")
                if is_gone:
                    pushed.append(at)
                    assert await _listed(reader) == ["new", "other"]

        await StoredRegistry(Watched(driver, look)).repository(APP).manifests.delete(DIGEST)
        stays = at in pushed
        assert await _listed(reader) == (["new", "other"] if stays else ["other"])
        assert await _answers(reader, DIGEST) is stays
        with suppress(ManifestUnknown):
            await reader.manifests.delete(DIGEST)
    assert pushed == [2, 3, 5, 6]


@contextmanager
def _failing(monkeypatch: pytest.MonkeyPatch, at: int, root: Path) -> Iterator[list[str]]:
    """Make every open and rename below `root` fail, from the call number `at` on."""
    calls: list[str] = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *more: Any, **others: Any) -> Any:
            if str(path).startswith(str(root)):
                calls.append(path)
                if len(calls) > at:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return real(path, *more, **others)

        return call

    with monkeypatch.context() as patched:
        for name in ("open", "rename"):
            patched.setattr(os, name, counted(getattr(os, name)))
        yield calls


@pytest.mark.parametrize("number", [1, len(TAGS)])
async def test_a_deletion_without_descriptors_is_completed_by_its_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, nothing_blocks: None
) -> None:
    """Whichever call fails, each listed tag can be pulled; the repetition completes it."""
    failures = 0
    for at in range(0, 400, 3):
        root = tmp_path / str(at)
        root.mkdir()
        driver = FilesystemDriver(root, sync=False, threads=1)
        repository = StoredRegistry(driver).repository(APP)
        await push_image(repository)
        await push_manifest(repository, OTHER, "other")
        await push_manifest(repository, REFERRER, *TAGS[:number])
        with _failing(monkeypatch, at, root) as calls, suppress(OSError):
            await repository.manifests.delete(REFERRING)
        failures += len(calls) > at
        fresh = StoredRegistry(driver).repository(APP)
        for text in await _listed(fresh):
            assert await _answers(fresh, Tag(text)), (at, text)
        with suppress(ManifestUnknown):
            await fresh.manifests.delete(REFERRING)
        assert await _listed(fresh) == ["other"]
        assert not await _answers(fresh, REFERRING)
        assert os.listdir(root / paths.tags(APP)) == ["other"]
        assert not (root / paths.deletions(APP)).exists()
        assert (await fresh.referrers.page(Digest.of(raw(OTHER)), None, "", 9)).entries == ()
        await driver.close()
        if len(calls) <= at:
            break
    assert failures > 3, "nothing failed"
    assert len(calls) <= at, "no deletion ran to its end"


async def test_a_collection_completes_an_interrupted_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_blocks: None
) -> None:
    """No client has to repeat it: its tags and its note are removed."""
    driver = FilesystemDriver(tmp_path, sync=False, threads=1)
    repository = await _prepare(driver)
    parts: list[int] = []

    async def cut_off() -> None:
        parts.append(1)
        if len(parts) == 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OSError, match="open files"):
        await StoredRegistry(Watched(driver, cut_off)).repository(APP).manifests.delete(DIGEST)
    assert len(os.listdir(tmp_path / paths.tags(APP))) > 1
    assert await _listed(repository) == ["other"]
    for note in (tmp_path / paths.deletions(APP)).iterdir():
        os.utime(note, (0, 0))
    async with planned(driver, Options(60.0)) as plan:
        await carry_out(driver, plan)
    assert os.listdir(tmp_path / paths.tags(APP)) == ["other"]
    assert not (tmp_path / paths.deletions(APP)).exists()
    await driver.close()


async def test_a_collection_continues_where_a_deletion_cannot_be_completed(
    tmp_path: Path, nothing_blocks: None
) -> None:
    """An unreadable link is one failure among others, and everything else is collected."""
    driver = FilesystemDriver(tmp_path, sync=False, threads=1)
    await _prepare(driver)
    await _leave_a_note(driver)
    failing = FailingReads(driver, {paths.revision_link(APP, DIGEST)})
    async with planned(failing, Options(60.0)) as plan:
        swept = await carry_out(failing, plan)
    assert any(paths.tags(APP) in failure for failure in swept.failed)
    assert sorted(os.listdir(tmp_path / paths.tags(APP))) == sorted(["other", *TAGS])
    await driver.close()


async def test_a_collection_skips_deletions_while_manifests_are_hidden(
    tmp_path: Path, nothing_blocks: None
) -> None:
    """A deletion was interrupted before it began: its tags point to a disk that is not mounted."""
    (tmp_path / "root").mkdir()
    driver = FilesystemDriver(tmp_path / "root", sync=False, threads=1)
    await _prepare(driver)
    await _leave_a_note(driver)
    unmount_its_revisions(Path(driver.root) / paths.REPOSITORIES)
    async with planned(driver, Options(60.0)) as plan:
        assert plan.coverage.is_hidden
        await carry_out(driver, plan)
    tags = Path(driver.root) / paths.tags(APP)
    assert sorted(os.listdir(tags)) == sorted(["other", *TAGS])
    await driver.close()


async def _leave_a_note(driver: FilesystemDriver) -> None:
    """Leave an old note of a deletion that was interrupted before it removed anything."""
    note = f"{paths.deletions(APP)}/{uuid.uuid4().hex}"
    await driver.publish((link_change(note, DIGEST),))
    os.utime(Path(driver.root) / note, (0, 0))
