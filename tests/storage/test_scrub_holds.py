"""Pushes wait while a scrub holds the exclusive lock, so its work under the lock is bounded.

The tests count the reads of the tree under one lock, and the entries of listed folders. The other
bound, of time, can only reduce the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.drivers.base import SMALL, Driver, Entry, ExclusiveEditor
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.drivers.wrapping import WrappedDriver, WrappedEditor
from storage.maintenance.scrub.findings import Finding, Kind
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, CONFIG, entry, image, index, raw
from tests.storage.scrubbing import scrub
from tests.storage.wrappers import T

MANY = 1_000
# Reads of one entry, times the entries that are checked under one lock.
MOST = 7 * 256
LATEST = Tag("latest")


class CountingEditor(WrappedEditor):
    """Counts reads, the entries of listed folders, and the bytes of blobs."""

    def __init__(self, inner: ExclusiveEditor) -> None:
        super().__init__(inner)
        self.looks = self.content = 0

    def _before_read(self) -> None:
        self.looks += 1

    def names(self, path: str) -> list[str]:
        return [one.name for one in self.entries(path)]

    def folders(self, path: str) -> list[str]:
        return [one.name for one in self.entries(path) if one.is_folder]

    def entries(self, path: str) -> Iterator[Entry]:
        for one in super().entries(path):
            self._before_read()
            yield one

    def read(self, path: str, limit: int = SMALL) -> bytes:
        content = super().read(path, limit)
        self.content += len(content) if path.startswith(paths.BLOBS) else 0
        return content


class CountingDriver(WrappedDriver):
    """Counts the work under each exclusive lock, and calls `after_hold` after each."""

    def __init__(self, inner: Driver, after_hold: Callable[[], object] = lambda: None) -> None:
        super().__init__(inner)
        self.exclusive: list[CountingEditor] = []
        self._after_hold = after_hold

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:

        def counted(editor: ExclusiveEditor) -> T:
            self.exclusive.append(CountingEditor(editor))
            return job(self.exclusive[-1])

        done = await self._inner.exclusively(counted)
        await asyncio.to_thread(self._after_hold)
        return done


def put(root: Path, path: str, content: bytes | str) -> None:
    """Write a file, with its parents."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def put_manifest(root: Path, content: bytes) -> Digest:
    """Store a manifest, and make it a member."""
    digest = Digest.of(content)
    put(root, paths.blob(digest), content)
    put(root, paths.revision_link(APP, digest), str(digest))
    return digest


def put_config(root: Path) -> None:
    """Store the configuration of the images."""
    put(root, paths.blob(Digest.of(CONFIG)), CONFIG)
    put(root, paths.layer_link(APP, Digest.of(CONFIG)), str(Digest.of(CONFIG)))


def missing() -> list[bytes]:
    """Return contents that no test stores."""
    return [b"missing %d" % number for number in range(MANY)]


def lacking_layers(root: Path) -> None:
    """Create an image with a great many layers, none of which exists."""
    put_config(root)
    put_manifest(root, raw(image(missing())))


def lacking_children(root: Path) -> None:
    """Create an index of a great many manifests, none of which exists."""
    put_manifest(root, raw(index(missing())))


def strays(root: Path) -> None:
    """Put foreign files into a folder, as many as there are expected ones."""
    for number in range(MANY):
        (root / paths.layers(APP) / f"sha256/{number:064x}").mkdir(parents=True)
        put(root, f"{paths.layers(APP)}/sha256/stray-{number}", "")


def one_stray(root: Path) -> None:
    """Put one foreign file into a folder with a great many expected ones."""
    for number in range(MANY * 3):
        (root / paths.layers(APP) / f"sha256/{number:064x}").mkdir(parents=True)
    put(root, f"{paths.layers(APP)}/sha256/stray", "")


