"""An index whose children are blobs, the format of a BuildKit cache: pushed, kept, checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.errors import BlobUnknown, ReferencesUnknown
from storage.maintenance.scrub.findings import Kind
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values.digest import Digest
from storage.values.manifest_policy import IndexChildren, ManifestPolicy
from storage.values.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    parse_manifest,
)
from storage.values.names import Tag
from tests.storage.collecting import collect
from tests.storage.content import APP, OTHER, entry, image, pull_blob, push_blob, push_image, raw
from tests.storage.scrubbing import scrub
from tests.support.build_cache import CACHE_CONFIG, BuildCache
from tests.support.drivers import AnyDriver

TYPES = pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


async def put(repository: StoredRepository, document: bytes, *tags: str) -> Digest:
    """Push a document by its digest and tags."""
    digest = Digest.of(document)
    named = tuple(map(Tag.parse, tags))
    await repository.manifests.put(parse_manifest(document), digest, named)
    return digest


async def push_cache(repository: StoredRepository, cache: BuildCache, *tags: str) -> Digest:
    """Push the blobs of a cache and its index."""
    for blob in cache.blobs:
        await push_blob(repository, blob)
    return await put(repository, cache.index, *tags)


def listing(*children: dict[str, object]) -> bytes:
    """Make an index of the given descriptors."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children)}
    ).encode()


@TYPES
async def test_blobs_stand_for_children_that_are_no_manifests(
    registry: StoredRegistry, media_type: str
) -> None:
    """A cache is stored once all its blobs are in the repository; a missing one is named."""
    app, cache = registry.repository(APP), BuildCache(media_type)
    for blob in cache.blobs[:-1]:
        await push_blob(app, blob)
    await push_blob(registry.repository(OTHER), cache.config)
    with pytest.raises(ReferencesUnknown) as refused:
        await put(app, cache.index, "cache")
    assert list(refused.value.missing) == [Digest.of(cache.config)]
    await push_blob(app, cache.config)
    digest = await put(app, cache.index, "cache")
    stored = await app.manifests.get(Tag("cache"))
    assert (stored.digest, stored.media_type, stored.raw) == (digest, media_type, cache.index)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST,
                                        OCI_MANIFEST.upper(),
                                        "application/vnd.oci.artifact.manifest.v1+json",
                                        "application/vnd.docker.distribution.manifest.v1+prettyjws",
                                        ])  # fmt: skip
async def test_a_manifest_among_children_has_to_be_one(
    registry: StoredRegistry, media_type: str
) -> None:
    """A child of a manifest's type, in any case, is missing if there is only a blob."""
    app = registry.repository(APP)
    child = raw(image())
    digest = await push_blob(app, child)
    for children in (
        [entry(child, media_type)],
        [entry(child, media_type), entry(child, LAYER_TYPE)],
        [entry(child, LAYER_TYPE), entry(child, media_type)],
    ):
        with pytest.raises(ReferencesUnknown) as refused:
            await put(app, listing(*children))
        assert list(refused.value.missing) == [digest]
    assert await push_image(app) == digest
    for children in ([entry(child, media_type)], [entry(child, LAYER_TYPE)]):
        await put(app, listing(*children))


@pytest.mark.parametrize("media_type", ["", "a/b", CACHE_CONFIG, LAYER_TYPE])
async def test_a_child_of_another_type_needs_its_blob(
    registry: StoredRegistry, media_type: str
) -> None:
    """A child of an unknown type, or of none, must be a blob or a manifest of the repository."""
    app = registry.repository(APP)
    index = listing(entry(b"blob", media_type))
    with pytest.raises(ReferencesUnknown):
        await put(app, index)
    await push_blob(app, b"blob")
    await put(app, index)


