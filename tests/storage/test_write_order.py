"""Links are written after their targets, and removed before them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from storage.content.upload_store import WORTH_A_STATE
from storage.drivers.base import Driver
from storage.errors import DigestInvalid, ReferencesUnknown
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    begin,
    entry,
    finish,
    image,
    push_blob,
    push_image,
    push_manifest,
    raw,
    tags,
)
from tests.storage.soundness import assert_sound
from tests.storage.streams import stream_of
from tests.storage.wrappers import Change, RecordingDriver
from tests.support.drivers import AnyDriver

T = TypeVar("T")

# A request that appends this much writes a hash state.
MUCH = b"x" * WORTH_A_STATE


@pytest.fixture
def recording(driver: AnyDriver) -> RecordingDriver:
    """Yield each driver in turn, with its changes recorded."""
    return RecordingDriver(driver)


def _tag_links(tag: str, digest: Digest, *, new: bool) -> list[tuple[str, str]]:
    """An existing tag is first added to its history; a new tag appears with all its links."""
    history = ("write", paths.tag_index_link(APP, Tag(tag), digest))
    current = ("write", paths.tag_current_link(APP, Tag(tag)))
    return [("appear", paths.tag(APP, Tag(tag)))] if new else [history, current]


async def test_a_blob_is_adopted_before_it_is_linked(recording: RecordingDriver) -> None:
    """Data first, then the link in `_layers`; the session is removed."""
    repository = StoredRegistry(recording).repository(APP)
    id = await begin(repository, LAYER)
    before = len(recording.changes)
    await finish(repository, id, Digest.of(LAYER))
    digest = Digest.of(LAYER)
    assert recording.changes[before:] == [
        Change("adopt", paths.blob(digest), paths.upload_data(APP, id)),
        Change("write", paths.layer_link(APP, digest), str(digest).encode()),
    ]
    assert not await recording.exists(paths.upload(APP, id))


async def test_a_session_s_bytes_are_durable_before_their_state(recording: RecordingDriver) -> None:
    """A request with many bytes syncs them, saves the hash state, and drops the older one."""
    repository = StoredRegistry(recording).repository(APP)
    id = await begin(repository, MUCH)
    data = paths.upload_data(APP, id)
    before = len(recording.changes)
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(MUCH), DeclaredRange())
    assert [(one.kind, one.path) for one in recording.changes[before:]] == [
        ("append", data),
        ("sync", data),
        ("unsynced", paths.upload_state(APP, id, "sha256", 2 * len(MUCH))),
        ("discard", paths.upload_state(APP, id, "sha256", len(MUCH))),
    ]


async def test_a_small_piece_is_only_appended(recording: RecordingDriver) -> None:
    """A request with few bytes to hash does not sync and writes no state."""
    repository = StoredRegistry(recording).repository(APP)
    id = await begin(repository)
    before = len(recording.changes)
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(MUCH[:-1]), DeclaredRange())
    data = paths.upload_data(APP, id)
    assert [(one.kind, one.path) for one in recording.changes[before:]] == [("append", data)]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_session_exists_once_it_can_be_continued(
    recording: RecordingDriver, algorithm: str
) -> None:
    """Its start time, the state of an unusual algorithm, then its data; nothing is synced."""
    id = await StoredRegistry(recording).repository(APP).uploads.start(algorithm)
    state = ("unsynced", paths.upload_state(APP, id, "sha512", 0))
    assert [(one.kind, one.path) for one in recording.changes] == [
        ("unsynced", paths.upload_started(APP, id)),
        *([state] if algorithm == "sha512" else []),
        ("create", paths.upload_data(APP, id)),
    ]


async def test_a_wrong_digest_changes_nothing_but_the_session(recording: RecordingDriver) -> None:
    """A commit that is refused drops the session and makes nothing durable."""
    repository = StoredRegistry(recording).repository(APP)
    id = await begin(repository, LAYER)
    with pytest.raises(DigestInvalid):
        await finish(repository, id, Digest.of(b"else"))
    assert recording.durable() == []
    assert recording.changes[-1] == Change("discard", paths.upload(APP, id))


async def test_a_mount_writes_one_link(recording: RecordingDriver) -> None:
    """Mounting copies no bytes."""
    registry = StoredRegistry(recording)
    digest = await push_blob(registry.repository(OTHER), LAYER)
    recording.changes.clear()
    await registry.repository(APP).blobs.mount(digest, OTHER)
    assert recording.changes == [
        Change("write", paths.layer_link(APP, digest), str(digest).encode())
    ]


async def test_a_manifest_is_published_in_order(recording: RecordingDriver) -> None:
    """Bytes, revision, referrer, then for each tag its link and its history.

    All are durable but the referrer: the index is rebuilt after a power failure.
    """
    repository = StoredRegistry(recording).repository(APP)
    await push_image(repository, "latest")
    recording.changes.clear()
    subject = Digest.of(b"a subject that is not here")
    document = image(subject={**entry(b""), "digest": str(subject)})
    digest = await push_manifest(repository, document, "v1", "latest")
    assert [(one.kind, one.path) for one in recording.changes] == [
        ("write", paths.blob(digest)),
        ("write", paths.revision_link(APP, digest)),
        ("unsynced", paths.referrer_link(APP, subject, digest)),
        ("unsynced", paths.referrer_descriptor(APP, subject, digest)),
        *_tag_links("v1", digest, new=True),
        *_tag_links("latest", digest, new=False),
    ]
    assert recording.changes[0].content == raw(document)
    contents = [one.content for one in recording.changes[1:] if not _is_description(one)]
    assert contents == [str(digest).encode() * times for times in (1, 1, 2, 1, 1)]


def _is_description(change: Change) -> bool:
    return change.path.endswith(f"/{paths.DESCRIPTOR}")


async def test_a_refused_manifest_changes_nothing(recording: RecordingDriver) -> None:
    """Nothing is written when a reference of it is missing."""
    repository = StoredRegistry(recording).repository(APP)
    await push_blob(repository, CONFIG)
    recording.changes.clear()
    with pytest.raises(ReferencesUnknown) as refused:
        await push_manifest(repository, image(), "v1")
    assert refused.value.missing == (Digest.of(LAYER),)
    assert recording.changes == []


async def test_a_tag_is_deleted_in_one_step(recording: RecordingDriver) -> None:
    """Deleting a tag removes its folder and nothing else."""
    repository = StoredRegistry(recording).repository(APP)
    await push_image(repository, "v1", "v2")
    recording.changes.clear()
    await repository.tags.delete(Tag("v1"))
    assert recording.changes == [Change("delete", paths.tag(APP, Tag("v1")))]


async def test_a_manifest_is_deleted_after_its_tags(recording: RecordingDriver) -> None:
    """The tags that point to it, its link, then its referrer entry; the bytes stay."""
    repository = StoredRegistry(recording).repository(APP)
    subject = await push_image(repository, "other")
    digest = await push_image(
        repository, "v1", "v2", subject={**entry(b""), "digest": str(subject)}
    )
    recording.changes.clear()
    await repository.manifests.delete(digest)
    *tag_folders, link, description, last = recording.changes
    assert link == Change("delete", paths.revision_link(APP, digest))
    assert set(tag_folders) == {Change("delete", paths.tag(APP, tag)) for tag in tags("v1", "v2")}
    assert description == Change("delete", paths.referrer_descriptor(APP, subject, digest))
    assert last == Change("delete", paths.referrer_link(APP, subject, digest))


async def test_deleting_a_blob_removes_its_link_only(recording: RecordingDriver) -> None:
    """The bytes may be linked by other repositories."""
    repository = StoredRegistry(recording).repository(APP)
    digest = await push_blob(repository, LAYER)
    recording.changes.clear()
    await repository.blobs.delete(digest)
    assert recording.changes == [Change("delete", paths.layer_link(APP, digest))]


class _CheckedDriver(RecordingDriver):
    """Checks the invariants of the whole storage after each change."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self._checking = False

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        done = await super().change(change, carry_out)
        # A session that is locked cannot be opened to check it.
        if change.kind in {"write", "appear", "delete"} and not self._checking:
            self._checking = True
            await assert_sound(self._inner)
            self._checking = False
        return done


async def test_a_reader_finds_all_in_order_after_each_step(driver: AnyDriver) -> None:
    """While a push and a delete run, every answer at every step is complete."""
    checked = _CheckedDriver(driver)
    registry = StoredRegistry(checked)
    repository = registry.repository(APP)
    subject = await push_image(registry.repository(OTHER), "base")
    for digest in map(Digest.of, (CONFIG, LAYER)):
        await repository.blobs.mount(digest, OTHER)
    document = image(subject={**entry(b""), "digest": str(subject)})
    digest = await push_manifest(repository, document, "v1", "v2")
    await repository.tags.delete(Tag("v1"))
    await repository.manifests.delete(digest)
    assert len(checked.durable()) > 12
