"""Uploads: bytes that arrive in pieces, over requests, workers and restarts, become one blob."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.content.hashing import Hashers, PlainHashers, best_hashers
from storage.drivers.base import CHUNK
from storage.errors import (
    BlobUnknown,
    ChunkOutOfOrder,
    ChunkSizeMismatch,
    DigestInvalid,
    UploadBusy,
    UploadUnknown,
)
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import UploadId
from tests.storage.content import (
    APP,
    OTHER,
    append,
    begin,
    finish,
    pull_blob,
    push_blob,
)
from tests.storage.examples import FEW, SOME
from tests.storage.streams import broken_after, cancelled_after, stream_of
from tests.support.drivers import AnyDriver

BIG = bytes(range(255)) * (CHUNK // 255 + 1)
ALGORITHMS = st.sampled_from(["sha256", "sha512"])
# For each request, the pieces of its body.
REQUESTS = st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=5)


@pytest.fixture(params=["libcrypto", "plain"])
def hashers(request: pytest.FixtureRequest) -> Hashers:
    """Yield hashers with a state that can be saved, and without."""
    return best_hashers() if request.param == "libcrypto" else PlainHashers()


def _fresh(driver: AnyDriver, hashers: Hashers | None = None) -> StoredRepository:
    """Open the repository like another worker, or the same one after a restart."""
    return StoredRegistry(driver, hashers=hashers).repository(APP)


@SOME
@given(requests=REQUESTS, begun=ALGORITHMS, named=ALGORITHMS, last=st.binary(max_size=50))
async def test_any_split_over_any_workers_gives_the_blob(
    driver: AnyDriver,
    hashers: Hashers,
    requests: list[list[bytes]],
    begun: str,
    named: str,
    last: bytes,
) -> None:
    """Requests may reach different workers, and the digest may be of another algorithm."""
    content = b"".join(map(b"".join, requests)) + last
    digest = Digest.of(content, named)
    await driver.delete(paths.blob(digest))
    id = await _fresh(driver, hashers).uploads.start(begun)
    for pieces in requests:
        held = await _fresh(driver, hashers).uploads.length(id)
        async with _fresh(driver, hashers).uploads.open(id) as session:
            chunk = DeclaredRange(start=held, length=sum(map(len, pieces)))
            await session.append(stream_of(*pieces), chunk)
    async with _fresh(driver, hashers).uploads.open(id) as session:
        assert session.length == len(content) - len(last)
        await session.append(stream_of(last), DeclaredRange())
        await session.commit(digest)
    assert await pull_blob(_fresh(driver), digest) == content
    assert await _fresh(driver).blobs.size(digest) == len(content)
    with pytest.raises(UploadUnknown):
        await _fresh(driver).uploads.length(id)
    assert not await driver.exists(paths.upload(APP, id))


@pytest.mark.parametrize(
    "sizes", [[CHUNK], [CHUNK - 1, 1, 1], [1, CHUNK, CHUNK + 5], [65_536] * 50]
)
async def test_big_streams_are_kept_in_order(
    driver: AnyDriver, hashers: Hashers, sizes: list[int]
) -> None:
    """Pieces of any size around the batch are written in order."""
    pieces = [bytes([at % 251]) * size for at, size in enumerate(sizes)]
    id = await _fresh(driver, hashers).uploads.start("sha256")
    for _ in range(2):
        await append(_fresh(driver, hashers), id, *pieces)
    content = b"".join(pieces) * 2
    await finish(_fresh(driver, hashers), id, Digest.of(content))
    assert await pull_blob(_fresh(driver), Digest.of(content)) == content


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_blob_may_be_empty(driver: AnyDriver, hashers: Hashers, algorithm: str) -> None:
    """An upload without any append becomes the empty blob."""
    repository = _fresh(driver, hashers)
    id = await repository.uploads.start(algorithm)
    await finish(repository, id, Digest.of(b"", algorithm))
    assert await pull_blob(_fresh(driver), Digest.of(b"", algorithm)) == b""
    assert await _fresh(driver).blobs.size(Digest.of(b"", algorithm)) == 0


async def test_a_session_is_what_distribution_writes(driver: AnyDriver) -> None:
    """`startedat` is RFC 3339 in UTC, and the state after zero bytes names the algorithm."""
    before = datetime.now(UTC).replace(microsecond=0)
    id = await begin(_fresh(driver), algorithm="sha512")
    text = (await driver.read(paths.upload_started(APP, id))).decode()
    assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z") >= before
    assert text.endswith("Z")
    state = await driver.read(paths.upload_state(APP, id, "sha512", 0))
    assert state == best_hashers().new("sha512").state()


async def test_a_session_belongs_to_its_repository(driver: AnyDriver) -> None:
    """It is unknown in another repository, and so is a random id."""
    id = await begin(_fresh(driver), b"abc")
    other = StoredRegistry(driver).repository(OTHER)
    for repository, asked in ((other, id), (_fresh(driver), UploadId.new())):
        with pytest.raises(UploadUnknown):
            await repository.uploads.length(asked)
        with pytest.raises(UploadUnknown):
            await append(repository, asked, b"x")
        with pytest.raises(UploadUnknown):
            await repository.uploads.cancel(asked)
    assert await _fresh(driver).uploads.length(id) == 3


async def test_a_cancelled_session_is_removed(driver: AnyDriver) -> None:
    """Nothing of it stays, and a second cancellation does not find it."""
    id = await begin(_fresh(driver), b"abc")
    await _fresh(driver).uploads.cancel(id)
    assert not await driver.exists(paths.upload(APP, id))
    with pytest.raises(UploadUnknown):
        await _fresh(driver).uploads.cancel(id)
    with pytest.raises(BlobUnknown):
        await _fresh(driver).blobs.size(Digest.of(b"abc"))


async def test_a_session_has_one_writer(driver: AnyDriver, impatient: None) -> None:
    """Another request gets the length; the first one is not affected."""
    id = await begin(_fresh(driver), b"abc")
    async with _fresh(driver).uploads.open(id) as session:
        for attempt in (append(_fresh(driver), id, b"x"), _fresh(driver).uploads.cancel(id)):
            with pytest.raises(UploadBusy) as busy:
                await attempt
            assert busy.value.length == 3
        await session.append(stream_of(b"def"), DeclaredRange())
    await finish(_fresh(driver), id, Digest.of(b"abcdef"))


async def test_two_uploads_of_one_blob_both_succeed(driver: AnyDriver) -> None:
    """Workers that push the same layer concurrently do not disturb each other."""
    contents = [BIG] * 4
    digests = await asyncio.gather(*(push_blob(_fresh(driver), one) for one in contents))
    assert set(digests) == {Digest.of(BIG)}
    assert await pull_blob(_fresh(driver), Digest.of(BIG)) == BIG


# Streams that break off

SIZES = st.lists(st.sampled_from([0, 1, 1000, CHUNK // 2, CHUNK, CHUNK + 1]), max_size=5)


@FEW
@given(sizes=SIZES)
async def test_a_broken_stream_keeps_what_arrived(driver: AnyDriver, sizes: list[int]) -> None:
    """Exactly the received bytes are stored, and the upload can be continued."""
    pieces = [bytes([at]) * size for at, size in enumerate(sizes, 1)]
    id = await begin(_fresh(driver), b"first")
    with pytest.raises(ConnectionError):
        async with _fresh(driver).uploads.open(id) as session:
            await session.append(broken_after(pieces, ConnectionError("gone")), DeclaredRange())
    arrived = b"first" + b"".join(pieces)
    assert await _fresh(driver).uploads.length(id) == len(arrived)
    await append(_fresh(driver), id, b"last")
    await finish(_fresh(driver), id, Digest.of(arrived + b"last"))
    assert await pull_blob(_fresh(driver), Digest.of(arrived + b"last")) == arrived + b"last"


class _Body:
    """A body that counts how much of it was read."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes
        self.yielded = b""

    async def stream(self) -> AsyncIterator[bytes]:
        for at, size in enumerate(self._sizes, 1):
            await asyncio.sleep(0)
            piece = bytes([at]) * size
            self.yielded += piece
            yield piece


