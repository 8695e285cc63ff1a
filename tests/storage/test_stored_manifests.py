"""Whatever manifest the volume has: it is served unchanged, and nothing it names is lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.errors import BlobUnknown, ManifestInvalid, ManifestUnknown
from storage.maintenance.scrub.findings import Kind
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Tag
from storage.values.stored_manifests import read_stored
from tests.storage.collecting import collect
from tests.storage.content import APP, CONFIG, LAYER, image, pull_blob, push_blob
from tests.storage.odd_documents import ODD, SUBJECT, Odd
from tests.storage.scrubbing import scrub

EACH = pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
TAG = Tag("old")


async def lay_down(files: FilesystemDriver, odd: Odd, *, tagged: bool = True) -> StoredRepository:
    """Store a document, and the content it names, in a repository as another registry does."""
    app = StoredRegistry(files).repository(APP)
    for content in (CONFIG, LAYER):
        await push_blob(app, content)
    digest = odd.digest
    await files.write(paths.blob(digest), odd.raw)
    await files.write(paths.revision_link(APP, digest), str(digest).encode())
    if tagged:
        await files.write(paths.tag_index_link(APP, TAG, digest), str(digest).encode())
        await files.write(paths.tag_current_link(APP, TAG), str(digest).encode())
    return app


@EACH
def test_whether_a_push_is_accepted(odd: Odd) -> None:
    """An ambiguous document is refused in a push; its reading gives the reason."""
    reading = read_stored(odd.raw)
    assert (reading.doubt is None) == odd.is_taken
    assert reading.manifest.media_type == odd.media_type
    assert (reading.subject is not None) == odd.has_subject
    if odd.is_taken:
        assert parse_manifest(odd.raw) == reading.manifest
    else:
        with pytest.raises(ManifestInvalid, match=r"^.{5,300}$"):
            parse_manifest(odd.raw)


@EACH
async def test_it_is_served_as_it_is(files: FilesystemDriver, odd: Odd) -> None:
    """By tag and by digest: bytes, type and digest, in a process with empty caches."""
    app = await lay_down(files, odd)
    for reference in (TAG, odd.digest):
        stored = await app.manifests.get(reference)
        assert (stored.raw, stored.media_type, stored.digest) == (
            odd.raw,
            odd.media_type,
            odd.digest,
        )


@EACH
async def test_what_it_names_is_kept(files: FilesystemDriver, odd: Odd) -> None:
    """As long as it has its tag; then it is collected with its unreferenced content."""
    app = await lay_down(files, odd)
    lone = await push_blob(app, b"that nothing names")
    assert (await collect(files, delete_untagged=True)).manifests == 0
    with pytest.raises(BlobUnknown):
        await pull_blob(app, lone)
    assert (await app.manifests.get(TAG)).raw == odd.raw
    for content in (LAYER, CONFIG):
        if Digest.of(content).hex.encode() in odd.raw:
            assert await pull_blob(app, Digest.of(content)) == content
    await app.tags.delete(TAG)
    assert (await collect(files, delete_untagged=True)).manifests == 1
    for digest in (Digest.of(LAYER), Digest.of(CONFIG)):
        with pytest.raises(BlobUnknown):
            await pull_blob(app, digest)


@EACH
async def test_a_scrub_finds_no_damage(files: FilesystemDriver, odd: Odd) -> None:
    """At most it reports that references were not checked, and a missing entry for the subject."""
    await lay_down(files, odd)
    findings, summary = await scrub(files)
    assert summary.errors == 0
    expected = set() if odd.is_taken else {Kind.UNCHECKED_MANIFEST}
    expected |= {Kind.UNLISTED_REFERRER} if odd.has_subject else set()
    assert {finding.kind for finding in findings} == expected
    await scrub(files, repair=True)
    findings, _ = await scrub(files)
    assert {finding.kind for finding in findings} == expected - {Kind.UNLISTED_REFERRER}


@EACH
async def test_its_bytes_are_explained(files: FilesystemDriver, odd: Odd) -> None:
    """Every blob counts once, as needed, and no manifest as unreadable."""
    await lay_down(files, odd)
    named = [raw for raw in (CONFIG, LAYER) if Digest.of(raw).hex.encode() in odd.raw]
    async with usage_of(files, FileCensus(Path(files.root)), grace=-3600) as usage:
        assert usage.blobs.needed.size == len(odd.raw) + sum(map(len, named))
        assert usage.blobs.needed.count == 1 + len(named)
        assert usage.coverage.is_complete


@EACH
async def test_it_is_listed_as_a_referrer_until_it_is_deleted(
    files: FilesystemDriver, odd: Odd
) -> None:
    """The index is rebuilt from it, and its entry is removed when it is deleted."""
    app = await lay_down(files, odd, tagged=False)
    subject = Digest.of(SUBJECT)
    page = await app.referrers.page(subject, None, "", 10)
    assert [one.digest for one in page.entries] == [odd.digest] * odd.has_subject
    if page.entries:
        listed = json.loads(page.entries[0].document)
        assert (listed["mediaType"], listed["size"]) == (odd.media_type, len(odd.raw))
        assert await files.exists(paths.referrer_link(APP, subject, odd.digest))
    await app.manifests.delete(odd.digest)
    assert not await files.exists(paths.referrer_link(APP, subject, odd.digest))
    assert (await app.referrers.page(subject, None, "", 10)).entries == ()
    with pytest.raises(ManifestUnknown):
        await app.manifests.get(odd.digest)


async def test_content_of_an_algorithm_that_is_not_known_is_kept(files: FilesystemDriver) -> None:
    """distribution accepts sha384: it stores the bytes by their sha256, and links both digests."""
    hex = hashlib.sha384(LAYER).hexdigest()
    raw = json.dumps(image()).replace(str(Digest.of(LAYER)), f"sha384:{hex}").encode()
    app = await lay_down(files, Odd(raw))
    link = f"{paths.layers(APP)}/sha384/{hex}/{paths.LINK}"
    await files.write(link, str(Digest.of(LAYER)).encode())
    lone = await push_blob(app, b"that nothing names")
    await collect(files, delete_untagged=True)
    assert (await app.manifests.get(TAG)).raw == raw
    assert await pull_blob(app, Digest.of(LAYER)) == LAYER
    with pytest.raises(BlobUnknown):
        await pull_blob(app, lone)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b"\xff\xfe", b'{"mediaType":7}', b'{"schemaVersion":2' + b"[" * 20_000],
)
async def test_content_that_is_no_manifest_is_absent(files: FilesystemDriver, raw: bytes) -> None:
    """No registry accepts it; nothing of its repository is deleted, and a scrub reports it."""
    app = await lay_down(files, Odd(raw))
    with pytest.raises(ManifestUnknown):
        await app.manifests.get(TAG)
    findings, _ = await scrub(files)
    assert Kind.BAD_MANIFEST in {finding.kind for finding in findings} or not raw
