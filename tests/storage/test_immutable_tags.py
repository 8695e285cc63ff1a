"""Where tags are immutable, each is set once, by exactly one of all concurrent callers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.errors import ManifestUnknown, TagImmutable
from storage.repository.modes import UndeletableRegistry
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Tag
from tests.storage import tag_setter
from tests.storage.content import APP, CONFIG, LAYER, image, push_blob, push_image, raw, tags
from tests.storage.examples import MANY
from tests.storage.turnstile import hold_call
from tests.storage.wrappers import RecordingDriver
from tests.support.drivers import AnyDriver

V1 = Tag("v1")
DOCUMENTS = [raw(image(annotations={"n": str(number)})) for number in range(6)]
DIGESTS = [Digest.of(document) for document in DOCUMENTS]
WORKERS, CONTESTED = 3, 40

Spoil: TypeAlias = Callable[[Path], None]


async def _put(repository: StoredRepository, number: int, *texts: str) -> None:
    manifest = parse_manifest(DOCUMENTS[number])
    await repository.manifests.put(manifest, DIGESTS[number], tags(*texts))


def _once(driver: Driver) -> StoredRepository:
    """Open the repository as a caller that may not move tags."""
    return StoredRegistry(driver).repository(APP, moves_tags=False)


async def _leads_to(repository: StoredRepository, tag: str) -> Digest:
    return (await repository.manifests.get(Tag(tag))).digest


@pytest.fixture
async def stored(driver: AnyDriver) -> AnyDriver:
    """Give each driver in turn, with the content that the manifests refer to."""
    await push_image(StoredRegistry(driver).repository(APP), "base")
    return driver


async def test_a_tag_that_exists_stays_where_it_is(stored: AnyDriver) -> None:
    """Another manifest is refused before anything is stored; the same one is not."""
    recording = RecordingDriver(stored)
    repository = _once(recording)
    await _put(repository, 0, "v1")
    recording.changes.clear()
    with pytest.raises(TagImmutable, match="the tag v1 exists and may not be moved") as refused:
        await _put(repository, 1, "v1")
    assert refused.value.tag == V1
    assert recording.changes == []
    await _put(repository, 0, "v1")
    assert await _leads_to(repository, "v1") == DIGESTS[0]


async def test_one_tag_that_exists_keeps_the_others_from_being_set(stored: AnyDriver) -> None:
    """Of several tags in one push none is set, nor is the manifest stored."""
    repository = _once(stored)
    await _put(repository, 0, "v1")
    with pytest.raises(TagImmutable):
        await _put(repository, 1, "new", "v1", "newer")
    assert (await repository.tags.page("", None)).entries == tags("base", "v1")
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(DIGESTS[1])
    await _put(repository, 0, "new", "v1", "newer")
    assert await _leads_to(repository, "newer") == DIGESTS[0]


async def test_a_caller_that_may_move_tags_moves_them(stored: AnyDriver) -> None:
    """The right belongs to the caller, not to the tag; a mode passes it on."""
    registry = UndeletableRegistry(StoredRegistry(stored))
    await _put(_once(stored), 0, "v1")
    manifest = parse_manifest(DOCUMENTS[1])
    with pytest.raises(TagImmutable):
        await registry.repository(APP, moves_tags=False).manifests.put(manifest, DIGESTS[1], (V1,))
    await registry.repository(APP).manifests.put(manifest, DIGESTS[1], (V1,))
    assert await _leads_to(_once(stored), "v1") == DIGESTS[1]


async def test_a_deleted_tag_may_be_set_again(stored: AnyDriver) -> None:
    """Deleted by itself, or with its manifest."""
    repository = _once(stored)
    await _put(repository, 0, "v1")
    await repository.tags.delete(V1)
    await _put(repository, 1, "v1")
    await repository.manifests.delete(DIGESTS[1])
    await _put(repository, 2, "v1")
    assert await _leads_to(repository, "v1") == DIGESTS[2]


@pytest.mark.parametrize("dead", ["no manifest", "no bytes", "no bytes left", "a damaged link"])
async def test_a_dangling_tag_may_be_set_again(stored: AnyDriver, dead: str) -> None:
    """But of two callers that do so one is refused."""
    repository = _once(stored)
    await _put(repository, 0, "v1")
    if dead == "no manifest":
        await stored.delete(paths.revision_link(APP, DIGESTS[0]))
    elif dead == "no bytes":
        await stored.delete(paths.blob(DIGESTS[0]))
    elif dead == "no bytes left":
        await stored.write(paths.blob(DIGESTS[0]), b"")
    else:
        await stored.write(paths.tag_current_link(APP, V1), b"")
    results = await asyncio.gather(
        _put(repository, 1, "v1"), _put(repository, 2, "v1"), return_exceptions=True
    )
    assert sorted(map(type, results), key=str) == sorted([TagImmutable, type(None)], key=str)
    assert await _leads_to(repository, "v1") == DIGESTS[1 + results.index(None)]


async def test_of_many_first_pushes_exactly_one_sets_the_tag(stored: AnyDriver) -> None:
    """All others get `TagImmutable`, and the tag points to what the one pushed."""
    repositories = [_once(stored) for _ in DOCUMENTS]
    pushes = (_put(one, number, "v1") for number, one in enumerate(repositories))
    results = await asyncio.gather(*pushes, return_exceptions=True)
    assert [result for result in results if not isinstance(result, TagImmutable)] == [None]
    assert await _leads_to(repositories[0], "v1") == DIGESTS[results.index(None)]


class Model:
    """A registry, and what its tags must point to."""

    def __init__(self) -> None:
        self._registry = StoredRegistry(MemoryDriver())
        self.repository = self._registry.repository(APP)
        self.tags: dict[str, int] = {}

    async def prepare(self) -> None:
        """Push the content that the manifests refer to."""
        for blob in (CONFIG, LAYER):
            await push_blob(self.repository, blob)

    async def push(self, number: int, named: frozenset[str], *, moves: bool) -> None:
        """Push a manifest under tags: refused exactly if one points elsewhere and may not move."""
        is_refused = not moves and any(self.tags.get(tag, number) != number for tag in named)
        repository = self._registry.repository(APP, moves_tags=moves)
        with pytest.raises(TagImmutable) if is_refused else contextlib.nullcontext():
            await _put(repository, number, *sorted(named))
        if not is_refused:
            self.tags |= dict.fromkeys(named, number)

    async def untag(self, tag: str) -> None:
        """Delete a tag."""
        with contextlib.suppress(ManifestUnknown):
            await self.repository.tags.delete(Tag(tag))
        self.tags.pop(tag, None)

    async def delete(self, number: int) -> None:
        """Delete a manifest."""
        with contextlib.suppress(ManifestUnknown):
            await self.repository.manifests.delete(DIGESTS[number])
        self.tags = {tag: one for tag, one in self.tags.items() if one != number}


Step: TypeAlias = Callable[[Model], Awaitable[None]]

NUMBERS, NAMES = st.integers(0, 2), st.sampled_from("abc")
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda number, named, moves: lambda model: model.push(number, named, moves=moves),
        NUMBERS,
        st.frozensets(NAMES, max_size=3),
        st.booleans(),
    ),
    st.builds(lambda tag: lambda model: model.untag(tag), NAMES),
    st.builds(lambda number: lambda model: model.delete(number), NUMBERS),
)


@MANY
@given(work=st.lists(STEPS, max_size=12))
async def test_no_immutable_tag_moves_whatever_is_pushed_and_deleted(work: list[Step]) -> None:
    """A push is refused exactly if a tag of it points to another manifest, and then as a whole."""
    model = Model()
    await model.prepare()
    for step in work:
        await step(model)
    assert (await model.repository.tags.page("", None)).entries == tags(*sorted(model.tags))
    for text, number in model.tags.items():
        assert await _leads_to(model.repository, text) == DIGESTS[number]


@pytest.fixture
def roomy(tmp_path: Path) -> list[FilesystemDriver]:
    """Make the drivers of two processes."""
    return [FilesystemDriver(tmp_path, sync=False, threads=2) for _ in range(2)]


@pytest.fixture
async def pair(roomy: list[FilesystemDriver]) -> AsyncIterator[list[FilesystemDriver]]:
    """Give the drivers over one root, with the content that the manifests refer to."""
    await push_image(StoredRegistry(roomy[0]).repository(APP), "base")
    yield roomy
    for driver in roomy:
        await driver.close()


async def test_a_push_that_is_overtaken_before_it_creates_the_tag_is_refused(
    pair: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag is missing at the check, and exists when it is to be created."""
    late, early = map(_once, pair)
    held = hold_call(monkeypatch, "rename", paths.tag(APP, V1))
    pushing = asyncio.ensure_future(_put(late, 0, "v1"))
    await held.entered(pushing)
    await _put(early, 1, "v1")
    held.release()
    with pytest.raises(TagImmutable):
        await pushing
    assert await _leads_to(early, "v1") == DIGESTS[1]
    assert (await early.manifests.get(DIGESTS[0])).digest == DIGESTS[0]


