"""Reads that grow with the registry leave threads for all others, and equal ones are shared."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.v2 import listings
from storage.drivers.base import Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository import registry as registry_module
from storage.repository.long_reads import LongReads
from storage.repository.registry import StoredRegistry
from storage.values import listing
from storage.values.digest import Digest
from tests.storage.content import APP, LAYER, OTHER, name, push_blob, push_image

T = TypeVar("T")

MANY = 20
# Looks at the storage that take minutes.
ENDLESS = 10_000_000


class Counting(FilesystemDriver):
    """Counts how many batches run or wait for a thread at the same time."""

    now = most = 0

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run a batch."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await super().batch(job)
        finally:
            self.now -= 1


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Counting]:
    """Give a driver."""
    made = Counting(tmp_path)
    yield made
    asyncio.run(made.close())


def _holders(registry: StoredRegistry, number: int) -> Awaitable[object]:
    return registry.holders(Digest.of(b"%d" % number, "sha512"))


def _catalog(registry: StoredRegistry, number: int) -> Awaitable[object]:
    return registry.catalog(f"a{number}", 10)


def _visible(registry: StoredRegistry, number: int) -> Awaitable[object]:
    return registry.catalog("", 10, lambda _: True)


def _tags(registry: StoredRegistry, number: int) -> Awaitable[object]:
    return registry.repository(APP).tags.page(f"a{number}", None)


@pytest.mark.parametrize(("ask", "most"), [(_holders, 1), (_catalog, 2), (_visible, 2), (_tags, 1)])
async def test_few_are_read_at_a_time(
    ask: Callable[[StoredRegistry, int], Awaitable[object]], most: int, driver: Counting
) -> None:
    """However many clients list different tags; of one repository's tags one list is read."""
    registry = StoredRegistry(driver)
    await push_image(registry.repository(APP))
    driver.most = 0
    await asyncio.gather(*(ask(registry, number) for number in range(MANY)))
    assert driver.most == most


async def test_many_reads_of_one_subject_delay_no_read_of_another(driver: Counting) -> None:
    """They wait for each other, and not all of them for slots."""
    reads, ended = LongReads(driver, 1), list[str]()

    async def ask(question: int, subject: str) -> None:
        await reads.result(question, lambda _: None, subject)
        ended.append(subject)

    many = [asyncio.create_task(ask(number, "many")) for number in range(MANY)]
    await asyncio.sleep(0)
    await asyncio.gather(ask(MANY, "one"), *many)
    assert ended.index("one") <= 3


