"""Large manifests are read and parsed a few at a time; small ones do not wait for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.concurrency.large_documents import BUDGET, INLINE, ByteBudget, parse_in_budget
from storage.content.manifest_store import ManifestStore
from storage.drivers.base import Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.values.digest import Digest
from storage.values.manifests import MANIFEST_LIMIT, StoredManifest
from storage.values.paths import blob
from tests.storage.content import index, raw
from tests.storage.examples import SOME

T = TypeVar("T")

MOST = 10


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Users:
    """Tasks that acquire bytes of the budget until they are ended."""

    def __init__(self) -> None:
        self.room = ByteBudget(MOST)
        self.tasks: list[asyncio.Task[None]] = []
        self.using: dict[asyncio.Task[None], int] = {}

    async def come(self, size: int) -> None:
        """Start one more task."""
        self.tasks.append(asyncio.create_task(self._use(size)))
        await _turns()

    async def _use(self, size: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        async with self.room.of(size):
            self.using[task] = min(size, MOST)
            try:
                await asyncio.Event().wait()
            finally:
                del self.using[task]

    async def leave(self, at: int) -> None:
        """End a task, whether it is admitted or waits."""
        if self.tasks:
            self.tasks.pop(at % len(self.tasks)).cancel()
            await _turns()


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "leave"]), st.integers(1, 15)), max_size=20
)


@SOME
@given(steps=STEPS)
async def test_the_budget_is_never_exceeded(steps: list[tuple[str, int]]) -> None:
    """All admitted tasks fit into it, the first come first, and the rest is free."""
    users = Users()
    for step, number in steps:
        await (users.come(number) if step == "come" else users.leave(number))
        assert sum(users.using.values()) <= MOST
        first = users.tasks[: len(users.using)]
        assert set(first) == set(users.using)
        assert bool(users.tasks) == bool(users.using)
    while users.tasks:
        await users.leave(0)
    async with asyncio.timeout(20), users.room.of(MOST):
        pass


async def test_small_documents_do_not_wait_for_large_ones() -> None:
    """They are parsed immediately."""
    async with BUDGET.of(MANIFEST_LIMIT), BUDGET.of(MANIFEST_LIMIT):
        large = asyncio.ensure_future(parse_in_budget(len, bytes(INLINE + 1)))
        await _turns()
        assert await parse_in_budget(len, bytes(INLINE)) == INLINE
        assert not large.done()
    assert await large == INLINE + 1


class Counting(FilesystemDriver):
    """Counts reads of large files."""

    reads = 0

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run a batch."""
        found = await super().batch(job)
        self.reads += isinstance(found, StoredManifest)
        return found


def _large(size: int = MANIFEST_LIMIT) -> bytes:
    document = raw(index([]))
    return document + b" " * (size - len(document))


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    """Make a driver."""
    return Counting(tmp_path)


@pytest.fixture
async def digest(counting: Counting) -> AsyncIterator[Digest]:
    """Store the largest manifest that is accepted by default."""
    content = _large()
    made = Digest.of(content)
    await counting.write(blob(made), content)
    yield made
    await counting.close()


async def test_callers_of_the_same_manifest_share_its_bytes(
    counting: Counting, digest: Digest
) -> None:
    """It is read once, and cached although it is large."""
    store = ManifestStore(counting)
    found = await asyncio.gather(*(store.get(digest) for _ in range(20)))
    assert found[0] is not None
    assert all(each is found[0] for each in found)
    assert await store.get(digest) is found[0]
    assert counting.reads == 1


async def test_a_large_manifest_is_parsed_once(
    counting: Counting, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its type is known when its bytes are read again."""
    store = ManifestStore(counting, cache_bytes=INLINE)
    first = await store.get(digest)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it is parsed again")

    monkeypatch.setattr(json, "loads", refuse)
    assert await store.get(digest) == first
    assert counting.reads == 2
