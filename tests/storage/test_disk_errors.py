"""The disk may fail at any operation: once, from then on, or because it is full.

The call that meets the error fails with it, or did not need the operation. Nothing acknowledged is
lost, nothing half-written is served, the process continues to serve, and the same call succeeds
once the disk works. No descriptor stays open, so no lock is held either.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import Unknown
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.paths import TRASH
from tests.storage.content import APP, append, begin, finish, pull_blob
from tests.storage.cut_off import CHUNKS, SCENARIOS, Scenario, files, lasting, leftovers
from tests.storage.file_operations import CHANGING, READING, Operation, watch
from tests.storage.ledger import NO, Client, Ledger, assert_kept
from tests.storage.soundness import assert_sound
from tests.support.scratch import scratch_folder

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("eager_states", "impatient")]

# Operations that need space on the disk.
_GROWING = frozenset({"create", "mkdir", "write"})
_OPENING = frozenset({"create", "open"})
# Each in turn, because the same operations recur.
_CODES = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]


@dataclass
class Disk:
    """A disk that refuses operations of some kinds, from number `at` of them."""

    code: int
    kinds: frozenset[str]
    at: int
    stays: bool
    refused: list[Operation] = field(default_factory=list)
    _number: int = 0

    def before(self, operation: Operation) -> None:
        """Refuse an operation, or not."""
        if operation.kind not in self.kinds:
            return
        if self.kinds == _GROWING and not _needs_room(operation):
            return
        number, self._number = self._number, self._number + 1
        if number == self.at or (self.stays and number > self.at):
            self.refused.append(operation)
            if operation.kind == "write":
                # A full disk takes what fits, and refuses the next call.
                half = operation.data[: len(operation.data) // 2]
                os.pwrite(operation.fd, half, operation.offset)
            raise OSError(self.code, os.strerror(self.code), operation.path)

    async def meet(self, work: Awaitable[None]) -> None:
        """Await work that may fail with this disk's errors only."""
        try:
            await work
        except OSError:
            # Not always with the same error: `os.makedirs` raises its own.
            if not self.refused:
                raise


def _needs_room(operation: Operation) -> bool:
    """Return whether an operation needs new space on the disk."""
    if operation.kind == "write":
        return operation.offset + len(operation.data) > os.fstat(operation.fd).st_size
    return not os.path.lexists(operation.path)


@dataclass
class Ground:
    """A prepared root, what was acknowledged, and the result of undisturbed work."""

    folder: Path
    scenario: Scenario
    before: Ledger = field(default_factory=Ledger)
    after: Ledger = field(default_factory=Ledger)
    undisturbed: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def prepare(self) -> None:
        """Create the root, and record what the work does when nothing fails."""
        root = self.folder / "prepared"
        root.mkdir()
        driver = FilesystemDriver(root, threads=2)
        await self.scenario.prepare(Client(StoredRegistry(driver), self.before))
        await driver.close()
        again = self.fresh()
        driver = FilesystemDriver(again, threads=2)
        self.after = self.before.copy()
        await self.scenario.work(Client(StoredRegistry(driver), self.after))
        await driver.close()
        self.undisturbed = lasting(again)

    def fresh(self) -> Path:
        """Copy the prepared root."""
        root = self.folder / str(next(self.numbers))
        shutil.copytree(self.folder / "prepared", root, copy_function=shutil.copyfile)
        return root


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """Replace the detector of blocking calls, which would take most of the time."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder for many roots."""
    with scratch_folder() as made:
        yield made


@pytest.fixture
async def ground(request: pytest.FixtureRequest, folder: Path) -> Ground:
    """Return a prepared scenario."""
    made = Ground(folder, SCENARIOS[request.param])
    await made.prepare()
    return made


def _each_scenario() -> pytest.MarkDecorator:
    """Run a test with each scenario."""
    return pytest.mark.parametrize("ground", SCENARIOS, indirect=True)


async def _fail_everywhere(
    ground: Ground, codes: Sequence[int], kinds: frozenset[str], *, stays: bool
) -> int:
    """Let each operation of some kinds fail in turn; return how many there are."""
    for at in itertools.count():
        disk = Disk(codes[at % len(codes)], kinds, at, stays)
        root = ground.fresh()
        driver = FilesystemDriver(root, threads=2)
        try:
            await _fail(ground, driver, root, disk)
        except Exception as error:
            error.add_note(f"{errno.errorcode[disk.code]} at {list(map(str, disk.refused[:4]))}")
            raise
        finally:
            await driver.close()
        shutil.rmtree(root)
        if not disk.refused:
            return at
    raise AssertionError


async def _fail(ground: Ground, driver: FilesystemDriver, root: Path, disk: Disk) -> None:
    registry, ledger = StoredRegistry(driver), ground.before.copy()
    with watch(root, disk.before, reads=True):
        await disk.meet(ground.scenario.work(Client(registry, ledger)))
        if disk.stays and disk.kinds <= CHANGING:
            await assert_kept(registry, ledger)
    assert _open_files(root) == []
    await assert_sound(driver)
    await assert_kept(registry, ledger)
    if not disk.stays or disk.kinds == _GROWING:
        # What was moved aside stays whole if that may not be durable: it must not come back from
        # a power cut with half of what was in it. A start or a collection empties the trash.
        _assert_tidy(root, ledger, but=TRASH if ground.scenario.removes else "nothing")
    await ground.scenario.again(Client(registry, ledger))
    await assert_kept(registry, ground.after.without("upload"))
    assert lasting(root) == ground.undisturbed
    assert _open_files(root) == []


