"""The invariants of a registry's storage, at any moment: after a crash, and beside a writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from storage.content.links import read_link
from storage.drivers.base import Driver, Reader
from storage.errors import DigestInvalid, ManifestUnknown, RepositoryUnknown, UploadUnknown
from storage.repository.registry import StoredRegistry, walk
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.manifests import parse_manifest
from storage.values.names import RepositoryName, UploadId

_ALL = 1 << 30


async def assert_sound(driver: Driver) -> None:
    """Check the invariants of a storage, as a new process sees it."""
    registry = StoredRegistry(driver)
    await registry.catalog("", _ALL)
    await driver.batch(_assert_links_lead_somewhere)
    for name in await driver.batch(lambda reader: list(walk(reader))):
        await _assert_readable(registry, name)
        await _assert_resumable(driver, registry, name)


def _assert_links_lead_somewhere(reader: Reader) -> None:
    """Every blob matches its name, and every member's link has a target."""
    blobs = set(_blobs(reader))
    for name in walk(reader):
        for folder in (paths.layers(name), paths.revisions(name)):
            for digest in _linked(reader, folder):
                assert digest in blobs, f"{folder} links {digest}, which is not there"


def _blobs(reader: Reader) -> Iterator[Digest]:
    for algorithm in HEX_LENGTHS:
        folder = f"{paths.ROOT}/blobs/{algorithm}"
        for short in reader.names(folder):
            for hex in reader.names(f"{folder}/{short}"):
                digest = Digest.parse(f"{algorithm}:{hex}")
                if reader.stat(paths.blob(digest)) is not None:
                    assert Digest.of(reader.read(paths.blob(digest), _ALL), algorithm) == digest
                    yield digest


def _linked(reader: Reader, folder: str) -> Iterator[Digest]:
    for algorithm in HEX_LENGTHS:
        for hex in reader.names(f"{folder}/{algorithm}"):
            with suppress(DigestInvalid):
                digest = Digest.parse(f"{algorithm}:{hex}")
                if read_link(reader, f"{folder}/{algorithm}/{hex}/{paths.LINK}") is not None:
                    yield digest


async def _assert_readable(registry: StoredRegistry, name: RepositoryName) -> None:
    """Listings work, and every manifest that is served is complete."""
    repository = registry.repository(name)
    with suppress(RepositoryUnknown):
        for tag in (await repository.tags.page("", None)).entries:
            with suppress(ManifestUnknown):
                found = await repository.manifests.get(tag)
                assert found == await repository.manifests.get(found.digest)
    revisions = await registry._driver.batch(
        lambda reader: list(_linked(reader, paths.revisions(name)))
    )
    for revision in revisions:
        stored = await repository.manifests.get(revision)
        manifest = parse_manifest(stored.raw)
        for blob in manifest.blobs:
            assert await repository.blobs.size(blob.digest) == blob.size
        for child in manifest.children:
            await repository.manifests.get(child.digest)
        if manifest.subject is not None:
            referrers = await repository.referrers.page(manifest.subject.digest, None, "", 100)
            assert revision in [referrer.digest for referrer in referrers.entries]


async def _assert_resumable(driver: Driver, registry: StoredRegistry, name: RepositoryName) -> None:
    """A session that is left has a length and can be opened, or is unknown."""
    repository = registry.repository(name)
    for text in await driver.batch(lambda reader: reader.names(paths.uploads(name))):
        with suppress(UploadUnknown):
            length = await repository.uploads.length(UploadId.parse(text))
            async with repository.uploads.open(UploadId.parse(text)) as session:
                assert session.length == length