async def test_an_empty_folder_is_not_taken_for_a_tag(
    pair: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on it protects nothing: a new tag may replace it, and be the one that is set."""
    early, late = map(_once, pair)
    folder = Path(pair[0].root, paths.tag(APP, V1))
    appearing = hold_call(monkeypatch, "rename", str(folder))
    first = asyncio.ensure_future(_put(early, 0, "v1"))
    await appearing.entered(first)
    await asyncio.to_thread(folder.mkdir)
    moving = hold_call(monkeypatch, "mkdir", f"{folder}/index")
    second = asyncio.ensure_future(_put(late, 1, "v1"))
    with contextlib.suppress(AssertionError):  # it need not come there
        await moving.entered(second)
    appearing.release()
    await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    moving.release()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert sorted(map(type, results), key=str) == sorted([TagImmutable, type(None)], key=str)
    assert await _leads_to(early, "v1") == DIGESTS[results.index(None)]


class Worker:
    """A running `tag_setter`."""

    def __init__(self, root: Path, number: int) -> None:
        command = [sys.executable, "-m", "tests.storage.tag_setter", str(root), str(number)]
        self.digest = Digest.of(tag_setter.document(number))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def begin(self, tag: str) -> None:
        """Start setting a tag."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{tag}\n")

    def answer(self) -> str:
        """Return the worker's answer."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """End the process and close its pipes."""
        assert self._process.communicate()[0] == ""
        assert self._process.returncode == 0


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Start processes over one root."""
    made = [Worker(tmp_path, number) for number in range(WORKERS)]
    yield made
    for worker in made:
        worker.end()


