"""A folder may be of any size: a scrub keeps only a page of it in memory.

The tests measure the peak memory of Python. That of SQLite is bounded by its cache.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

import storage.values.digest
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.maintenance.progress import NoProgress
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.run import Options, Scrub
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, CONFIG, image, raw
from tests.support.scratch import scratch_folder

pytestmark = pytest.mark.slow

# Both are several pages.
FEW, MANY = 600, 3_000
# Bytes; less than a name for each additional entry.
MOST = 128 << 10
SUBJECT = Digest("sha256", 64 * "5")
LATEST = Tag("latest")


class Large(NamedTuple):
    """A tree with many of one thing: its folders, and the findings of a scrub for each."""

    folder: Callable[[int], str]
    finds: Kind | None = None


LARGE = {
    "layers": Large(lambda n: f"{paths.layers(APP)}/sha256/{n:064x}"),
    "layers-sha512": Large(lambda n: f"{paths.layers(APP)}/sha512/{n:0128x}"),
    "manifests": Large(lambda n: f"{paths.revisions(APP)}/sha256/{n:064x}"),
    "tags": Large(lambda n: f"{paths.tags(APP)}/{n}", Kind.DEAD_TAG),
    "history": Large(lambda n: f"{paths.tag_history(APP, LATEST)}/sha256/{n:064x}"),
    "subjects": Large(lambda n: f"{paths.referrers_of_all(APP)}/sha256/{n:064x}"),
    "referrers": Large(lambda n: f"{paths.referrers(APP, SUBJECT)}/sha256/{n:064x}"),
    "uploads": Large(lambda n: f"{paths.uploads(APP)}/{UUID(int=n)}"),
    "repositories": Large(lambda n: f"{paths.REPOSITORIES}/r{n}"),
    "strays": Large(lambda n: f"{paths.layers(APP)}/sha256/stray-{n}", Kind.FOREIGN),
    "strays-among-tags": Large(lambda n: f"{paths.tags(APP)}/-{n}", Kind.FOREIGN),
}


class Counted:
    """Counts findings, and checks that those of a kind come in the order of their paths."""

    def __init__(self) -> None:
        self.kinds: Counter[Kind] = Counter()
        self._last: dict[Kind, str] = {}

    def found(self, finding: Finding) -> None:
        self.kinds[finding.kind] += 1
        assert finding.path > self._last.get(finding.kind, "")
        self._last[finding.kind] = finding.path


@pytest.fixture(autouse=True)
def _few_are_recalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off caches and lists whose bound exceeds the number of entries here."""
    monkeypatch.setattr("storage.values.digest._parse", storage.values.digest._parse.__wrapped__)
    monkeypatch.setattr("storage.drivers.filesystem.folder_cache._MANY", 1 << 30)
    monkeypatch.setattr("storage.maintenance.scrub.checkpoint._MOST_FINDINGS", 10)
    # A read first takes as much memory as it may return.
    for reader in ("checks.manifest_checks", "reading.manifest_facts"):
        monkeypatch.setattr(f"storage.maintenance.scrub.{reader}.LARGEST_MANIFEST", 4096)


@pytest.fixture
def traced() -> Iterator[None]:
    """Let Python measure its memory."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def scrubbed(root: Path) -> tuple[Counter[Kind], int]:
    """Scrub; return the number of findings, and the peak memory."""
    driver, counted = FilesystemDriver(root, threads=2), Counted()

    async def run() -> None:
        try:
            await Scrub(driver, Options(), counted, NoProgress()).run()
        finally:
            await driver.close()

    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    asyncio.run(run())
    return counted.kinds, tracemalloc.get_traced_memory()[1] - before


def write(path: Path, content: str) -> None:
    """Write a file, with its parents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="ascii")


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE.keys())
def test_a_large_folder_is_not_kept_in_memory(large: Large) -> None:
    """Five times as many of one thing take the same memory."""

    def of(many: int) -> int:
        with scratch_folder() as root:
            # The tag with the long history: a tag that points to a missing manifest is dead.
            write(root / paths.revision_link(APP, SUBJECT), str(SUBJECT))
            write(root / paths.tag_current_link(APP, LATEST), str(SUBJECT))
            for number in range(many):
                (root / large.folder(number)).mkdir(parents=True)
            kinds, peak = scrubbed(root)
        # The bytes of the manifest are not stored.
        assert kinds.pop(Kind.DEAD_LINK) == 1
        assert kinds == ({large.finds: many} if large.finds else {})
        return peak

    few, many = of(FEW), of(MANY)
    assert many - few < MOST


@pytest.mark.usefixtures("traced")
def test_referrers_that_the_index_lacks_are_not_kept_in_memory() -> None:
    """A list of referrers that was never requested has no index: it comes from the manifests."""

    def of(many: int) -> int:
        with scratch_folder() as root:
            write(root / paths.blob(Digest.of(CONFIG)), CONFIG.decode())
            write(root / paths.layer_link(APP, Digest.of(CONFIG)), str(Digest.of(CONFIG)))
            for number in range(many):
                subject = {"digest": str(SUBJECT), "size": 2, "mediaType": "application/x"}
                manifest = {**image(()), "annotations": {"n": str(number)}, "subject": subject}
                content = raw(manifest)
                digest = Digest.of(content)
                write(root / paths.blob(digest), content.decode())
                write(root / paths.revision_link(APP, digest), str(digest))
            kinds, peak = scrubbed(root)
        assert kinds == {Kind.UNLISTED_REFERRER: many}
        return peak

    few, many = of(FEW), of(MANY // 2)
    assert many - few < MOST
