"""Referrers: found however they were stored, filtered, paged, and not listed once deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.content import referrer_store
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import OCI_INDEX, OCI_MANIFEST
from storage.values.referrer_entries import Referrer
from tests.storage.content import (
    APP,
    CONFIG,
    OTHER,
    entry,
    image,
    index,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.examples import FEW
from tests.support.drivers import AnyDriver

BASE = image(layers=[])
SUBJECT = Digest.of(raw(BASE))
SUBJECT_ENTRY = entry(raw(BASE), OCI_MANIFEST)
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def referring(**more: object) -> dict[str, object]:
    """Make a manifest whose subject is BASE."""
    return image(layers=[], subject=SUBJECT_ENTRY, **more)


async def _listed(
    repository: StoredRepository, artifact_type: str | None = None, subject: Digest = SUBJECT
) -> list[Referrer]:
    page = await repository.referrers.page(subject, artifact_type, "", 1000)
    assert not page.more
    return list(page.entries)


async def _digests(repository: StoredRepository) -> list[Digest]:
    return [one.digest for one in await _listed(repository)]


@pytest.fixture
async def repository(registry: StoredRegistry) -> StoredRepository:
    """Give a repository with the config that all manifests here have."""
    repository = registry.repository(APP)
    await push_blob(repository, CONFIG)
    return repository


async def test_nothing_has_no_referrers(registry: StoredRegistry) -> None:
    """An unknown subject in an unknown repository has an empty list."""
    assert await _listed(registry.repository(APP)) == []


async def test_a_referrer_is_described(repository: StoredRepository) -> None:
    """Type, digest, size, artifact type and annotations, as the spec requires."""
    notes = {"org.example.key": "é"}
    document = referring(artifactType="application/x", annotations=notes)
    digest = await push_manifest(repository, document)
    (found,) = await _listed(repository)
    assert (found.digest, found.artifact_type) == (digest, "application/x")
    assert json.loads(found.document) == {
        "mediaType": OCI_MANIFEST,
        "digest": str(digest),
        "size": len(raw(document)),
        "artifactType": "application/x",
        "annotations": notes,
    }


async def test_artifact_types_follow_the_spec(repository: StoredRepository) -> None:
    """The field; else an image's config type; else, for an index, none."""
    with_field = await push_manifest(repository, referring(artifactType="application/x"))
    with_config = await push_manifest(repository, referring(annotations={"n": "1"}))
    bare_index = await push_manifest(repository, index([], subject=SUBJECT_ENTRY))
    typed = await push_manifest(
        repository, index([], subject=SUBJECT_ENTRY, artifactType="application/x")
    )
    listed = {one.digest: json.loads(one.document) for one in await _listed(repository)}
    types = {
        digest: (one["mediaType"], one.get("artifactType", "")) for digest, one in listed.items()
    }
    assert types == {
        with_field: (OCI_MANIFEST, "application/x"),
        with_config: (OCI_MANIFEST, CONFIG_TYPE),
        bare_index: (OCI_INDEX, ""),
        typed: (OCI_INDEX, "application/x"),
    }
    found = {one.digest for one in await _listed(repository, "application/x")}
    assert found == {with_field, typed}
    assert [one.digest for one in await _listed(repository, CONFIG_TYPE)] == [with_config]
    assert await _listed(repository, "application/none") == []


async def test_a_subject_may_be_missing(repository: StoredRepository) -> None:
    """A referrer pushed before its subject is listed before and after the subject is pushed."""
    digest = await push_manifest(repository, referring())
    assert await _digests(repository) == [digest]
    await push_manifest(repository, BASE, "base")
    assert await _digests(repository) == [digest]
    await repository.manifests.delete(SUBJECT)
    assert await _digests(repository) == [digest]


async def test_a_deleted_referrer_is_not_listed(repository: StoredRepository) -> None:
    """It is listed again once it is pushed again."""
    first = await push_manifest(repository, referring())
    second = await push_manifest(repository, referring(annotations={"n": "2"}), "tagged")
    await repository.manifests.delete(second)
    assert await _digests(repository) == [first]
    await push_manifest(repository, referring(annotations={"n": "2"}))
    assert await _digests(repository) == sorted([first, second], key=str)


async def test_referrers_are_a_repository_s_own(
    registry: StoredRegistry, repository: StoredRepository
) -> None:
    """Another repository's referrers of the same subject are not listed."""
    await push_manifest(repository, referring())
    await push_image(registry.repository(OTHER), "v1")
    assert await _listed(registry.repository(OTHER)) == []


async def test_sha512_subjects_and_referrers(repository: StoredRepository) -> None:
    """Subject and referrer may have sha512 digests."""
    subject = Digest.of(raw(BASE), "sha512")
    document = image(layers=[], subject={**SUBJECT_ENTRY, "digest": str(subject)})
    digest = await push_manifest(repository, document, algorithm="sha512")
    found = await _listed(repository, subject=subject)
    assert [one.digest for one in found] == [digest]
    assert digest.algorithm == "sha512"
    assert await _listed(repository) == []


