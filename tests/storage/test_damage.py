"""Damage on disk is logged, treated as absent, and repaired by pushing again."""

from __future__ import annotations

import pytest

from storage.errors import BlobUnknown, ManifestUnknown, ReferencesUnknown
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import DOCKER_SCHEMA1
from storage.values.names import Tag
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    image,
    index,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.support.drivers import AnyDriver

BLOB = Digest.of(LAYER)


@pytest.fixture
def fresh(driver: AnyDriver) -> StoredRepository:
    """Return the repository of a process with empty caches."""
    return StoredRegistry(driver).repository(APP)


@pytest.fixture
async def repository(registry: StoredRegistry) -> StoredRepository:
    """Return a repository with one image."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    return repository


async def test_an_empty_blob_file_is_absent(
    driver: AnyDriver, repository: StoredRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash of an older registry leaves zero bytes under the digest of other bytes."""
    await driver.write(paths.blob(BLOB), b"")
    for attempt in (repository.blobs.size(BLOB), repository.blobs.open(BLOB)):
        with pytest.raises(BlobUnknown):
            await attempt
    with pytest.raises(BlobUnknown):
        await StoredRegistry(driver).repository(OTHER).blobs.mount(BLOB, APP)
    with pytest.raises(ReferencesUnknown) as refused:
        await push_manifest(repository, image(), "v2")
    assert refused.value.missing == (BLOB,)
    assert str(BLOB) in caplog.text
    await push_blob(repository, LAYER)
    assert await pull_blob(repository, BLOB) == LAYER
    await push_manifest(repository, image(), "v2")


async def test_the_empty_blob_is_no_damage(registry: StoredRegistry) -> None:
    """Zero bytes under the digest of zero bytes are a blob."""
    for algorithm in ("sha256", "sha512"):
        digest = await push_blob(registry.repository(APP), b"", algorithm)
        assert await pull_blob(registry.repository(APP), digest) == b""


async def test_missing_bytes_are_absent(driver: AnyDriver, repository: StoredRepository) -> None:
    """A dangling link counts as missing, and a push repairs it."""
    await driver.delete(paths.blob(BLOB))
    with pytest.raises(BlobUnknown):
        await repository.blobs.open(BLOB)
    await push_blob(repository, LAYER)
    assert await pull_blob(repository, BLOB) == LAYER


@pytest.mark.parametrize("damage", [b"", b"{}", b"else", b"x" * ((4 << 20) + 1)])
async def test_a_damaged_manifest_is_absent(
    driver: AnyDriver, repository: StoredRepository, fresh: StoredRepository, damage: bytes
) -> None:
    """Bytes that do not match their digest are never served, by digest or by tag."""
    digest = Digest.of(raw(image()))
    await driver.write(paths.blob(digest), damage)
    for reference in (digest, Tag("v1")):
        with pytest.raises(ManifestUnknown):
            await fresh.manifests.get(reference)
    await push_manifest(fresh, image())
    assert (await fresh.manifests.get(Tag("v1"))).raw == raw(image())
    assert (await StoredRegistry(driver).repository(APP).manifests.get(digest)).raw == raw(image())


async def test_a_damaged_manifest_can_be_deleted(
    driver: AnyDriver, repository: StoredRepository, fresh: StoredRepository
) -> None:
    """A manifest that is no longer served can be deleted, with its tags."""
    digest = Digest.of(raw(image()))
    await driver.write(paths.blob(digest), b"damaged")
    await fresh.manifests.delete(digest)
    assert (await fresh.tags.page("", None)).entries == ()


async def test_a_damaged_child_must_be_pushed_again(
    driver: AnyDriver, repository: StoredRepository, fresh: StoredRepository
) -> None:
    """An index is not stored over a child whose file is empty."""
    await driver.write(paths.blob(Digest.of(raw(image()))), b"")
    with pytest.raises(ReferencesUnknown) as refused:
        await push_manifest(fresh, index([raw(image())]))
    assert refused.value.missing == (Digest.of(raw(image())),)


