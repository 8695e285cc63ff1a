"""Concurrent pushes, as by several processes: the quota is never exceeded at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from storage.drivers.base import Driver, StagedFile, Staging
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.wrapping import WrappedDriver, WrappedStagedFile, WrappedStaging
from storage.errors import (
    AlreadyRunning,
    BlobUnknown,
    ManifestUnknown,
    QuotaExceeded,
    TooManyUploads,
)
from storage.interfaces import Repository
from storage.repository.quotas import accounts, locks
from storage.repository.quotas.locks import QuotaLocks
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.buffers import Buffer
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from tests.storage.content import APP, OTHER, name, push_blob, push_manifest, raw
from tests.storage.limited import counted, document, limited, on_disk
from tests.storage.streams import stream_of
from tests.storage.turnstile import hold_call
from tests.support.drivers import AnyDriver

QUOTA = 40_000
PIECE = 1_000


class WatchedDriver(WrappedDriver):
    """Checks the usage after each write to a session, before the writer continues."""

    def __init__(self, inner: Driver, name: RepositoryName) -> None:
        super().__init__(inner)
        self.staging = _WatchedStaging(inner.staging, self._look)
        self._name = name
        self.most = 0

    async def _look(self) -> None:
        self.most = max(self.most, await on_disk(self._inner, self._name))


class _WatchedStaging(WrappedStaging):
    def __init__(self, inner: Staging, look: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._look = look

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[StagedFile]:
        async with self._inner.open(path) as staged:
            yield _Watched(staged, self._look)


class _Watched(WrappedStagedFile):
    def __init__(self, inner: StagedFile, look: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._look = look

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        await super().append(data, observe)
        await self._look()


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserve little at a time, or the first upload would get all of so small a quota."""
    monkeypatch.setattr(accounts, "_LEAST_AHEAD", PIECE)


def _repositories(watched: WatchedDriver, most: int = QUOTA) -> list[Repository]:
    """Open it as three processes would."""
    return [limited(watched, most).repository(APP) for _ in range(3)]


async def _push(repository: Repository, number: int, pieces: int, *, announced: bool) -> bool:
    content = bytes([number]) * PIECE
    id = await repository.uploads.start("sha256")
    try:
        async with repository.uploads.open(id) as session:
            chunk = DeclaredRange(announced=pieces * PIECE if announced else None)
            await session.append(stream_of(*[content] * pieces), chunk)
            await asyncio.sleep(0)
            await session.commit(Digest.of(content * pieces))
    except QuotaExceeded:
        return False
    return True


@pytest.mark.usefixtures("small_shares")
@pytest.mark.parametrize("announced", [True, False])
async def test_blobs_pushed_concurrently(driver: AnyDriver, *, announced: bool) -> None:
    """Far more than fits; what is admitted is complete, and the quota holds on the way."""
    watched = WatchedDriver(driver, APP)
    repositories = _repositories(watched)
    pushes = [
        _push(repositories[number % 3], number, 1 + number % 7, announced=announced)
        for number in range(40)
    ]
    let_in = await asyncio.gather(*pushes)
    there = PIECE * sum(1 + number % 7 for number, was in enumerate(let_in) if was)
    assert await on_disk(driver, APP) == await counted(driver, APP) == there
    assert 0 < watched.most <= QUOTA
    assert any(let_in)
    assert not all(let_in)


async def test_layers_of_undeclared_length_fit_together_near_the_limit(driver: AnyDriver) -> None:
    """The first of them does not reserve all that is left: Docker pushes layers concurrently."""
    uploads = limited(driver, 200_000).repository(APP).uploads
    content = b"layer" * 1000
    async with AsyncExitStack() as stack:
        for _ in range(5):
            id = await uploads.start("sha256")
            session = await stack.enter_async_context(uploads.open(id))
            await session.append(stream_of(content), DeclaredRange())
            stack.push_async_callback(session.commit, Digest.of(content))


async def test_uploads_that_fit_together_are_admitted_together(driver: AnyDriver) -> None:
    """To the last byte, if clients declare the length: no commit counts twice."""
    repositories = _repositories(WatchedDriver(driver, APP))
    pushes = [_push(repositories[at % 3], at, 4, announced=True) for at in range(10)]
    assert all(await asyncio.gather(*pushes))
    assert await on_disk(driver, APP) == QUOTA


async def test_all_kinds_of_growth_concurrently(driver: AnyDriver) -> None:
    """Uploads, mounts and manifests, with deletions in between: the sum never exceeds the quota."""
    source = StoredRegistry(driver).repository(OTHER)
    blobs = [await push_blob(source, bytes([at]) * (3000 + at)) for at in range(100, 110)]
    size = len(raw(document(0)))
    most = 20_000 + 5 * size
    repositories = _repositories(WatchedDriver(driver, APP), most)
    ended = False
    seen: list[int] = []

    async def watch() -> None:
        while not ended:
            seen.append(await counted(driver, APP))
            await asyncio.sleep(0)

    async def one(at: int) -> None:
        repository = repositories[at % 3]
        blob = blobs[at % 10]
        with suppress(QuotaExceeded, BlobUnknown, ManifestUnknown):
            await repository.blobs.mount(blob, OTHER)
        with suppress(QuotaExceeded):
            await push_manifest(repository, document(at % 9), f"v{at}")
        await _push(repository, at, 2, announced=bool(at % 2))
        if at % 3 == 0:
            with suppress(BlobUnknown):
                await repository.blobs.delete(blob)
        if at % 4 == 0:
            with suppress(ManifestUnknown):
                await repository.manifests.delete(Digest.of(raw(document(at % 9))))
        seen.append(await on_disk(driver, APP))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*map(one, range(30)))
    ended = True
    await watching
    assert await on_disk(driver, APP) == await counted(driver, APP) <= most
    assert len(seen) > 30


