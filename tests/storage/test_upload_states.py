"""Hash states: saved after each request, used by the next one, and never trusted too far."""

from __future__ import annotations

import os
from contextlib import suppress
from operator import methodcaller

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.content import upload_store
from storage.content.hashing import PlainHashers, best_hashers
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import DigestInvalid
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import UploadId
from tests.storage.content import APP, append, begin, finish, pull_blob
from tests.storage.examples import SOME
from tests.storage.streams import stream_of
from tests.storage.wrappers import Crash, CrashingDriver, RecordingDriver
from tests.support.drivers import AnyDriver

# Most tests do not depend on how many bytes a state covers.
pytestmark = pytest.mark.usefixtures("eager_states")

FIRST, SECOND = b"1" * 700, b"2" * 300


@pytest.fixture
def recording(driver: AnyDriver) -> RecordingDriver:
    """Yield each driver in turn, counting the bytes that are read back."""
    return RecordingDriver(driver)


def _fresh(driver: AnyDriver | RecordingDriver | CrashingDriver) -> StoredRepository:
    return StoredRegistry(driver).repository(APP)


def _state(content: bytes, algorithm: str = "sha256") -> bytes:
    hasher = best_hashers().new(algorithm)
    hasher.update(content)
    state = hasher.state()
    assert state is not None
    return state


async def _states(driver: AnyDriver, id: UploadId) -> dict[str, bytes]:
    """Return every state of a session by `algorithm/offset`."""
    folder = paths.upload_states(APP, id)
    found = {}
    for algorithm in ("sha256", "sha512"):
        below = f"{folder}/{algorithm}"
        for offset in await driver.batch(methodcaller("names", below)):
            found[f"{algorithm}/{offset}"] = await driver.read(f"{below}/{offset}")
    return found


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_there_is_one_state_at_the_exact_offset(driver: AnyDriver, algorithm: str) -> None:
    """After each request there is one state, which covers all stored bytes."""
    repository = _fresh(driver)
    id = await begin(repository, algorithm=algorithm)
    content = b""
    for piece in (b"", FIRST, SECOND, b"", b"x"):
        await append(repository, id, piece)
        content += piece
        expected = {f"{algorithm}/{len(content)}": _state(content, algorithm)}
        # A session begun with the default algorithm needs no state to name it.
        assert await _states(driver, id) == ({} if expected.keys() == {"sha256/0"} else expected)


async def test_finishing_reads_nothing_again(recording: RecordingDriver) -> None:
    """With a state for all stored bytes nothing is read back, after any number of requests."""
    id = await begin(_fresh(recording), FIRST, SECOND, FIRST)
    await finish(_fresh(recording), id, Digest.of(FIRST + SECOND + FIRST))
    assert recording.read_back == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_repeated_hashing_is_bounded(
    driver: AnyDriver,
    recording: RecordingDriver,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
) -> None:
    """However small the pieces, a request reads back less than a state is saved for."""
    monkeypatch.setattr(upload_store, "WORTH_A_STATE", 1000)
    id = await begin(_fresh(driver), algorithm=algorithm)
    content, costs = b"", []
    for size in (1, 300, 698, 1, 0, 999, 1, 2500, 999, 0, 400, 600, 999):
        before = recording.read_back
        await append(_fresh(recording), id, b"x" * size)
        content += b"x" * size
        costs.append(recording.read_back - before)
    assert costs == [0, 1, 301, 999, 0, 0, 999, 0, 0, 999, 999, 0, 600]
    offsets = [int(state.rpartition("/")[2]) for state in await _states(driver, id)]
    assert offsets == [len(content)]
    await finish(_fresh(recording), id, Digest.of(content, algorithm))
    assert await pull_blob(_fresh(driver), Digest.of(content, algorithm)) == content


async def test_finishing_reads_only_the_gap(driver: AnyDriver, recording: RecordingDriver) -> None:
    """With a state for a part, as after a crash, only the rest is read back, once."""
    id = await begin(_fresh(driver), FIRST, SECOND)
    await driver.staging.discard(paths.upload_states(APP, id))
    await driver.write_unsynced(paths.upload_state(APP, id, "sha256", len(FIRST)), _state(FIRST))
    await append(_fresh(recording), id, b"last")
    assert recording.read_back == len(SECOND)
    await finish(_fresh(recording), id, Digest.of(FIRST + SECOND + b"last"))
    assert recording.read_back == len(SECOND)


async def test_without_states_all_is_read_once_at_the_end(recording: RecordingDriver) -> None:
    """Without libcrypto appending reads nothing, and the commit reads everything."""
    repository = StoredRegistry(recording, hashers=PlainHashers()).repository(APP)
    id = await begin(repository, FIRST, SECOND)
    assert recording.read_back == 0
    await finish(repository, id, Digest.of(FIRST + SECOND))
    assert recording.read_back == len(FIRST + SECOND)


async def test_one_request_without_states_reads_nothing(recording: RecordingDriver) -> None:
    """An upload in a single request is hashed as it arrives, by hashlib as well."""
    repository = StoredRegistry(recording, hashers=PlainHashers()).repository(APP)
    id = await repository.uploads.start("sha256")
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(FIRST, SECOND), DeclaredRange())
        await session.commit(Digest.of(FIRST + SECOND))
    assert recording.read_back == 0