async def test_a_link_may_end_in_a_newline(driver: AnyDriver, fresh: StoredRepository) -> None:
    """Editors append one."""
    digest = Digest.of(raw(image()))
    await driver.write(paths.blob(digest), raw(image()))
    await driver.write(paths.revision_link(APP, digest), f"{digest}\n".encode())
    await driver.write(paths.tag_current_link(APP, Tag("v1")), f"{digest}\r\n".encode())
    assert (await fresh.manifests.get(Tag("v1"))).digest == digest


@pytest.mark.parametrize("damage", [b"", b"sha256:", b"\0" * 71, b"sha256:" + b"0" * 64 + b"0"])
async def test_a_damaged_link_is_absent(
    driver: AnyDriver,
    repository: StoredRepository,
    damage: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each damaged link is logged with its path, and repaired by a push."""
    digest = Digest.of(raw(image()))
    links = {
        paths.layer_link(APP, BLOB): repository.blobs.size(BLOB),
        paths.tag_current_link(APP, Tag("v1")): repository.manifests.get(Tag("v1")),
        paths.revision_link(APP, digest): repository.manifests.get(digest),
    }
    for link, attempt in links.items():
        await driver.write(link, damage)
        with pytest.raises((BlobUnknown, ManifestUnknown)):
            await attempt
        assert link in caplog.text
    await push_image(repository, "v1")
    assert await pull_blob(repository, BLOB) == LAYER
    assert (await repository.manifests.get(Tag("v1"))).digest == digest


async def test_a_revision_link_that_names_another_is_absent(
    driver: AnyDriver, repository: StoredRepository
) -> None:
    """A revision is served with its own bytes or not at all."""
    digest = Digest.of(raw(image()))
    await driver.write(paths.revision_link(APP, digest), str(BLOB).encode())
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(digest)


async def test_a_sha512_push_to_distribution_is_served(
    driver: AnyDriver, fresh: StoredRepository
) -> None:
    """distribution keeps the bytes under their sha256, which the sha512 link names."""
    named = Digest.of(LAYER, "sha512")
    await driver.write(paths.blob(BLOB), LAYER)
    await driver.write(paths.layer_link(APP, named), str(BLOB).encode())
    assert await pull_blob(fresh, named) == LAYER
    other = StoredRegistry(driver).repository(OTHER)
    await other.blobs.mount(named, APP)
    assert await pull_blob(other, named) == LAYER
    await push_blob(fresh, CONFIG)


async def test_a_layer_link_that_names_other_content_serves_none(
    driver: AnyDriver, fresh: StoredRepository
) -> None:
    """A request for a sha256 is never answered with other bytes."""
    other = await push_blob(fresh, b"other bytes")
    await push_blob(fresh, LAYER)
    await driver.write(paths.layer_link(APP, BLOB), str(other).encode())
    with pytest.raises(BlobUnknown):
        await fresh.blobs.open(BLOB)
    with pytest.raises(BlobUnknown):
        await fresh.blobs.size(BLOB)


async def test_a_schema_1_manifest_of_an_old_volume_is_served(
    driver: AnyDriver, fresh: StoredRepository
) -> None:
    """A manifest that another program stored is served unchanged."""
    content = b'{"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []}'
    digest = Digest.of(content)
    await driver.write(paths.blob(digest), content)
    await driver.write(paths.revision_link(APP, digest), str(digest).encode())
    stored = await fresh.manifests.get(digest)
    assert (stored.raw, stored.media_type) == (content, DOCKER_SCHEMA1)


async def test_membership_is_read_from_the_disk(
    driver: AnyDriver, repository: StoredRepository
) -> None:
    """Caches of content never answer for a link that another process removed."""
    digest = Digest.of(raw(image()))
    assert (await repository.manifests.get(Tag("v1"))).digest == digest
    await driver.delete(paths.revision_link(APP, digest))
    for reference in (digest, Tag("v1")):
        with pytest.raises(ManifestUnknown):
            await repository.manifests.get(reference)
    with pytest.raises(ManifestUnknown):
        await StoredRegistry(driver).repository(OTHER).manifests.get(digest)
    await driver.delete(paths.layer_link(APP, BLOB))
    with pytest.raises(BlobUnknown):
        await repository.blobs.open(BLOB)