async def test_the_policy_for_children_applies_to_blobs(driver: AnyDriver) -> None:
    """Where no child is required, no blob is; platforms decide as for manifests."""
    anything = StoredRegistry(driver, policy=ManifestPolicy(IndexChildren.NONE)).repository(APP)
    await put(anything, listing(entry(b"absent", LAYER_TYPE)))
    only_arm = ManifestPolicy(IndexChildren.LISTED, frozenset({("linux", "arm")}))
    listed = StoredRegistry(driver, policy=only_arm).repository(OTHER)
    amd64 = {"os": "linux", "architecture": "amd64"}
    await put(listed, listing({**entry(b"absent", LAYER_TYPE), "platform": amd64}))
    with pytest.raises(ReferencesUnknown):
        await put(listed, listing(entry(b"absent", LAYER_TYPE)))


@TYPES
async def test_a_collection_keeps_a_cache_and_what_it_names(
    files: FilesystemDriver, media_type: str
) -> None:
    """Blobs of a tagged cache stay; those of an untagged one are deleted with it."""
    app, cache = StoredRegistry(files).repository(APP), BuildCache(media_type)
    await push_cache(app, cache, "cache")
    older = BuildCache(media_type, layers=(b"of an older build",))
    await push_cache(app, older)
    await push_blob(app, b"of no build")
    swept = await collect(files, delete_untagged=False)
    assert (swept.manifests, swept.blobs) == (0, 1)
    swept = await collect(files, delete_untagged=True)
    assert (swept.manifests, swept.links, swept.blobs) == (1, 2, 3)
    for blob in cache.blobs:
        assert await pull_blob(app, Digest.of(blob)) == blob
    with pytest.raises(BlobUnknown):
        await pull_blob(app, Digest.of(older.config))


@TYPES
async def test_a_cache_with_a_subject_stays_with_it(
    files: FilesystemDriver, media_type: str
) -> None:
    """An index of blobs can refer to an image: it is listed, and kept as long as the image."""
    app, cache = StoredRegistry(files).repository(APP), BuildCache(media_type)
    subject = await push_image(app, "v1")
    for blob in cache.blobs:
        await push_blob(app, blob)
    document = json.loads(cache.index) | {"subject": entry(raw(image()), OCI_MANIFEST)}
    digest = await put(app, json.dumps(document).encode())
    page = await app.referrers.page(subject, None, "", 10)
    assert [one.digest for one in page.entries] == [digest]
    assert (await collect(files, delete_untagged=True)).blobs == 0
    await app.tags.delete(Tag("v1"))
    swept = await collect(files, delete_untagged=True)
    assert (swept.manifests, swept.blobs) == (2, 7)


@TYPES
async def test_a_scrub_knows_a_cache(
    driver: AnyDriver, registry: StoredRegistry, media_type: str
) -> None:
    """A complete cache has no findings; a missing blob is reported as a missing blob."""
    app, cache = registry.repository(APP), BuildCache(media_type)
    await push_cache(app, cache, "cache")
    findings, summary = await scrub(driver)
    assert (findings, summary.errors, summary.notes) == ([], 0, 0)
    await app.blobs.delete(Digest.of(cache.layers[0]))
    findings, summary = await scrub(driver)
    assert [one.kind for one in findings] == [Kind.MISSING_BLOB]
    assert f"blob {Digest.of(cache.layers[0])} of this index" in findings[0].what
    assert summary.errors == 1


@TYPES
async def test_the_bytes_of_a_cache_are_counted_once(
    files: FilesystemDriver, media_type: str
) -> None:
    """Layers that an image and a cache share count once, and none of them is reclaimable."""
    app = StoredRegistry(files).repository(APP)
    cache = BuildCache(media_type)
    await push_cache(app, cache, "cache")
    await push_image(app, "v1", layer=cache.layers[0])
    content = {*cache.blobs, cache.index, raw(image(layers=[cache.layers[0]]))}
    content.add(b'{"architecture":"amd64","os":"linux"}')
    async with usage_of(files, FileCensus(Path(files.root)), grace=-3600) as usage:
        assert usage.blobs.needed.count == len(content)
        assert usage.blobs.needed.size == sum(map(len, content))
        assert usage.blobs.needed == usage.blobs.total
        assert usage.reclaimable.size == 0
        assert usage.coverage.unreadable == 0
