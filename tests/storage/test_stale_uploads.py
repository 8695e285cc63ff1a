"""Abandoned upload sessions are found and removed; others are kept."""

from __future__ import annotations

import os
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.errors import UploadUnknown
from storage.maintenance.stale_uploads import PurgePlan, StaleUpload, execute, plans
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId
from tests.storage.content import APP, OTHER, append, begin, finish, name, push_blob
from tests.storage.examples import MANY
from tests.storage.purging import plan
from tests.support.drivers import AnyDriver

WEEK = 7 * 86_400.0


def _age(files: FilesystemDriver, repository: RepositoryName, id: UploadId, days: int) -> None:
    """Make a session start, and be last active, so many days ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    folder = Path(files.root, paths.upload(repository, id))
    if (folder / "startedat").exists():
        (folder / "startedat").write_text(then.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then.timestamp(), then.timestamp()))


def _ids(plan: PurgePlan) -> set[UploadId]:
    return {upload.id for upload in plan.uploads}


async def test_old_sessions_are_planned_and_removed(files: FilesystemDriver) -> None:
    """Sessions idle for longer than the age are removed and reported with their size."""
    registry = StoredRegistry(files)
    old = await begin(registry.repository(APP), b"0123456789")
    older = await begin(registry.repository(name("a/b/c")), b"01234")
    young = await begin(registry.repository(OTHER), b"x")
    _age(files, APP, old, 8)
    _age(files, name("a/b/c"), older, 100)
    _age(files, OTHER, young, 6)
    planned = await plan(files, WEEK)
    assert {(one.name, one.id, one.size) for one in planned.uploads} == {
        (APP, old, 10),
        (name("a/b/c"), older, 5),
    }
    assert await registry.repository(APP).uploads.length(old) == 10
    assert set(await execute(files, planned)) == set(planned.uploads)
    for repository, id in ((APP, old), (name("a/b/c"), older)):
        assert not await files.exists(paths.upload(repository, id))
        with pytest.raises(UploadUnknown):
            await registry.repository(repository).uploads.length(id)
    assert await registry.repository(OTHER).uploads.length(young) == 1
    assert (await plan(files, WEEK)).uploads == ()


async def test_growth_counts_as_activity(files: FilesystemDriver) -> None:
    """A session that started long ago but grew recently is kept, as is a recent one."""
    repository = StoredRegistry(files).repository(APP)
    grew = await begin(repository, b"0123456789")
    _age(files, APP, grew, 100)
    await append(repository, grew, b"more")
    restored = await begin(repository, b"x")
    os.utime(f"{files.root}/{paths.upload_data(APP, restored)}", (0, 0))
    assert (await plan(files, WEEK)).uploads == ()
    await finish(repository, grew, Digest.of(b"0123456789more"))


async def test_a_session_that_is_written_to_is_kept(
    files: FilesystemDriver, impatient: None
) -> None:
    """A session with a request in progress is kept, however old it is."""
    repository = StoredRegistry(files).repository(APP)
    busy = await begin(repository, b"x")
    idle = await begin(repository, b"y")
    for id in (busy, idle):
        _age(files, APP, id, 100)
    planned = await plan(files, WEEK)
    assert _ids(planned) == {busy, idle}
    async with repository.uploads.open(busy):
        removed = await execute(files, planned)
    assert [one.id for one in removed] == [idle]
    assert await repository.uploads.length(busy) == 1


async def test_a_session_that_ended_meanwhile_is_no_error(files: FilesystemDriver) -> None:
    """Between plan and execution a client may finish or cancel."""
    repository = StoredRegistry(files).repository(APP)
    finished, cancelled = await begin(repository, b"x"), await begin(repository, b"y")
    for id in (finished, cancelled):
        _age(files, APP, id, 100)
    planned = await plan(files, WEEK)
    await finish(repository, finished, Digest.of(b"x"))
    await repository.uploads.cancel(cancelled)
    await execute(files, planned)
    assert await repository.blobs.size(Digest.of(b"x")) == 1
    assert (await plan(files, 0)).uploads == ()


async def test_a_session_continued_after_the_plan_is_kept(files: FilesystemDriver) -> None:
    """A client that continues between plan and execution keeps what it sent."""
    repository = StoredRegistry(files).repository(APP)
    id = await begin(repository, b"old")
    _age(files, APP, id, 100)
    planned = await plan(files, WEEK)
    await append(repository, id, b"new")
    assert await execute(files, planned) == []
    assert await repository.uploads.length(id) == 6


async def test_bare_folders_of_distribution_are_removed(files: FilesystemDriver) -> None:
    """An old folder without startedat or data, which distribution leaves, is removed."""
    ids = [UploadId.new() for _ in range(4)]
    root = Path(files.root, paths.uploads(APP))
    (root / str(ids[0]) / "hashstates/sha256").mkdir(parents=True)
    (root / str(ids[0]) / "hashstates/sha256/0").write_bytes(b"x" * 108)
    (root / str(ids[1])).mkdir()
    (root / str(ids[2])).mkdir()
    (root / str(ids[2]) / "data").write_bytes(b"12345")
    (root / str(ids[3])).mkdir()
    for id in ids[:3]:
        _age(files, APP, id, 8)
    planned = await plan(files, WEEK)
    assert _ids(planned) == set(ids[:3])
    assert len(await execute(files, planned)) == 3
    assert [path.name for path in root.iterdir()] == [str(ids[3])]


async def test_a_plan_has_few_of_many_sessions(files: FilesystemDriver) -> None:
    """All are removed; each plan is carried out before the next one is made."""
    ids = {UploadId.new() for _ in range(600)}
    for id in ids:
        Path(files.root, paths.upload(APP, id)).mkdir(parents=True)
    removed: list[StaleUpload] = []
    async with aclosing(plans(files, -60)) as some:
        async for one in some:
            assert len(one.uploads) <= 256
            removed += await execute(files, one)
    assert len(removed) == len(ids)
    assert {one.id for one in removed} == ids
    assert not await files.batch(lambda reader: reader.names(paths.uploads(APP)))


async def test_the_plans_can_be_closed_early(files: FilesystemDriver) -> None:
    """A server that ends meanwhile leaves no folder open."""
    for _ in range(600):
        Path(files.root, paths.upload(APP, UploadId.new())).mkdir(parents=True)
    async with aclosing(plans(files, -60)) as some:
        removed = await execute(files, await anext(some))
    assert len(removed) + len((await plan(files, -60)).uploads) == 600


async def test_foreign_entries_are_ignored(files: FilesystemDriver, tmp_path: Path) -> None:
    """Stray files, folders of other names and files in place of folders are ignored."""
    repository = StoredRegistry(files).repository(APP)
    old = await begin(repository, b"x")
    odd = UploadId.new()
    await files.write_unsynced(f"{paths.uploads(APP)}/stray", b"")
    await files.write_unsynced(f"{paths.uploads(APP)}/not-an-id/data", b"")
    await files.write_unsynced(f"{paths.uploads(APP)}/{str(UploadId.new()).upper()}/data", b"")
    await files.write_unsynced(
        f"{paths.upload(APP, odd)}/data/inside", b"a folder in place of the data"
    )
    await files.write_unsynced(
        f"{paths.repository(OTHER)}/_uploads", b"a file in place of the folder"
    )
    await files.write_unsynced(f"{paths.REPOSITORIES}/stray", b"")
    await push_blob(repository, b"kept")
    for id in (old, odd):
        _age(files, APP, id, 8)
    removed = await execute(files, await plan(files, WEEK))
    assert old in {one.id for one in removed}
    left = {path.name for path in (tmp_path / paths.uploads(APP)).iterdir()}
    assert {"stray", "not-an-id"} <= left
    assert str(old) not in left
    assert await repository.blobs.size(Digest.of(b"kept")) == 4


async def test_a_session_that_cannot_be_removed_does_not_stop_the_others(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk error is logged with the name of the session; the others are removed."""
    repository = StoredRegistry(files).repository(APP)
    ids = [await begin(repository, b"x") for _ in range(3)]
    for id in ids:
        _age(files, APP, id, 8)
    planned = await plan(files, WEEK)
    bad = planned.uploads[1].id
    open_file = os.open

    def failing_open(path: str, flags: int, mode: int = 0o777) -> int:
        if str(bad) in str(path):
            raise OSError(5, "Input/output error")
        return open_file(path, flags, mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing_open)
        removed = await execute(files, planned)
    assert {one.id for one in removed} == set(ids) - {bad}
    assert str(bad) in caplog.text