async def test_referrers_of_one_repository_are_read_one_list_at_a_time(
    driver: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many lists of one repository delay a list of another one little."""
    registry, reading, most = StoredRegistry(driver), 0, 0

    async def batch(job: Callable[[Reader], T]) -> T:
        nonlocal reading, most
        is_list = getattr(job, "__name__", "") == "page"
        reading += is_list
        most = max(most, reading)
        await asyncio.sleep(0.01)
        reading -= is_list
        return await FilesystemDriver.batch(driver, job)

    await push_image(registry.repository(APP))
    referrers = registry.repository(APP).referrers
    pages = [referrers.page(Digest.of(b"%d" % number), None, "", 10) for number in range(MANY)]
    monkeypatch.setattr(driver, "batch", batch)
    await asyncio.gather(*pages)
    assert most == 1


async def test_many_searches_for_blobs_leave_a_turn_to_the_catalog(driver: Counting) -> None:
    """It waits for two of them at most."""
    registry, ended = StoredRegistry(driver), list[str]()

    async def ask(what: str, answer: Awaitable[object]) -> None:
        await answer
        ended.append(what)

    many = [
        asyncio.create_task(ask("search", _holders(registry, number))) for number in range(MANY)
    ]
    await asyncio.sleep(0)
    await asyncio.gather(ask("catalog", _catalog(registry, 0)), *many)
    assert ended.index("catalog") <= 2


class Blocked:
    """A read that ends when it may, and counts how often it started."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun = 0

    def __call__(self, reader: Reader) -> int:
        """Read."""
        self.begun += 1
        assert self.may_end.wait(10)
        return self.begun


@contextmanager
def _blocked() -> Iterator[Blocked]:
    job = Blocked()
    try:
        yield job
    finally:
        job.may_end.set()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a thread makes it hold
            await asyncio.sleep(0.001)


async def test_callers_with_equal_keys_share_a_run_that_has_not_started(driver: Counting) -> None:
    """Two reads suffice: the running one, and one for all that came meanwhile."""
    reads = LongReads(driver, 2)
    with _blocked() as job:
        first = asyncio.ensure_future(reads.result("a", job))
        await _until(lambda: job.begun == 1)
        others = [asyncio.ensure_future(reads.result("a", job)) for _ in range(MANY)]
        await asyncio.sleep(0)
        job.may_end.set()
        assert await first == 1
        assert set(await asyncio.gather(*others)) == {2}


async def test_a_read_that_no_caller_waits_for_is_not_started(driver: Counting) -> None:
    """The next one runs instead."""
    reads = LongReads(driver, 1)
    with _blocked() as job, _blocked() as abandoned:
        first = asyncio.ensure_future(reads.result("a", job))
        await _until(lambda: job.begun == 1)
        second = asyncio.ensure_future(reads.result("b", abandoned))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        job.may_end.set()
        await first
        assert await reads.result("c", lambda _: "read") == "read"
    assert abandoned.begun == 0


async def test_callers_take_turns(driver: Counting) -> None:
    """A caller of many lists delays another's list by one of its own, whichever came first."""
    reads, order = LongReads(driver, 1), list[str]()

    async def ask(caller: str, question: int) -> None:
        job = partial(_noted, order, caller)
        await reads.result((caller, question), job, caller=caller)

    asked = [asyncio.create_task(ask("many", number)) for number in range(MANY)]
    await asyncio.sleep(0)
    asked += [asyncio.create_task(ask("few", number)) for number in range(3)]
    await asyncio.gather(*asked)
    assert sorted(order) == ["few"] * 3 + ["many"] * MANY
    assert "".join(one[0] for one in order).rindex("f") <= 7


def _noted(order: list[str], caller: str, reader: Reader) -> None:
    order.append(caller)


async def test_an_equal_read_of_several_callers_runs_once(
    driver: Counting,
) -> None:
    """None waits in the queue of another: the first whose turn comes reads for all."""
    reads = LongReads(driver, 1)
    with _blocked() as busy, _blocked() as job:
        job.may_end.set()
        first = asyncio.ensure_future(reads.result("busy", busy, caller="many"))
        await _until(lambda: busy.begun == 1)
        asked = [
            asyncio.ensure_future(reads.result("a", job, caller=caller))
            for caller in ("many", *map(str, range(MANY)), *map(str, range(MANY)))
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        busy.may_end.set()
        await asyncio.gather(first, *asked)
    assert job.begun <= 3


async def test_a_running_read_ends_with_its_last_caller(driver: Counting) -> None:
    """It ends at its next read of the storage; then the caller's next one runs."""
    reads, looks = LongReads(driver, 1), list[int]()
    begun = threading.Event()

    def walk(reader: Reader) -> None:
        begun.set()
        while len(looks) < ENDLESS:
            reader.names("")
            looks.append(1)

    first = asyncio.ensure_future(reads.result("a", walk, caller="many"))
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()
    assert await reads.result("b", lambda _: "read", caller="many") == "read"
    assert len(looks) < ENDLESS


async def test_cancelled_reads_of_a_caller_are_not_started(driver: Counting) -> None:
    """However many reads it cancelled, its next one and another caller's run immediately."""
    reads = LongReads(driver, 1)
    with _blocked() as job, _blocked() as abandoned:
        first = asyncio.ensure_future(reads.result("a", job, caller="many"))
        await _until(lambda: job.begun == 1)
        left = [
            asyncio.ensure_future(reads.result(number, abandoned, caller="many"))
            for number in range(MANY)
        ]
        await asyncio.sleep(0)
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        job.may_end.set()
        assert await reads.result("b", lambda _: "read", caller="few") == "read"
        assert await reads.result("c", lambda _: "read", caller="many") == "read"
        await first
    assert abandoned.begun == 0


async def test_a_search_ends_after_so_many_repositories(
    driver: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob that only later ones have is uploaded again."""
    registry = StoredRegistry(driver)
    names = sorted([APP, OTHER, name("zoo/last")])
    for each in names:
        digest = await push_blob(registry.repository(each), LAYER)
    assert await registry.holders(digest) == names
    # Above a repository there may be a folder, which could be one.
    monkeypatch.setattr(registry_module, "MOST_SEARCHED", 3)
    assert names[0] in await registry.holders(digest)
    assert names[-1] not in await registry.holders(digest)


@given(names=st.sets(st.text(max_size=5), max_size=40), after=st.text(max_size=2))
def test_names_that_are_sorted_in_parts_are_in_order(names: set[str], after: str) -> None:
    """Whatever the number of parts."""
    expected = sorted(one for one in names if one > after)
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 3, 40):
            patch.setattr(listing, "_SORTED_AT_ONCE", size)
            assert list(listing.behind([*names], after)) == expected


@given(st.lists(st.text(max_size=5), max_size=40))
def test_a_list_that_is_encoded_in_parts_is_whole(names: list[str]) -> None:
    """Its bytes are those of a list that is encoded in one call."""
    expected = json.dumps({"tags": names}, separators=(",", ":")).encode()
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 3, 40):
            patch.setattr(listings, "_BATCH", size)
            assert listings._document('{"tags":[', names) == expected
