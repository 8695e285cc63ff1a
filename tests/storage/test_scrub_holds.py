"""Pushes wait while a scrub holds the exclusive lock: what it does under one hold is bounded.

Counted are the looks at the tree under one hold, and the entries of a folder that is listed. The
other bound, of time, can only have it do less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.drivers.base import SMALL, Driver, Editor, Entry
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.maintenance.scrub.findings import Finding, Kind
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, CONFIG, entry, image, index, raw
from tests.storage.scrubbing import scrub
from tests.storage.wrappers import T, WrappedDriver, WrappedView

MANY = 1_000
# Looks of one entry, times entries that are looked at under one hold.
MOST = 7 * 256
LATEST = Tag("latest")


class CountingEditor(WrappedView):
    """Counts looks, the entries of folders that are listed, and the bytes of blobs."""

    def __init__(self, inner: Editor) -> None:
        self.looks = self.content = 0
        super().__init__(inner, self._count)
        self.remove, self.remove_empty, self.move = inner.remove, inner.remove_empty, inner.move

    def _count(self) -> None:
        self.looks += 1

    def names(self, path: str) -> list[str]:
        """Count each name."""
        return [one.name for one in self.entries(path)]

    def folders(self, path: str) -> list[str]:
        """Count each name."""
        return [one.name for one in self.entries(path) if one.is_folder]

    def entries(self, path: str) -> Iterator[Entry]:
        """Count each entry."""
        for one in super().entries(path):
            self._count()
            yield one

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Count the bytes of a blob."""
        content = super().read(path, limit)
        self.content += len(content) if path.startswith(paths.BLOBS) else 0
        return content


class CountingDriver(WrappedDriver):
    """Counts what is done under each hold of the exclusive lock; `after_hold` comes after each."""

    def __init__(self, inner: Driver, after_hold: Callable[[], object] = lambda: None) -> None:
        super().__init__(inner)
        self.exclusive: list[CountingEditor] = []
        self._after_hold = after_hold

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        """Count."""

        def counted(editor: Editor) -> T:
            self.exclusive.append(CountingEditor(editor))
            return job(self.exclusive[-1])

        done = await self.inner.exclusively(counted)
        await asyncio.to_thread(self._after_hold)
        return done


def put(root: Path, path: str, content: bytes | str) -> None:
    """Write a file, with the folders above it."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def put_manifest(root: Path, content: bytes) -> Digest:
    """Store a manifest, and make it a member."""
    digest = Digest.of(content)
    put(root, paths.blob(digest), content)
    put(root, paths.revision_link(APP, digest), str(digest))
    return digest


def put_config(root: Path) -> None:
    """Store what each image has as its configuration."""
    put(root, paths.blob(Digest.of(CONFIG)), CONFIG)
    put(root, paths.layer_link(APP, Digest.of(CONFIG)), str(Digest.of(CONFIG)))


def missing() -> list[bytes]:
    """Return contents that no test stores."""
    return [b"missing %d" % number for number in range(MANY)]


def lacking_layers(root: Path) -> None:
    """Make an image that names a great many layers, and has none."""
    put_config(root)
    put_manifest(root, raw(image(missing())))


def lacking_children(root: Path) -> None:
    """Make an index that names a great many manifests, and has none."""
    put_manifest(root, raw(index(missing())))


def strays(root: Path) -> None:
    """Put files of other programs into a folder where as many of ours are."""
    for number in range(MANY):
        (root / paths.layers(APP) / f"sha256/{number:064x}").mkdir(parents=True)
        put(root, f"{paths.layers(APP)}/sha256/stray-{number}", "")


def one_stray(root: Path) -> None:
    """Put one file into a folder where a great many of ours are."""
    for number in range(MANY * 3):
        (root / paths.layers(APP) / f"sha256/{number:064x}").mkdir(parents=True)
    put(root, f"{paths.layers(APP)}/sha256/stray", "")


def dead_tags(root: Path) -> None:
    """Make tags without their links, and with histories of manifests that are gone."""
    for tag in range(MANY // 100):
        (root / paths.tag(APP, Tag(f"v{tag}")) / paths.CURRENT).mkdir(parents=True)
        for number in range(100):
            digest = Digest("sha256", f"{number:064x}")
            put(root, paths.tag_index_link(APP, Tag(f"v{tag}"), digest), str(digest))


def wrong_referrers(root: Path) -> None:
    """Have the index of referrers name large manifests that have another subject, or none."""
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
    """Scrub; return what was found, and what was done under each hold."""
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
def test_one_hold_of_the_lock_does_little(
    tmp_path: Path, make: Callable[[Path], None], found: dict[Kind, int], repair: bool
) -> None:
    """However much there is to be found; and no manifest is read under the lock."""
    make(tmp_path)
    findings, exclusive = scrubbed(tmp_path, repair=repair)
    assert counted(findings) == found
    assert max(hold.looks for hold in exclusive) <= MOST
    assert sum(hold.content for hold in exclusive) == 0


async def test_a_history_that_is_too_long_is_a_question_for_people() -> None:
    """Not all its manifests are looked for, and so no repair removes the tag."""
    driver = CountingDriver(MemoryDriver())
    for number in range(300):
        digest = Digest("sha256", f"{number:064x}")
        await driver.write(paths.tag_index_link(APP, LATEST, digest), str(digest).encode())
    findings, _ = await scrub(driver, repair=True)
    (of_tag,) = [one for one in findings if one.path == paths.tag_current_link(APP, LATEST)]
    assert (of_tag.kind, of_tag.repaired) == (Kind.DAMAGED_LINK, False)


@pytest.mark.parametrize("make", [lacking_layers, lacking_children])
def test_a_manifest_that_is_deleted_between_two_holds(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """What it names is looked for no longer."""
    make(tmp_path)
    links = list((tmp_path / paths.revisions(APP)).rglob("link"))

    def delete() -> None:
        for link in links:
            link.unlink(missing_ok=True)

    findings, _ = scrubbed(tmp_path, delete)
    assert 0 < len(findings) <= 256


def test_what_is_pushed_between_two_holds_is_not_missing(tmp_path: Path) -> None:
    """Those are reported that were looked at before."""
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
