"""A scrub of a tree with everything that older registries left: it reports and repairs it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.maintenance.scrub.findings import Finding, Kind
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from storage.values.paths import quarantined, set_aside
from tests.storage.content import name, pull_blob
from tests.storage.damaged_tree import (
    GONE,
    IMAGE,
    SOUND,
    TAG,
    DamagedTree,
    Foreseen,
    damaged_tree,
    sound_content,
)
from tests.storage.scrubbing import scrub


@pytest.fixture
def tree(tmp_path: Path) -> DamagedTree:
    """Return the tree."""
    return damaged_tree(tmp_path)


@pytest.fixture
def new_files(tree: DamagedTree) -> FilesystemDriver:
    """Return a driver of the tree, started as before serving."""
    return FilesystemDriver(tree.root, threads=4)


@pytest.fixture
async def files(
    new_files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FilesystemDriver]:
    """Yield a driver of the tree that caches files without delay: no other process writes."""
    yield new_files
    await new_files.close()


def foreseen(findings: Iterable[Finding]) -> set[Foreseen]:
    """Return findings in the form in which a tree foresees them."""
    return {(finding.kind, finding.path) for finding in findings}


def everything(root: Path) -> dict[str, bytes | str]:
    """Map the paths below `docker/` to their content, those of links to their targets."""
    found: dict[str, bytes | str] = {}
    for folder, folders, names in os.walk(root / "docker"):
        for one in (Path(folder, each) for each in [*folders, *names]):
            if one.is_symlink():
                found[str(one)] = os.readlink(one)
            else:
                found[str(one)] = "/" if one.is_dir() else one.read_bytes()
    return found


async def assert_served(driver: FilesystemDriver) -> None:
    """Check that the intact image is served with all its bytes."""
    repository = StoredRegistry(driver).repository(SOUND)
    assert (await repository.manifests.get(TAG)).raw == IMAGE
    for digest, content in sound_content().items():
        assert await pull_blob(repository, digest) == content


async def test_a_scrub_reports_all_damage_and_changes_nothing(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """Each damage is found at its path and with its kind, and nothing else is found."""
    before = everything(tree.root)
    await assert_served(files)
    findings, summary = await scrub(files)
    assert foreseen(findings) == tree.found
    assert len(findings) == len(set(findings))
    assert everything(tree.root) == before
    assert not any(finding.repaired for finding in findings)
    errors = [finding for finding in findings if not finding.kind.is_note]
    assert (summary.errors, summary.repaired) == (len(errors), 0)
    assert summary.notes == len(findings) - len(errors)
    await assert_served(files)


async def test_a_repair_leaves_only_what_is_beyond_repair(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """A second scrub finds what is expected to stay; the intact image is served throughout."""
    findings, summary = await scrub(files, repair=True)
    left = foreseen(finding for finding in findings if not finding.repaired)
    assert left == tree.left
    assert summary.repaired == len(findings) - len(left) > 30
    await assert_served(files)
    findings, summary = await scrub(files, repair=True)
    assert foreseen(findings) == tree.left
    assert summary.repaired == 0
    await assert_served(files)


async def test_foreign_files_are_never_changed(tree: DamagedTree, files: FilesystemDriver) -> None:
    """They exist after a repair; those that obstruct a link were moved aside."""
    before = everything(tree.root)
    await scrub(files, repair=True)
    after = everything(tree.root)
    for kind, path in tree.left:
        if kind is Kind.FOREIGN:
            kept = {
                one: what for one, what in before.items() if one.startswith(f"{tree.root}/{path}")
            }
            assert kept
            assert kept.items() <= after.items()
    for whole, what in before.items():
        if what == b"file" and whole.endswith("/somebody's"):
            path = os.path.relpath(os.path.dirname(whole), tree.root)
            hex = path.split("/")[-2]
            aside = quarantined(Digest("sha256", hex)) if "blobs" in path else set_aside(path)
            assert (tree.root / aside / "somebody's").read_bytes() == b"file"


async def test_quarantine_contains_the_corrupt_bytes(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """An operator can examine corrupt bytes; the registry reports the blob missing."""
    await scrub(files, repair=True)
    digest = Digest.of(b"what was pushed")
    assert (tree.root / quarantined(digest)).read_bytes() == b"what is there!!"
    assert await files.stat(paths.blob(digest)) is None


async def test_certain_links_are_repaired(tree: DamagedTree, files: FilesystemDriver) -> None:
    """Links to existing content name again what their folders say; tags are restored."""
    await scrub(files, repair=True)
    registry = StoredRegistry(files)
    layers = registry.repository(name("damaged/layers"))
    for number in range(6):
        content = b"layer %d" % number
        assert await pull_blob(layers, Digest.of(content)) == content
        link = paths.layer_link(name("damaged/layers"), Digest.of(content))
        assert await files.read(link) == str(Digest.of(content)).encode()
    assert await pull_blob(layers, Digest.of(b"layer 6", "sha512")) == b"layer 6"
    assert b'"empty"' in await pulled(registry, name("damaged/revisions"), "healed")
    for tag in ("certain", "without-current", "edited"):
        assert await pulled(registry, name("damaged/tags"), tag)
    page = await registry.repository(name("damaged/tags")).tags.page("", None)
    assert page.entries == ("certain", "dead-with-a-file", "doubtful", "edited", "without-current")


async def test_the_index_of_referrers_is_rebuilt(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """It lists the manifests that have a subject, and no others."""
    await scrub(files, repair=True)
    names = name("damaged/referrers")

    subjects = await files.batch(
        lambda reader: {
            hex: reader.names(f"{paths.repository(names)}/_referrers/sha256/{hex}/sha256")
            for hex in reader.names(f"{paths.repository(names)}/_referrers/sha256")
        }
    )
    assert GONE.hex not in subjects
    (referrers,) = subjects.values()
    assert len(referrers) == 2


async def pulled(registry: StoredRegistry, name: RepositoryName, tag: str) -> bytes:
    """Return the bytes of a tag's manifest."""
    return (await registry.repository(name).manifests.get(Tag(tag))).raw