def _leave_nothing(folder: Path) -> None:
    """Leave no such tag."""


def _leave_an_empty_folder(folder: Path) -> None:
    """Leave the folder of a tag that another program made before it ended."""
    folder.mkdir()


def _leave_a_dead_link(folder: Path) -> None:
    """Leave a tag whose manifest is deleted."""
    (folder / "current").mkdir(parents=True)
    (folder / "current/link").write_text(str(Digest.of(b"gone")))


BEFORE: tuple[Spoil, ...] = (_leave_nothing, _leave_an_empty_folder, _leave_a_dead_link)


@pytest.mark.parametrize("prepare", BEFORE, ids=lambda one: one.__name__)
async def test_of_several_processes_exactly_one_sets_a_tag(
    pair: list[FilesystemDriver], workers: list[Worker], prepare: Spoil
) -> None:
    """Of all that push concurrently one succeeds, and the tag points to what it pushed."""
    root = Path(pair[0].root)
    repository = _once(pair[0])
    for text in (f"t{number}" for number in range(CONTESTED)):
        await asyncio.to_thread(prepare, root / paths.tag(APP, Tag(text)))
        for worker in workers:
            worker.begin(text)
        answers = [await asyncio.to_thread(worker.answer) for worker in workers]
        assert sorted(answers) == ["refused"] * (WORKERS - 1) + ["set"]
        winner = workers[answers.index("set")]
        assert await _leads_to(repository, text) == winner.digest