async def test_concurrent_manifests_and_mounts_are_as_many_as_fit(driver: AnyDriver) -> None:
    """Not one more and, since they wait for each other, not one less."""
    size = len(raw(document(0)))
    source = StoredRegistry(driver).repository(OTHER)
    blobs = [await push_blob(source, bytes([at]) * size) for at in range(10)]
    repositories = _repositories(WatchedDriver(driver, APP), 12 * size)
    growing = [push_manifest(repositories[at % 3], document(at)) for at in range(10)]
    mounts = [repositories[at % 3].blobs.mount(blobs[at], OTHER) for at in range(10)]
    done = await asyncio.gather(*growing, *mounts, return_exceptions=True)
    assert sum(isinstance(one, QuotaExceeded) for one in done) == 8
    assert await on_disk(driver, APP) == 12 * size


async def test_concurrently_started_uploads_are_as_many_as_allowed(driver: AnyDriver) -> None:
    """By any number of processes."""
    registries = [limited(driver, uploads=5) for _ in range(3)]
    starts = [registries[at % 3].repository(APP).uploads.start("sha256") for at in range(20)]
    done = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(one, TooManyUploads) for one in done) == 15


async def test_a_blob_counts_while_it_is_committed(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the moment when it is no longer in a session and not yet a member."""
    blob = Digest.of(bytes([1]) * 30 * PIECE)
    held = hold_call(monkeypatch, "rename", paths.layer_link(APP, blob))
    repository = limited(files, QUOTA).repository(APP)
    push = asyncio.create_task(_push(repository, 1, 30, announced=True))
    await held.entered(push)
    assert await on_disk(files, APP) == 0
    assert await counted(files, APP) == 30 * PIECE
    other = limited(files, QUOTA).repository(APP)
    assert not await _push(other, 2, 11, announced=True)
    assert await _push(other, 2, 10, announced=True)
    held.release()
    assert await push
    assert await on_disk(files, APP) == await counted(files, APP) == QUOTA


async def test_a_cancelled_request_has_its_turn_until_it_is_done(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it writes is written all the same, and must be counted."""
    size = len(raw(document(0)))
    link = paths.revision_link(APP, Digest.of(raw(document(1))))
    held = hold_call(monkeypatch, "rename", link)
    first, second = (limited(files, size).repository(APP) for _ in range(2))
    cancelled = asyncio.create_task(push_manifest(first, document(1)))
    await held.entered(cancelled)
    cancelled.cancel()
    waiting = asyncio.create_task(push_manifest(second, document(2)))
    await asyncio.wait([waiting], timeout=0.1)
    held.release()
    with pytest.raises(QuotaExceeded):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await on_disk(files, APP) == size


async def test_the_lock_has_one_holder_at_a_time(driver: AnyDriver) -> None:
    """In one process and across processes; failed and cancelled requests release it."""
    here, there = QuotaLocks(driver), QuotaLocks(driver)
    inside = 0

    async def take(some: QuotaLocks, at: int) -> None:
        nonlocal inside
        async with some.of(APP):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            inside -= 1
            if at % 5 == 0:
                raise ValueError

    done = await asyncio.gather(
        *(take((here, there)[at % 2], at) for at in range(20)), return_exceptions=True
    )
    assert [at for at, one in enumerate(done) if one is not None] == [0, 5, 10, 15]


@pytest.fixture
async def taken(driver: AnyDriver) -> AsyncIterator[QuotaLocks]:
    """Give the locks of a process while another process holds that of a repository."""
    async with QuotaLocks(driver).of(APP):
        yield QuotaLocks(driver)


async def test_no_request_waits_for_the_turn_of_another_repository(driver: AnyDriver) -> None:
    """Whatever it is called: a pusher who could share a stranger's turn could keep it."""
    turns, others = QuotaLocks(driver), QuotaLocks(driver)
    async with turns.of(APP), asyncio.timeout(30):
        for number in range(300):
            async with turns.of(name(f"a/{number}")):
                pass
            async with others.of(name(f"b/{number}")):
                pass


async def test_a_request_that_waits_too_long_for_a_turn_gives_up(
    taken: QuotaLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is told, as of every lock; the turns of other repositories are others."""
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="timed out waiting for the lock"):
        async with taken.of(APP):
            raise AssertionError
    with suppress(AlreadyRunning):
        async with taken.of(name("another/one")):
            pass


async def test_waiting_for_earlier_requests_counts(
    taken: QuotaLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request behind another one times out, even while that one still waits."""
    first = asyncio.create_task(_turn(taken))
    await asyncio.sleep(0)
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="timed out waiting for the lock"):
        await _turn(taken)
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])


async def _turn(some: QuotaLocks) -> None:
    async with some.of(APP):
        raise AssertionError
