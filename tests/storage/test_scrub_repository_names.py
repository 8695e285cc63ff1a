"""A scrub lists each folder of repositories once, in order, however large it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from storage.drivers.base import Entry, Reader
from storage.drivers.memory import MemoryDriver
from storage.drivers.wrapping import WrappedReader
from storage.maintenance.database import Database
from storage.maintenance.scrub.stages import key_queue
from storage.maintenance.scrub.stages.repository_names import RepositoryNames
from storage.repository.registry import walk
from storage.values import paths
from tests.storage.content import name
from tests.storage.examples import SOME

MANY = 1_000
PARTS = st.text("a0-._", min_size=1, max_size=4)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


class Listings(WrappedReader):
    """Counts how often each folder is listed."""

    def __init__(self, inner: Reader) -> None:
        super().__init__(inner)
        self.counts: Counter[str] = Counter()

    def names(self, path: str) -> list[str]:
        self.counts[path] += 1
        return super().names(path)

    def folders(self, path: str) -> list[str]:
        self.counts[path] += 1
        return super().folders(path)

    def entries(self, path: str) -> Iterator[Entry]:
        self.counts[path] += 1
        return super().entries(path)


def _all(reader: Reader, after: str) -> list[str]:
    database = Database(key_queue.SCHEMA)
    names = RepositoryNames(database, after)
    found = [str(one) for some in iter(lambda: names.next(reader), []) for one in some]
    database.close()
    return found


@SOME
@given(folders=st.sets(PATHS, max_size=12), after=st.one_of(st.just(""), PATHS))
@example({"a", "a-b", "a/b", "a.b", "a/b/c", "a-b/c", "a0"}, "a/b")
@example({"a/b", "a--b/c"}, "a-")
@example({"A", "_layers/a", f"a/{'b' * 254}"}, "")
async def test_all_names_come_in_order_from_any_point_on(folders: set[str], after: str) -> None:
    """They are those of the catalog, whatever other entries there are."""
    driver = MemoryDriver()
    for folder in folders:
        await driver.write(f"{paths.REPOSITORIES}/{folder}/_layers/file", b"")
    walked = await driver.batch(lambda reader: [str(one) for one in walk(reader, after)])
    assert await driver.batch(lambda reader: _all(reader, after)) == walked


async def test_no_folder_is_listed_twice() -> None:
    """Even if it has more folders than a page."""
    driver = MemoryDriver()
    for number in range(MANY):
        await driver.write(f"{paths.repository(name(f'many/r{number}'))}/_layers/file", b"")

    def job(reader: Reader) -> tuple[list[str], Counter[str]]:
        listings = Listings(reader)
        return _all(listings, ""), listings.counts

    found, counts = await driver.batch(job)
    assert len(found) == MANY + 1
    assert set(counts.values()) == {1}