@FEW
@given(
    sizes=st.lists(st.sampled_from([1, 1000, CHUNK // 2, CHUNK]), min_size=1, max_size=6),
    ticks=st.integers(0, 40),
)
async def test_a_cancelled_request_keeps_what_arrived(
    driver: AnyDriver, sizes: list[int], ticks: int
) -> None:
    """At whatever moment a request is cancelled, the bytes it read are stored, and no more."""
    id = await begin(_fresh(driver), b"first")
    body = _Body(sizes)

    async def request() -> None:
        async with _fresh(driver).uploads.open(id) as session:
            await session.append(body.stream(), DeclaredRange())

    await cancelled_after(ticks, request())
    arrived = b"first" + body.yielded
    assert await _fresh(driver).uploads.length(id) == len(arrived)
    await append(_fresh(driver), id, b"last")
    await finish(_fresh(driver), id, Digest.of(arrived + b"last"))


@FEW
@given(ticks=st.integers(0, 25))
async def test_a_cancelled_commit_is_done_or_not(driver: AnyDriver, ticks: int) -> None:
    """After a cancelled commit the blob is a member, or the session can be continued."""
    content = b"cancelled after %d" % ticks
    digest = Digest.of(content)
    await driver.delete(paths.layer_link(APP, digest))
    id = await begin(_fresh(driver), content)
    await cancelled_after(ticks, finish(_fresh(driver), id, digest))
    with suppress(UploadUnknown):
        await finish(_fresh(driver), id, digest)
    assert await pull_blob(_fresh(driver), digest) == content


# Chunks that differ from their headers

MISFITS = [
    (DeclaredRange(start=0), ChunkOutOfOrder),
    (DeclaredRange(start=4), ChunkOutOfOrder),
    (DeclaredRange(start=6, length=3), ChunkOutOfOrder),
    (DeclaredRange(start=5, length=2), ChunkSizeMismatch),
    (DeclaredRange(length=4), ChunkSizeMismatch),
    (DeclaredRange(length=0), ChunkSizeMismatch),
]


@pytest.mark.parametrize(("chunk", "error"), MISFITS)
async def test_a_chunk_that_does_not_fit_changes_nothing(
    driver: AnyDriver, hashers: Hashers, chunk: DeclaredRange, error: type[Exception]
) -> None:
    """The session keeps its bytes, in this request and the next, and can be continued."""
    id = await begin(_fresh(driver, hashers), b"first")
    async with _fresh(driver, hashers).uploads.open(id) as session:
        with pytest.raises(error) as misfit:
            await session.append(stream_of(b"bad"), chunk)
        assert getattr(misfit.value, "length", None) == 5
        assert session.length == 5
    with pytest.raises(error):
        async with _fresh(driver, hashers).uploads.open(id) as session:
            await session.append(stream_of(b"ba", b"d"), chunk)
    assert await _fresh(driver).uploads.length(id) == 5
    async with _fresh(driver, hashers).uploads.open(id) as session:
        await session.append(stream_of(b"last"), DeclaredRange(start=5, length=4))
        await session.commit(Digest.of(b"firstlast"))
    assert await pull_blob(_fresh(driver), Digest.of(b"firstlast")) == b"firstlast"


@pytest.mark.parametrize("declared", [len(BIG) - 1, len(BIG) + 1, 2 * len(BIG), 10])
async def test_a_big_chunk_that_does_not_fit_changes_nothing(
    driver: AnyDriver, hashers: Hashers, declared: int
) -> None:
    """Bytes that were written before the wrong length was detected are dropped."""
    id = await begin(_fresh(driver, hashers), BIG)
    async with _fresh(driver, hashers).uploads.open(id) as session:
        with pytest.raises(ChunkSizeMismatch):
            await session.append(stream_of(BIG[:7], BIG[7:]), DeclaredRange(length=declared))
        await session.append(stream_of(b"last"), DeclaredRange(start=len(BIG)))
        await session.commit(Digest.of(BIG + b"last"))
    assert await pull_blob(_fresh(driver), Digest.of(BIG + b"last")) == BIG + b"last"


async def test_a_chunk_out_of_order_is_not_read(driver: AnyDriver) -> None:
    """Nothing is read from a body that cannot be stored."""
    id = await begin(_fresh(driver), b"first")
    body = _Body([1])
    async with _fresh(driver).uploads.open(id) as session:
        with pytest.raises(ChunkOutOfOrder):
            await session.append(body.stream(), DeclaredRange(start=1))
    assert body.yielded == b""


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_wrong_digest_ends_the_session(
    driver: AnyDriver, hashers: Hashers, algorithm: str
) -> None:
    """Neither the bytes nor the claimed digest become a blob; the session is removed."""
    repository = _fresh(driver, hashers)
    id = await begin(repository, b"bytes")
    wrong = Digest.of(b"else", algorithm)
    with pytest.raises(DigestInvalid, match=str(Digest.of(b"bytes", algorithm))):
        await finish(repository, id, wrong)
    for digest in (wrong, Digest.of(b"bytes"), Digest.of(b"bytes", "sha512")):
        with pytest.raises(BlobUnknown):
            await repository.blobs.open(digest)
        assert not await driver.exists(paths.blob(digest))
    with pytest.raises(UploadUnknown):
        await repository.uploads.length(id)
    assert not await driver.exists(paths.upload(APP, id))