def dead_tags(root: Path) -> None:
    """Create tags without links, whose histories name deleted manifests."""
    for tag in range(MANY // 100):
        (root / paths.tag(APP, Tag(f"v{tag}")) / paths.CURRENT).mkdir(parents=True)
        for number in range(100):
            digest = Digest("sha256", f"{number:064x}")
            put(root, paths.tag_index_link(APP, Tag(f"v{tag}"), digest), str(digest))


def wrong_referrers(root: Path) -> None:
    """Let the index of referrers name large manifests with another subject, or none."""
    put_config(root)
    of = Digest.of(b"a subject")
    for number in range(MANY // 10):
        annotations = {"number": str(number), "long": "x" * 10_000}
        digest = put_manifest(root, raw(image((), annotations=annotations, subject=entry(b"it"))))
        put(root, paths.referrer_link(APP, of, digest), str(digest))
        put(root, paths.referrer_descriptor(APP, of, digest), "{}")


TREES = {
    "layers": (lacking_layers, {Kind.MISSING_BLOB: MANY}),
    "children": (lacking_children, {Kind.MISSING_CHILD: MANY}),
    "strays": (strays, {Kind.FOREIGN: MANY}),
    "one-stray": (one_stray, {Kind.FOREIGN: 1}),
    "dead-tags": (dead_tags, {Kind.DEAD_TAG: MANY // 100}),
    "referrers": (
        wrong_referrers,
        {Kind.STALE_REFERRER: 2 * (MANY // 10), Kind.UNLISTED_REFERRER: MANY // 10},
    ),
}


def scrubbed(
    root: Path, after_hold: Callable[[], object] = lambda: None, **options: bool
) -> tuple[list[Finding], list[CountingEditor]]:
    """Scrub; return the findings, and the work under each lock."""
    inner = FilesystemDriver(root, sync=False, threads=2)
    driver = CountingDriver(inner, after_hold)

    async def run() -> list[Finding]:
        try:
            return (await scrub(driver, **options))[0]
        finally:
            await inner.close()

    return asyncio.run(run()), driver.exclusive


def counted(found: list[Finding]) -> dict[Kind, int]:
    """Count findings by kind."""
    kinds = [one.kind for one in found]
    return {kind: kinds.count(kind) for kind in kinds}


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(("make", "found"), TREES.values(), ids=TREES.keys())
def test_the_work_under_one_lock_is_bounded(
    tmp_path: Path, make: Callable[[Path], None], found: dict[Kind, int], repair: bool
) -> None:
    """However much is found; and no manifest is read under the lock."""
    make(tmp_path)
    findings, exclusive = scrubbed(tmp_path, repair=repair)
    assert counted(findings) == found
    assert max(hold.looks for hold in exclusive) <= MOST
    assert sum(hold.content for hold in exclusive) == 0


async def test_a_tag_with_a_long_history_is_left_to_the_operator() -> None:
    """Not all its manifests are checked, so no repair removes the tag."""
    driver = CountingDriver(MemoryDriver())
    for number in range(300):
        digest = Digest("sha256", f"{number:064x}")
        await driver.write(paths.tag_index_link(APP, LATEST, digest), str(digest).encode())
    findings, _ = await scrub(driver, repair=True)
    (of_tag,) = [one for one in findings if one.path == paths.tag_current_link(APP, LATEST)]
    assert (of_tag.kind, of_tag.repaired) == (Kind.DAMAGED_LINK, False)


@pytest.mark.parametrize("make", [lacking_layers, lacking_children])
def test_a_manifest_that_is_deleted_between_two_locks_is_no_finding(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Its references are not checked any more."""
    make(tmp_path)
    links = list((tmp_path / paths.revisions(APP)).rglob("link"))

    def delete() -> None:
        for link in links:
            link.unlink(missing_ok=True)

    findings, _ = scrubbed(tmp_path, delete)
    assert 0 < len(findings) <= 256


def test_content_that_is_pushed_between_two_locks_is_not_missing(tmp_path: Path) -> None:
    """Only what was checked before is reported."""
    lacking_layers(tmp_path)
    to_push = missing()

    def push() -> None:
        while to_push:
            content = to_push.pop()
            digest = Digest.of(content)
            put(tmp_path, paths.blob(digest), content)
            put(tmp_path, paths.layer_link(APP, digest), str(digest))

    findings, _ = scrubbed(tmp_path, push)
    assert 0 < len(findings) <= 256