def _open_files(root: Path) -> list[str]:
    """Return the files below a folder that this process has open, locked files included."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    return [path for path in found if path.startswith(f"{root}/")]


def _assert_tidy(root: Path, ledger: Ledger, but: str) -> None:
    """Check that temporary files are left in one folder only, and no unknown upload."""
    assert [path for path in leftovers(root) if not path.startswith(f"{but}/")] == []
    known = {
        (name, id) for (_, name, id), values in ledger.about("upload").items() if values != {NO}
    }
    below = f"{paths.REPOSITORIES}/"
    for path in files(root):
        name, is_upload, rest = path.removeprefix(below).partition("/_uploads/")
        assert not is_upload or (name, rest.partition("/")[0]) in known, path


@_each_scenario()
async def test_a_change_that_fails_once(ground: Ground) -> None:
    """The call is undone or done, and leaves no temporary files."""
    changes = await _fail_everywhere(ground, _CODES, CHANGING, stays=False)
    assert changes >= ground.scenario.fewest


@_each_scenario()
async def test_a_disk_that_refuses_all_changes_from_some_point_on(ground: Ground) -> None:
    """Everything acknowledged is served meanwhile; only temporary files may stay."""
    changes = await _fail_everywhere(ground, _CODES, CHANGING, stays=True)
    assert changes >= ground.scenario.fewest


@_each_scenario()
async def test_a_disk_that_is_full_from_some_point_on(ground: Ground) -> None:
    """Work that needs no space succeeds, so failed work has freed its space."""
    await _fail_everywhere(ground, [errno.ENOSPC, errno.EDQUOT], _GROWING, stays=True)


@_each_scenario()
async def test_an_open_for_which_there_is_no_descriptor(ground: Ground) -> None:
    """A file or folder that can't be opened does not count as missing."""
    await _fail_everywhere(ground, [errno.EMFILE], _OPENING, stays=False)


@_each_scenario()
async def test_no_more_descriptors_from_some_point_on(ground: Ground) -> None:
    """The call fails; the next one succeeds when there are descriptors again."""
    await _fail_everywhere(ground, [errno.EMFILE], _OPENING, stays=True)


@_each_scenario()
async def test_a_read_that_fails_once(ground: Ground) -> None:
    """A file that can't be read does not count as missing."""
    await _fail_everywhere(ground, [errno.EIO], READING - {"stat"}, stays=False)


@_each_scenario()
async def test_a_stat_that_fails_once(ground: Ground) -> None:
    """A path whose `stat` fails does not count as missing, and its lock is released."""
    await _fail_everywhere(ground, [errno.EIO], frozenset({"stat"}), stays=False)


@pytest.mark.parametrize("ground", ["upload in chunks"], indirect=True)
async def test_a_session_continues_after_a_full_disk(ground: Ground) -> None:
    """It keeps the bytes before the chunk that did not fit, and takes that chunk later."""
    driver = FilesystemDriver(ground.fresh(), threads=2)
    repository = StoredRegistry(driver).repository(APP)
    first, second = CHUNKS[:2]
    disk = Disk(errno.ENOSPC, frozenset({"write"}), 0, stays=True)
    try:
        id = await begin(repository, first)
        with watch(Path(driver.root), disk.before), pytest.raises(OSError, match="No space left"):
            await append(repository, id, second)
        assert await repository.uploads.length(id) == len(first)
        await append(repository, id, second)
        await finish(repository, id, Digest.of(first + second))
        assert await pull_blob(repository, Digest.of(first + second)) == first + second
    finally:
        await driver.close()


@pytest.mark.parametrize(
    "ground",
    ["cancel an upload", "delete a tag", "delete a manifest", "delete a blob"],
    indirect=True,
)
async def test_freeing_space_needs_no_space(ground: Ground) -> None:
    """On a disk without a free byte every removal succeeds."""
    root = ground.fresh()
    driver = FilesystemDriver(root, threads=2)
    disk = Disk(errno.ENOSPC, _GROWING, 0, stays=True)
    try:
        with watch(root, disk.before):
            await ground.scenario.work(Client(StoredRegistry(driver), ground.before.copy()))
    finally:
        await driver.close()
    assert lasting(root) == ground.undisturbed


@pytest.mark.parametrize("ground", ["push a referrer"], indirect=True)
@pytest.mark.parametrize(
    ("code", "kinds", "fewest"),
    [
        (errno.EIO, READING, 50),
        (errno.EIO, READING - {"stat"}, 50),
        (errno.EMFILE, _OPENING, 20),
    ],
)
async def test_pulls_and_listings_fail_rather_than_lie(
    ground: Ground, code: int, kinds: frozenset[str], fewest: int
) -> None:
    """A failed read is an error, never an unknown blob or a shorter list."""
    root = ground.fresh()
    for at in itertools.count():
        disk = Disk(code, kinds, at, stays=False)
        driver = FilesystemDriver(root, threads=2)
        try:
            with watch(root, disk.before, reads=True):
                await disk.meet(assert_kept(StoredRegistry(driver), ground.before))
        except (AssertionError, Unknown) as error:
            error.add_note(f"instead of failing at {disk.refused}")
            raise
        finally:
            await driver.close()
        assert _open_files(root) == []
        if not disk.refused:
            assert at >= fewest
            return