STARTED = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=30).map(str.encode),
    st.datetimes().map(lambda at: at.isoformat().encode()),
    st.datetimes().map(lambda at: f"{at.isoformat()}+23:59".encode()),
)


@MANY
@given(started=STARTED)
@example(b"0001-01-01T00:00:00+23:59")
@example(b"9999-12-31T23:59:59-23:59")
@example(b"2024-01-01T00:00:00")
@example(b"")
async def test_any_content_of_startedat_is_accepted(started: bytes) -> None:
    """Whatever the file contains, the plan is made."""
    driver = MemoryDriver()
    await driver.write_unsynced(paths.upload_started(APP, UploadId.new()), started)
    assert len((await plan(driver, WEEK)).uploads) <= 1


async def test_sessions_are_found_over_any_driver(driver: AnyDriver) -> None:
    """A driver without folders finds a session by the files that it started with."""
    repository = StoredRegistry(driver).repository(APP)
    id = await begin(repository, b"x")
    assert (await plan(driver, WEEK)).uploads == ()
    planned = await plan(driver, -60)
    assert _ids(planned) == {id}
    assert isinstance(planned.uploads[0], StaleUpload)
    assert [one.id for one in await execute(driver, planned)] == [id]
    with pytest.raises(UploadUnknown):
        await repository.uploads.length(id)