async def test_another_algorithm_reads_all_once(recording: RecordingDriver) -> None:
    """A sha512 digest for a session begun with sha256 costs one reading."""
    id = await begin(_fresh(recording), FIRST, SECOND)
    digest = Digest.of(FIRST + SECOND, "sha512")
    await finish(_fresh(recording), id, digest)
    assert recording.read_back == len(FIRST + SECOND)
    assert await pull_blob(_fresh(recording), digest) == FIRST + SECOND


DAMAGED = {
    "empty": ("sha256/700", b""),
    "cut": ("sha256/700", _state(FIRST)[:-1]),
    "long": ("sha256/700", _state(FIRST) + b"\0"),
    "junk": ("sha256/700", b"?" * 108),
    "of the other algorithm": ("sha256/700", _state(FIRST, "sha512")),
    "of SHA-224": ("sha256/700", b"sha\x02" + _state(FIRST)[4:]),
    "of another length": ("sha256/700", _state(FIRST[:699])),
    "of no length": ("sha256/700", _state(b"")),
    "beyond the end": ("sha256/1700", _state(FIRST + SECOND + FIRST)),
    "far beyond": ("sha256/99999999999999999999", _state(FIRST)),
    "of a malformed offset": ("sha256/0x2bc", _state(FIRST)),
    "of a negative offset": ("sha256/-700", _state(FIRST)),
    "of a padded offset": ("sha256/0700", _state(FIRST)),
    "of a strange digit": ("sha256/\u0667\u0660\u0660", _state(FIRST)),
    "of an unknown algorithm": ("md5/700", _state(FIRST)),
    "a folder": ("sha256/700/x", _state(FIRST)),
}


@pytest.mark.parametrize("damage", DAMAGED)
async def test_a_damaged_state_is_ignored(driver: AnyDriver, damage: str) -> None:
    """Whatever files there are, the upload continues and gets the right digest."""
    id = await begin(_fresh(driver), FIRST)
    await driver.staging.discard(paths.upload_states(APP, id))
    where, state = DAMAGED[damage]
    await driver.write_unsynced(f"{paths.upload_states(APP, id)}/{where}", state)
    await append(_fresh(driver), id, SECOND)
    await finish(_fresh(driver), id, Digest.of(FIRST + SECOND))
    assert await pull_blob(_fresh(driver), Digest.of(FIRST + SECOND)) == FIRST + SECOND


async def test_an_older_state_helps_when_the_newest_is_damaged(
    driver: AnyDriver, recording: RecordingDriver
) -> None:
    """The newest usable state is used."""
    id = await begin(_fresh(recording), FIRST, SECOND)
    await driver.write_unsynced(paths.upload_state(APP, id, "sha256", 700), _state(FIRST))
    await driver.write_unsynced(paths.upload_state(APP, id, "sha256", 1000), b"damaged")
    await finish(_fresh(recording), id, Digest.of(FIRST + SECOND))
    assert recording.read_back == len(SECOND)


async def test_a_session_without_any_state_continues(driver: AnyDriver) -> None:
    """The data is read again."""
    id = await begin(_fresh(driver), FIRST)
    await driver.staging.discard(paths.upload_states(APP, id))
    await driver.staging.discard(paths.upload_started(APP, id))
    await append(_fresh(driver), id, SECOND)
    await finish(_fresh(driver), id, Digest.of(FIRST + SECOND, "sha512"))


# What a power failure may leave

OLD, NEW = b"old" * 100, b"new" * 100


def _cut(files: FilesystemDriver, id: UploadId, length: int) -> None:
    os.truncate(f"{files.root}/{paths.upload_data(APP, id)}", length)


@SOME
@given(cut=st.integers(0, 299), added=st.integers(0, 300))
async def test_truncated_data_is_continued(files: FilesystemDriver, cut: int, added: int) -> None:
    """Data that was truncated after the newest state is sent again, and the blob is right."""
    id = await begin(_fresh(files), OLD)
    _cut(files, id, cut)
    assert await _fresh(files).uploads.length(id) == cut
    await append(_fresh(files), id, NEW[:added])
    content = OLD[:cut] + NEW[:added]
    await finish(_fresh(files), id, Digest.of(content))
    assert await pull_blob(_fresh(files), Digest.of(content)) == content


@pytest.mark.parametrize("cut", [0, 1, 100, 299])
@pytest.mark.parametrize("crash", range(6))
async def test_a_state_is_not_used_for_later_bytes(
    files: FilesystemDriver, cut: int, crash: int
) -> None:
    """Data is truncated, other bytes follow, and the process ends before it saves a new state.

    The old state's offset is within the data again, after bytes that it does not cover.
    """
    id = await begin(_fresh(files), OLD)
    _cut(files, id, cut)
    with suppress(Crash):
        await append(_fresh(CrashingDriver(files, crash)), id, NEW)
    held = await _fresh(files).uploads.length(id)
    content = (OLD[:cut] + NEW)[:held]
    await finish(_fresh(files), id, Digest.of(content))
    assert await pull_blob(_fresh(files), Digest.of(content)) == content


@pytest.mark.parametrize("crash", ["sync", "unsynced"])
async def test_the_digest_of_lost_bytes_is_refused(files: FilesystemDriver, crash: str) -> None:
    """In the same case, the digest that the old state would give is refused."""
    id = await begin(_fresh(files), OLD)
    _cut(files, id, 100)
    with suppress(Crash):
        await append(_fresh(CrashingDriver(files, crash)), id, NEW)
    actual = OLD[:100] + NEW
    assert await _fresh(files).uploads.length(id) == len(actual)
    believed = OLD + actual[len(OLD) :]
    with pytest.raises(DigestInvalid):
        await finish(_fresh(files), id, Digest.of(believed))
