"""A repair beside one other request, which comes at every possible point."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver, make_ready
from storage.errors import Unknown
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import (
    APP,
    LAYER,
    entry,
    image,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.rivals import rivalled
from tests.storage.scrubbing import scrub

pytestmark = pytest.mark.race

Request: TypeAlias = Callable[[StoredRegistry], Awaitable[object]]
Damage: TypeAlias = Callable[[Path], None]

TAG = Tag("v1")
BLOB = Digest.of(LAYER)
NEWER = image(annotations={"is": "newer"})
SIGNATURE = image(subject=entry(raw(image())))
IMAGE_DIGEST, NEWER_DIGEST, SIGNATURE_DIGEST = (
    Digest.of(raw(one)) for one in (image(), NEWER, SIGNATURE)
)

HISTORY = paths.tag_index_link(APP, TAG, IMAGE_DIGEST)
CURRENT = paths.tag_current_link(APP, TAG)
REVISION = paths.revision_link(APP, IMAGE_DIGEST)
MEMBER = paths.layer_link(APP, BLOB)
REFERRER = paths.referrer_link(APP, IMAGE_DIGEST, SIGNATURE_DIGEST)


@pytest.fixture
def nothing_blocks() -> None:
    """Replace the detector of blocking calls: here the work has to block."""


def untidy(link: Path) -> None:
    """Append a newline, as editors do."""
    link.write_text(f"{link.read_text('ascii')}\n", "ascii")


def folder(link: Path) -> None:
    """Replace a link by a folder with a file in it."""
    link.unlink()
    link.mkdir()
    (link / "other").write_bytes(b"")


def altered(blob: Path) -> None:
    """Replace the bytes of a blob by others of the same length."""
    blob.write_bytes(b"?" * len(LAYER))


def _app(registry: StoredRegistry) -> StoredRepository:
    return registry.repository(APP)


async def _is_unknown(answer: Awaitable[object]) -> bool:
    try:
        await answer
    except Unknown:
        return True
    return False


async def delete_tag(registry: StoredRegistry) -> None:
    """Delete the tag only."""
    await _app(registry).tags.delete(TAG)


async def has_no_tag(registry: StoredRegistry) -> bool:
    """Return whether the tag is neither served nor listed."""
    listed = (await _app(registry).tags.page("", None)).entries
    return TAG not in listed and await _is_unknown(_app(registry).manifests.get(TAG))


async def move_tag(registry: StoredRegistry) -> None:
    """Push a newer image under the tag."""
    await push_manifest(_app(registry), NEWER, TAG.text)


async def has_moved(registry: StoredRegistry) -> bool:
    """Return whether the tag points to the newer image."""
    return (await _app(registry).manifests.get(TAG)).digest == NEWER_DIGEST


async def delete_manifest(registry: StoredRegistry) -> None:
    """Delete the image with its tags."""
    await _app(registry).manifests.delete(IMAGE_DIGEST)


async def has_no_manifest(registry: StoredRegistry) -> bool:
    """Return whether the image is served neither by its digest nor by its tag."""
    references = (TAG, IMAGE_DIGEST)
    return all([await _is_unknown(_app(registry).manifests.get(one)) for one in references])


async def delete_blob(registry: StoredRegistry) -> None:
    """Delete a layer."""
    await _app(registry).blobs.delete(BLOB)


async def has_no_blob(registry: StoredRegistry) -> bool:
    """Return whether the layer is no member."""
    return await _is_unknown(_app(registry).blobs.size(BLOB))


async def remove_repository(registry: StoredRegistry) -> None:
    """Remove the repository."""
    await registry.remove(APP)


async def has_no_repository(registry: StoredRegistry) -> bool:
    """Return whether the repository is missing."""
    return await _is_unknown(_app(registry).tags.page("", None))


async def delete_referrer(registry: StoredRegistry) -> None:
    """Delete the signature."""
    await _app(registry).manifests.delete(SIGNATURE_DIGEST)


async def has_no_referrer(registry: StoredRegistry) -> bool:
    """Return whether the index of referrers lacks the signature."""
    return not await registry._driver.exists(REFERRER)


async def push_blob_again(registry: StoredRegistry) -> None:
    """Push a layer whose stored bytes are corrupt."""
    await push_blob(_app(registry), LAYER)


async def has_blob(registry: StoredRegistry) -> bool:
    """Return whether the layer is intact."""
    return await pull_blob(_app(registry), BLOB) == LAYER


class Race(NamedTuple):
    """A damaged link or blob, a request, and a condition that holds after the request succeeded."""

    path: str
    request: Request
    holds: Callable[[StoredRegistry], Awaitable[bool]]


RACES = {
    "history-tag-deleted": Race(HISTORY, delete_tag, has_no_tag),
    "history-tag-moved": Race(HISTORY, move_tag, has_moved),
    "current-tag-deleted": Race(CURRENT, delete_tag, has_no_tag),
    "current-tag-moved": Race(CURRENT, move_tag, has_moved),
    "current-manifest-deleted": Race(CURRENT, delete_manifest, has_no_manifest),
    "revision-manifest-deleted": Race(REVISION, delete_manifest, has_no_manifest),
    "layer-blob-deleted": Race(MEMBER, delete_blob, has_no_blob),
    "layer-repository-removed": Race(MEMBER, remove_repository, has_no_repository),
    "referrer-deleted": Race(REFERRER, delete_referrer, has_no_referrer),
}


# A blob whose link is a folder is unknown, and cannot be deleted.
CASES = {
    f"{name}-{damage.__name__}": (race, damage)
    for name, race in RACES.items()
    for damage in (untidy, folder)
    if (race.request, damage) != (delete_blob, folder)
} | {"blob-pushed-again": (Race(paths.blob(BLOB), push_blob_again, has_blob), altered)}


async def _prepare(root: Path, path: str, damage: Damage) -> None:
    """Create a registry of two images and a signature, with one damage."""
    make_ready(root)
    driver = FilesystemDriver(root, sync=False, threads=2)
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, TAG.text)
    await push_manifest(repository, NEWER, "v2")
    await push_manifest(repository, SIGNATURE)
    await driver.close()
    damage(root / path)


async def repair(driver: FilesystemDriver) -> None:
    """Scrub."""
    await scrub(driver, repair=True)


async def _assert_holds(root: Path, race: Race) -> None:
    driver = FilesystemDriver(root, sync=False, threads=2)
    try:
        assert await race.holds(StoredRegistry(driver))
        await scrub(driver, repair=True)
        assert await race.holds(StoredRegistry(driver)), "the next repair brought it back"
        with suppress(Unknown):
            for tag in (await _app(StoredRegistry(driver)).tags.page("", None)).entries:
                await _app(StoredRegistry(driver)).manifests.get(tag)
    finally:
        await driver.close()


@pytest.mark.parametrize(("race", "damage"), CASES.values(), ids=CASES.keys())
async def test_a_request_beside_a_repair_is_not_undone(
    tmp_path: Path, race: Race, damage: Damage, nothing_blocks: None
) -> None:
    """Deleted content stays deleted, pushed content stays, at whatever point the request comes."""
    sample = tmp_path / "sample"
    sample.mkdir()
    await _prepare(sample, race.path, damage)
    successes: set[int] = set()
    for at in itertools.count():

        async def request(driver: FilesystemDriver) -> None:
            # A link that is a folder makes a push fail, and hides what is to be deleted.
            with suppress(Unknown, IsADirectoryError):
                await race.request(StoredRegistry(driver))
                successes.add(at)  # noqa: B023

        place = tmp_path / str(at)
        await asyncio.to_thread(shutil.copytree, sample, place / "root")
        try:
            if not await rivalled(place, race.path, at, repair, request):
                break
            if at in successes:
                await _assert_holds(place / "root", race)
        except Exception as error:
            error.add_note(f"the request came before operation {at}")
            raise
        shutil.rmtree(place)
    assert len(successes) > 5
