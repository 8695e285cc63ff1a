"""A repository with a quota never exceeds it, and refuses nothing that would fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.drivers.base import Driver
from storage.errors import (
    BlobUnknown,
    DigestInvalid,
    QuotaExceeded,
    TooManyUploads,
    UploadUnknown,
)
from storage.interfaces import Repository
from storage.repository.quotas import LimitedRegistry, Limits
from storage.repository.quotas.members import PartCache, content_at
from storage.repository.quotas.usage import Reservation, read_usage
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId
from tests.storage.content import (
    APP,
    LAYER,
    OTHER,
    append,
    begin,
    finish,
    name,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.examples import SOME
from tests.storage.limited import counted, document, limited, on_disk
from tests.storage.streams import broken_after, cancelled_after, stream_of
from tests.support.drivers import AnyDriver

QUOTA = 1000
MANIFEST = len(raw(document(0)))
ANNOUNCED = pytest.mark.parametrize("announced", [True, False])
_names = count()


async def _append(repository: Repository, id: UploadId, content: bytes, *, announced: bool) -> None:
    chunk = DeclaredRange(announced=len(content) if announced else None)
    pieces = [content[at : at + 100] for at in range(0, len(content), 100)]
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(*pieces), chunk)


async def _is_gone(repository: Repository, id: UploadId) -> bool:
    try:
        await repository.uploads.length(id)
    except UploadUnknown:
        return True
    return False


def _let_in_if(fits: bool) -> AbstractContextManager[object]:
    return nullcontext() if fits else pytest.raises(QuotaExceeded)


class Model:
    """The expected content of a repository; each step changes both the model and the repository."""

    def __init__(self, driver: Driver) -> None:
        self.name = name(f"modelled/{next(_names)}")
        self.driver = driver
        self.registry = limited(driver, QUOTA)
        self.blobs: set[bytes] = set()
        self.manifests: set[int] = set()
        self.sessions: dict[UploadId, bytes] = {}

    @property
    def repository(self) -> Repository:
        return self.registry.repository(self.name)

    @property
    def used(self) -> int:
        blobs = sum(map(len, self.blobs)) + MANIFEST * len(self.manifests)
        return blobs + sum(map(len, self.sessions.values()))

    def session(self, at: int) -> UploadId | None:
        ids = sorted(self.sessions, key=str)
        return ids[at % len(ids)] if ids else None

    async def start(self, _: int, __: int) -> None:
        self.sessions[await self.repository.uploads.start("sha256")] = b""

    async def append(self, at: int, size: int, *, announced: bool = True) -> None:
        id = self.session(at)
        if id is None:
            return
        fits = self.used + size <= QUOTA
        with _let_in_if(fits):
            await _append(self.repository, id, b"x" * size, announced=announced)
        if fits:
            self.sessions[id] += b"x" * size
        else:
            del self.sessions[id]

    async def stream(self, at: int, size: int) -> None:
        await self.append(at, size, announced=False)

    async def commit(self, at: int, size: int) -> None:
        id = self.session(at)
        if id is None:
            return
        content = self.sessions.pop(id)
        if size % 5 == 0:
            with pytest.raises(DigestInvalid):
                await finish(self.repository, id, Digest.of(b"something else"))
            return
        await finish(self.repository, id, Digest.of(content))
        self.blobs.add(content)

    async def cancel(self, at: int, _: int) -> None:
        id = self.session(at)
        if id is not None:
            await self.repository.uploads.cancel(id)
            del self.sessions[id]

    async def mount(self, _: int, size: int) -> None:
        content = b"x" * size
        digest = await push_blob(StoredRegistry(self.driver).repository(OTHER), content)
        fits = content in self.blobs or self.used + size <= QUOTA
        with _let_in_if(fits):
            await self.repository.blobs.mount(digest, OTHER)
        self.blobs |= {content} if fits else set()

    async def put(self, at: int, _: int) -> None:
        number = at % 20
        fits = number in self.manifests or self.used + MANIFEST <= QUOTA
        with _let_in_if(fits):
            await push_manifest(self.repository, document(number), f"tag{at}")
        self.manifests |= {number} if fits else set()

    async def delete_blob(self, at: int, _: int) -> None:
        if self.blobs:
            content = sorted(self.blobs)[at % len(self.blobs)]
            await self.repository.blobs.delete(Digest.of(content))
            self.blobs.remove(content)

    async def delete_manifest(self, at: int, _: int) -> None:
        if self.manifests:
            number = sorted(self.manifests)[at % len(self.manifests)]
            await self.repository.manifests.delete(Digest.of(raw(document(number))))
            self.manifests.remove(number)


STEPS = [
    Model.start,
    Model.append,
    Model.append,
    Model.stream,
    Model.commit,
    Model.commit,
    Model.cancel,
    Model.mount,
    Model.put,
    Model.delete_blob,
    Model.delete_manifest,
]


@SOME
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 40), st.integers(0, 700))))
async def test_a_repository_never_exceeds_its_quota_and_refuses_only_what_exceeds_it(
    driver: AnyDriver, steps: list[tuple[object, int, int]]
) -> None:
    """After each step the content, the counted usage and the expectation agree."""
    model = Model(driver)
    await model.start(0, 0)
    for step, at, size in steps:
        assert callable(step)
        await step(model, at, size)
        there = await on_disk(driver, model.name)
        assert there == await counted(driver, model.name) == model.used <= QUOTA


@ANNOUNCED
async def test_an_upload_that_does_not_fit_ends(driver: AnyDriver, *, announced: bool) -> None:
    """Its bytes are free again immediately, so retries never add up."""
    repository = limited(driver, QUOTA).repository(APP)
    for _ in range(5):
        id = await begin(repository, b"a" * 600)
        with pytest.raises(QuotaExceeded):
            await _append(repository, id, b"b" * 500, announced=announced)
        assert await _is_gone(repository, id)
        assert await on_disk(driver, APP) == await counted(driver, APP) == 0
    await push_blob(repository, b"a" * QUOTA)


async def test_a_declared_body_that_does_not_fit_is_not_read(driver: AnyDriver) -> None:
    """Not a byte of it, whether Content-Length or Content-Range declares it."""
    repository = limited(driver, QUOTA).repository(APP)

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    for chunk in (DeclaredRange(announced=QUOTA + 1), DeclaredRange(0, QUOTA + 1)):
        id = await repository.uploads.start("sha256")
        async with repository.uploads.open(id) as session:
            with pytest.raises(QuotaExceeded) as refusal:
                await session.append(unread(), chunk)
        assert (refusal.value.most, refusal.value.used, refusal.value.more) == (1000, 0, 1001)


async def test_a_stream_is_cut_where_the_quota_is_reached(driver: AnyDriver) -> None:
    """Nothing is requested after the piece that did not fit."""
    repository = limited(driver, QUOTA).repository(APP)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 100
            yield b"x" * 100

    id = await repository.uploads.start("sha256")
    async with repository.uploads.open(id) as session:
        with pytest.raises(QuotaExceeded):
            await session.append(endless(), DeclaredRange())
    assert read == QUOTA + 100


async def test_the_refusal_says_how_much_there_is(driver: AnyDriver) -> None:
    """In words for a user of docker."""
    repository = limited(driver, 2_000_000).repository(APP)
    await push_blob(repository, b"a" * 1_500_000)
    with pytest.raises(QuotaExceeded) as refusal:
        await push_blob(repository, b"b" * 600_000)
    said = "repository library/app may hold 2 MB and holds 1.5 MB: another 600 kB do not fit"
    assert str(refusal.value) == said


@ANNOUNCED
async def test_a_full_repository_is_pushed_to_again(driver: AnyDriver, *, announced: bool) -> None:
    """Existing content costs nothing: mounts, manifests, moved tags; and deleting frees space."""
    await push_blob(limited(driver).repository(OTHER), LAYER)
    size = len(LAYER) + 2 * MANIFEST
    repository = limited(driver, size).repository(APP)
    layer = await push_blob(repository, LAYER)
    first = await push_manifest(repository, document(1), "v1")
    second = await push_manifest(repository, document(2), "v2")
    assert await counted(driver, APP) == size
    await repository.blobs.mount(layer, OTHER)
    assert await push_manifest(repository, document(1), "v2", "v3") == first
    with pytest.raises(QuotaExceeded):
        await push_manifest(repository, document(3), "v1")
    await repository.manifests.delete(second)
    await push_manifest(repository, document(3), "v1")
    await repository.blobs.delete(layer)
    id = await repository.uploads.start("sha256")
    await _append(repository, id, LAYER, announced=announced)
    await finish(repository, id, layer)
    assert await pull_blob(repository, layer) == LAYER


async def test_an_existing_blob_is_committed_again(driver: AnyDriver) -> None:
    """If its bytes fit beside it; it counts once."""
    repository = limited(driver, QUOTA).repository(APP)
    for _ in range(3):
        await push_blob(repository, b"a" * 500)
        assert await counted(driver, APP) == 500


async def test_a_blob_under_a_lowered_quota(driver: AnyDriver) -> None:
    """An upload that would have fitted is refused and ends; existing content is served."""
    before, after = limited(driver, QUOTA).repository(APP), limited(driver, 500).repository(APP)
    there = await push_blob(before, b"a" * 600)
    upload, again = await begin(before, b"b" * 100), await begin(before, b"a" * 100)
    with pytest.raises(QuotaExceeded):
        await finish(after, upload, Digest.of(b"b" * 100))
    assert await _is_gone(after, upload)
    await push_blob(before, b"a" * 100)
    await finish(after, again, Digest.of(b"a" * 100))
    assert await pull_blob(after, there) == b"a" * 600


async def test_a_mount_that_does_not_fit_is_refused(driver: AnyDriver) -> None:
    """It does not become an upload, and writes no link; a blob that its source lacks is unknown."""
    await push_blob(limited(driver).repository(OTHER), b"a" * (QUOTA + 1))
    repository = limited(driver, QUOTA).repository(APP)
    with pytest.raises(QuotaExceeded):
        await repository.blobs.mount(Digest.of(b"a" * (QUOTA + 1)), OTHER)
    with pytest.raises(BlobUnknown):
        await repository.blobs.mount(Digest.of(b"b"), OTHER)
    assert await counted(driver, APP) == 0


async def test_each_repository_has_a_quota_of_its_own(driver: AnyDriver) -> None:
    """Also a nested one; a repository without limits is not wrapped."""

    def limits(repository: RepositoryName) -> Limits:
        return Limits() if repository == OTHER else Limits(bytes=QUOTA)

    registry = LimitedRegistry(StoredRegistry(driver), driver, limits)
    for text in ("app", "app/below", "app-too"):
        await push_blob(registry.repository(name(text)), b"a" * QUOTA)
    await push_blob(registry.repository(OTHER), b"a" * QUOTA * 2)
    assert type(registry.repository(OTHER)) is type(StoredRegistry(driver).repository(OTHER))
    assert await registry.holders(Digest.of(b"a" * QUOTA * 2)) == [OTHER]


async def test_tags_that_may_not_be_moved_stay(driver: AnyDriver) -> None:
    """The wrapper passes on whether the caller may move tags."""
    registry = limited(driver, QUOTA)
    await push_manifest(registry.repository(APP), document(1), "v1")
    with pytest.raises(Exception, match="may not be moved"):
        await push_manifest(registry.repository(APP, moves_tags=False), document(2), "v1")


async def test_the_number_of_uploads_is_limited(driver: AnyDriver) -> None:
    """Abandoned uploads count too; each that ends allows another one."""
    registry = limited(driver, uploads=2)
    repository = registry.repository(APP)
    first, second = await begin(repository, b"a"), await begin(repository, b"b")
    with pytest.raises(TooManyUploads, match="library/app already has 2 uploads in progress"):
        await repository.uploads.start("sha256")
    await finish(repository, first, Digest.of(b"a"))
    third = await begin(repository, b"c")
    with pytest.raises(TooManyUploads):
        await repository.uploads.start("sha256")
    await repository.uploads.cancel(second)
    await repository.uploads.start("sha256")
    await append(repository, third, b"c" * 5000)
    await registry.repository(OTHER).uploads.start("sha256")


async def test_a_client_that_leaves_keeps_what_arrived_and_nothing_more(driver: AnyDriver) -> None:
    """What was reserved beyond that is free again."""
    repository = limited(driver, QUOTA).repository(APP)
    id = await repository.uploads.start("sha256")
    async with repository.uploads.open(id) as session:
        with suppress(ConnectionError):
            gone = broken_after([b"a" * 100], ConnectionError())
            await session.append(gone, DeclaredRange(announced=900))
    assert await counted(driver, APP) == 100
    await _append(repository, id, b"a" * 900, announced=True)


@ANNOUNCED
async def test_wherever_a_request_is_cancelled_no_reservation_stays(
    driver: AnyDriver, *, announced: bool
) -> None:
    """Nor does any request keep waiting for the lock."""
    repository = limited(driver, QUOTA).repository(APP)

    async def push(id: UploadId) -> None:
        await _append(repository, id, b"a" * 900, announced=announced)
        await finish(repository, id, Digest.of(b"a" * 900))

    for ticks in range(60):
        id = await repository.uploads.start("sha256")
        await cancelled_after(ticks, push(id))
        assert await counted(driver, APP) == await on_disk(driver, APP)
        with suppress(UploadUnknown):
            await repository.uploads.cancel(id)
        with suppress(BlobUnknown):
            await repository.blobs.delete(Digest.of(b"a" * 900))


async def test_what_a_crash_leaves_counts_until_the_session_ends(driver: AnyDriver) -> None:
    """A reservation that was not released; a damaged one does not count."""
    repository = limited(driver, QUOTA).repository(APP)
    id = await begin(repository, b"a" * 100)
    for content, size in (
        (b"700 ", 700),
        (bytes(Reservation(50)), 100),
        (b"", 100),
        (b"\xff\0", 100),
    ):
        await driver.write_unsynced(paths.upload_reserved(APP, id), content)
        assert await counted(driver, APP) == size
    await driver.write_unsynced(paths.upload_reserved(APP, id), b"700 ")
    await append(repository, id, b"a" * 900)
    assert await counted(driver, APP) == QUOTA


async def test_a_reservation_blocks_no_request_once_its_session_is_unlocked(
    driver: AnyDriver,
) -> None:
    """A killed worker leaves one; while the session is locked it counts."""
    repository = limited(driver, QUOTA).repository(APP)
    id = await begin(repository, b"a" * 100)
    await driver.write_unsynced(paths.upload_reserved(APP, id), b"900 ")
    async with repository.uploads.open(id):
        with pytest.raises(QuotaExceeded, match="holds 900 B"):
            await push_blob(repository, b"b" * 500)
    await push_blob(repository, b"b" * 500)
    with pytest.raises(QuotaExceeded, match="holds 600 B"):
        await push_blob(repository, b"c" * 500)


async def test_a_digest_in_a_reservation_makes_no_member(driver: AnyDriver) -> None:
    """After a wrong digest, or a crash, a reservation may name any blob."""
    source = limited(driver).repository(OTHER)
    digest = await push_blob(source, b"a" * 600)
    repository = limited(driver, QUOTA).repository(APP)
    await push_blob(repository, b"b" * 500)
    note = paths.upload_reserved(APP, UploadId.new())
    await driver.write_unsynced(note, bytes(Reservation(10, digest)))
    assert await counted(driver, APP) == 510
    with pytest.raises(QuotaExceeded):
        await repository.blobs.mount(digest, OTHER)
    await repository.blobs.delete(Digest.of(b"b" * 500))
    await repository.blobs.mount(digest, OTHER)
    assert await counted(driver, APP) == 600


async def test_what_distribution_leaves_behind_counts_for_nothing(driver: AnyDriver) -> None:
    """Links without content, empty links, and folders without a link do not lead to a refusal."""
    registry = limited(driver, QUOTA)
    repository, part_cache = registry.repository(APP), PartCache()
    for at, size in enumerate((100, 200, 300, 400)):
        await push_blob(repository, bytes([at]) * size)
    assert (await read_usage(driver, APP, part_cache)).total_without(None) == QUOTA
    links = [
        paths.layer_link(APP, Digest.of(bytes([at]) * size)) for at, size in ((2, 300), (3, 400))
    ]
    await driver.write(links[0], b"")
    await driver.write(f"{paths.layers(APP)}/sha256/{'0' * 64}/link", b"sha256:" + b"0" * 64)
    await driver.write(links[1].replace("/link", "/stray"), b"")
    await driver.delete(links[1])
    await push_blob(repository, b"b" * 700)
    assert (await read_usage(driver, APP, part_cache, thoroughly=True)).total_without(None) == QUOTA


async def test_a_blob_that_distribution_deleted_counts_again_when_it_is_pushed(
    driver: AnyDriver,
) -> None:
    """The folder of its link stays, but other content may use the space by now."""
    source = limited(driver).repository(OTHER)
    first, second = [await push_blob(source, byte * 600) for byte in (b"a", b"b")]
    repository = limited(driver, QUOTA).repository(APP)
    await repository.blobs.mount(first, OTHER)
    with pytest.raises(QuotaExceeded):
        await repository.blobs.mount(second, OTHER)
    link = paths.layer_link(APP, first)
    await driver.write(link.replace("/link", "/stray"), b"")
    await driver.delete(link)
    await repository.blobs.mount(second, OTHER)
    with pytest.raises(QuotaExceeded):
        await repository.blobs.mount(first, OTHER)
    assert await on_disk(driver, APP) == 600


async def test_a_sha512_of_distribution_counts_once(driver: AnyDriver) -> None:
    """It is stored under the sha256 of its bytes, and linked by both digests."""
    repository = limited(driver, QUOTA).repository(APP)
    digest, alias = await push_blob(repository, b"a" * 600), Digest.of(b"a" * 600, "sha512")
    await driver.write(paths.layer_link(APP, alias), str(digest).encode())
    assert await counted(driver, APP) == 600
    await limited(driver, QUOTA).repository(OTHER).blobs.mount(alias, APP)
    assert await driver.batch(lambda reader: content_at(reader, OTHER, alias)) == (digest, 600)


async def test_reads_and_deletions_are_not_wrapped(driver: AnyDriver) -> None:
    """Their methods are those of the stored repository."""
    stored = StoredRegistry(driver).repository(APP)
    await push_image(stored, "v1")
    repository = limited(driver, QUOTA, 5).repository(APP)
    for part, methods in (
        (repository.blobs, ("size", "open", "locate", "delete")),
        (repository.manifests, ("get", "delete")),
        (repository.uploads, ("length", "cancel")),
    ):
        for method in methods:
            assert getattr(part, method).__func__.__module__ in (
                "storage.repository.repository",
                "storage.content.upload_store",
            )
    assert type(repository.tags) is type(stored.tags)
    assert type(repository.referrers) is type(stored.referrers)


def test_a_reservation_is_parsed_as_it_was_encoded() -> None:
    """With and without a digest."""
    for promise in (Reservation(0), Reservation(7 << 40, Digest.of(b""))):
        assert Reservation.parse(bytes(promise)) == promise
    for content in (b"", b"x", b"1 sha256:0", b"1 2 3", b"\xff"):
        assert Reservation.parse(content) is None