@FEW
@given(
    types=st.lists(st.sampled_from(["a", "b", "c"]), max_size=10),
    limit=st.integers(1, 4),
    wanted=st.sampled_from([None, "a", "b", "x"]),
)
async def test_pages_lose_and_repeat_nothing(
    types: list[str], limit: int, wanted: str | None
) -> None:
    """The pages of each filter together are all that match, in the order of digests."""
    repository = StoredRegistry(MemoryDriver()).repository(APP)
    await push_blob(repository, CONFIG)
    expected = []
    for at, artifact_type in enumerate(types):
        document = referring(artifactType=artifact_type, annotations={"n": str(at)})
        digest = await push_manifest(repository, document)
        expected += [str(digest)] if wanted in (None, artifact_type) else []
    found: list[str] = []
    more = True
    while more:
        page = await repository.referrers.page(SUBJECT, wanted, found[-1] if found else "", limit)
        assert len(page.entries) <= limit
        found += [str(one.digest) for one in page.entries]
        more = page.more
        assert not more or len(page.entries) == limit
    assert found == sorted(expected)


async def test_a_page_is_bounded_in_bytes(
    repository: StoredRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends before its entries exceed the limit, and has at least one."""
    documents = [referring(annotations={"n": str(at), "x": "x" * 1000}) for at in range(7)]
    digests = sorted([str(await push_manifest(repository, one)) for one in documents])
    length = len((await _listed(repository))[0].document) + 1
    for budget, expected in ((4 * length, 4), (10, 1)):
        monkeypatch.setattr(referrer_store, "PAGE_BYTES", budget)
        found: list[str] = []
        after, more = "", True
        while more:
            page = await repository.referrers.page(SUBJECT, None, after, 100)
            assert 1 <= len(page.entries) <= expected
            found += [str(one.digest) for one in page.entries]
            after, more = page.next, page.more
        assert found == digests


async def test_damage_stops_no_listing(driver: AnyDriver, repository: StoredRepository) -> None:
    """Stray files, damaged links and entries without a manifest are skipped."""
    digest = await push_manifest(repository, referring())
    folder = paths.referrers(APP, SUBJECT)
    for path in (
        "stray",
        "sha256/stray",
        f"sha256/{'0' * 64}/link",
        "md5/x/link",
        "sha256/zz/link",
    ):
        await driver.write_unsynced(f"{folder}/{path}", b"?")
    await driver.write_unsynced(paths.referrer_link(APP, SUBJECT, Digest.of(b"gone")), b"")
    await driver.write_unsynced(paths.referrers_scanned(APP), b"not json")
    assert await _digests(repository) == [digest]
    await driver.write_unsynced(paths.referrers_scanned(APP), b'["neither", "an", "object"]')
    assert await _digests(repository) == [digest]


async def test_an_entry_of_another_program_makes_no_member(
    driver: AnyDriver, registry: StoredRegistry, repository: StoredRepository
) -> None:
    """A referrer link without a revision link is not listed: membership decides."""
    other = registry.repository(OTHER)
    await push_blob(other, CONFIG)
    digest = await push_manifest(other, referring())
    await driver.write(paths.referrer_link(APP, SUBJECT, digest), str(digest).encode())
    assert await _digests(repository) == []


# Content that came by another way: only files have folders whose change can be seen


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Make a filesystem driver."""
    (tmp_path / "root").mkdir()
    return FilesystemDriver(tmp_path / "root", threads=4)


@pytest.fixture
async def files(new_files: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Give the filesystem driver, and close it."""
    yield new_files
    await new_files.close()


async def _write_behind(files: AnyDriver, document: dict[str, object]) -> Digest:
    """Store a manifest as an older registry does: without an entry under `_referrers`."""
    content = raw(document)
    digest = Digest.of(content)
    await files.write(paths.blob(digest), content)
    await files.write(paths.revision_link(APP, digest), str(digest).encode())
    return digest


def _age(files: FilesystemDriver, seconds: int) -> None:
    """Set the mtimes of the revisions' folders back, as if nothing changed for a while."""
    folder = Path(files.root, paths.revisions(APP), "sha256")
    then = folder.stat().st_mtime_ns - seconds * 1_000_000_000
    os.utime(folder, ns=(then, then))


async def test_what_an_older_registry_stored_is_found(driver: AnyDriver) -> None:
    """Manifests without an index entry are listed immediately, and so are later ones."""
    repository = StoredRegistry(driver).repository(APP)
    first = await _write_behind(driver, referring())
    await _write_behind(driver, BASE)
    assert await _digests(repository) == [first]
    second = await _write_behind(driver, referring(annotations={"n": "2"}))
    assert await _digests(repository) == sorted([first, second], key=str)
    fresh = StoredRegistry(driver).repository(APP)
    assert await _digests(fresh) == sorted([first, second], key=str)


async def test_a_scan_is_recorded_and_repeated_when_stale(files: FilesystemDriver) -> None:
    """A scan is recorded once nothing changed for a while; a later manifest is found anyway."""
    repository = StoredRegistry(files).repository(APP)
    first = await _write_behind(files, referring())
    _age(files, 60)
    assert await _digests(repository) == [first]
    assert await files.exists(paths.referrers_scanned(APP))
    assert await _digests(repository) == [first]
    second = await _write_behind(files, referring(annotations={"n": "2"}))
    expected = sorted([first, second], key=str)
    for aged in (0, 30):
        _age(files, aged)
        assert await _digests(repository) == expected


async def test_a_deleted_index_is_rebuilt(files: FilesystemDriver) -> None:
    """`_referrers` can be deleted at any time."""
    repository = StoredRegistry(files).repository(APP)
    digest = await _write_behind(files, referring())
    _age(files, 60)
    for _ in range(2):
        assert await _digests(repository) == [digest]
        await files.delete(f"{paths.repository(APP)}/_referrers")
    assert await _digests(StoredRegistry(files).repository(APP)) == [digest]


async def test_a_copied_tree_has_its_referrers(files: FilesystemDriver, tmp_path: Path) -> None:
    """A tree copied with its mtimes, over another that was scanned, is scanned again."""
    repository = StoredRegistry(files).repository(APP)
    first = await _write_behind(files, referring())
    _age(files, 60)
    assert await _digests(repository) == [first]
    copied = _copy_with_one_more(Path(files.root), tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", files.root, dirs_exist_ok=True)
    assert await _digests(repository) == sorted([first, copied], key=str)


def _copy_with_one_more(source: Path, target: Path) -> Digest:
    """Copy a tree and add a referrer to the copy, with old mtimes of the folders."""
    shutil.copytree(source, target)
    content = raw(referring(annotations={"copied": "yes"}))
    digest = Digest.of(content)
    for path, text in (
        (paths.blob(digest), content),
        (paths.revision_link(APP, digest), str(digest).encode()),
    ):
        (target / path).parent.mkdir(parents=True)
        (target / path).write_bytes(text)
    os.utime(target / paths.revisions(APP) / "sha256", (1_600_000_000, 1_600_000_000))
    return digest


async def test_a_revision_pushed_again_by_another_program_is_found(files: FilesystemDriver) -> None:
    """Deleted and pushed again by an older registry, in a folder that existed all the time."""
    repository = StoredRegistry(files).repository(APP)
    digest = await _write_behind(files, referring())
    await files.delete(paths.revision_link(APP, digest))
    _age(files, 60)
    assert await _digests(repository) == []
    await _write_behind(files, referring())
    assert await _digests(repository) == [digest]


async def test_a_revision_pushed_again_here_is_found(files: FilesystemDriver) -> None:
    """The same, with both done here."""
    repository = StoredRegistry(files).repository(APP)
    await push_blob(repository, CONFIG)
    await push_manifest(repository, image(layers=[]))
    for _ in range(2):
        digest = await push_manifest(repository, referring())
        _age(files, 60)
        assert await _digests(repository) == [digest]
        await repository.manifests.delete(digest)
        _age(files, 60)
        assert await _digests(repository) == []


async def test_a_scan_that_could_not_read_a_manifest_is_not_the_last(
    files: FilesystemDriver,
) -> None:
    """A revision copied before its content is found once the content exists."""
    repository = StoredRegistry(files).repository(APP)
    digest = Digest.of(raw(referring()))
    await files.write(paths.revision_link(APP, digest), str(digest).encode())
    _age(files, 60)
    assert await _digests(repository) == []
    await files.write(paths.blob(digest), raw(referring()))
    assert await _digests(repository) == [digest]


async def test_manifests_of_the_tag_schema_are_found(files: FilesystemDriver) -> None:
    """The API lists manifests that a client listed under the referrers tag."""
    repository = StoredRegistry(files).repository(APP)
    digest = await _write_behind(files, referring())
    listing = index([raw(referring())])
    await _write_behind(files, listing)
    tag = f"{paths.tags(APP)}/sha256-{SUBJECT.hex}/current/link"
    await files.write(tag, str(Digest.of(raw(listing))).encode())
    assert await _digests(repository) == [digest]


async def test_distribution_ignores_the_index(files: FilesystemDriver) -> None:
    """All of it is in one `_` folder, and its record of the scan is plain JSON."""
    repository = StoredRegistry(files).repository(APP)
    await _write_behind(files, referring())
    _age(files, 60)
    await _listed(repository)
    note = json.loads(await files.read(paths.referrers_scanned(APP)))
    assert isinstance(note, dict)
    names = await files.batch(lambda reader: reader.names(paths.repository(APP)))
    assert sorted(names) == ["_manifests", "_referrers"]
