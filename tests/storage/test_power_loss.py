"""The power may fail at any moment: acknowledged work is durable, and nothing is half done.

Each scenario runs once, and all its operations on files are recorded. Then the power fails after
each operation in turn: what the disk may have left (see `losing_disk`) is restored in a folder, and
an oracle checks with a new registry that it contains everything that was acknowledged to clients.
"""

from __future__ import annotations

import itertools
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.content import referrer_scan
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import StorageError
from storage.repository.registry import StoredRegistry
from tests.storage.file_operations import watch
from tests.storage.losing_disk import Disk, Event, Mark, Recorder, Synced
from tests.storage.power_cuts import EVERYTHING, Left, Tree, latest, losses, read_tree
from tests.storage.power_scenarios import SCENARIOS, Scenario
from tests.storage.promises import Oracle, Promise, Step, promise

pytestmark = pytest.mark.faults

# Random states, at each moment at which names may be lost.
SAMPLES = 2


# The errors of the oracle, and of the registry that it queries.
REJECTED = (AssertionError, StorageError)


@dataclass(frozen=True)
class Moment:
    """The power failed before event `at`: the state that is left, and what must be true of it."""

    at: int
    left: Left
    promise: Promise


@dataclass
class Lab:
    """Records scenarios below a folder, and lets the oracle check what power failures leave."""

    folder: Path
    made: Iterator[int] = field(default_factory=itertools.count)
    judged: int = 0

    async def record(self, steps: Sequence[Step]) -> list[Event]:
        """Carry out steps as one process does, and return the log of all operations on files."""
        root = self._new_folder()
        recorder = Recorder(root)
        driver = FilesystemDriver(root, threads=1)
        try:
            with watch(root, lambda _: None, recorder.after):
                registry = StoredRegistry(driver)
                for number, step in enumerate(steps):
                    recorder.log.append(Mark(number, is_done=False))
                    await step.work(registry)
                    recorder.log.append(Mark(number, is_done=True))
        finally:
            await driver.close()
        assert _everything(recorder.log).shape == read_tree(str(root)).shape
        return recorder.log

    async def judge(self, oracle: Oracle, moment: Moment) -> None:
        """Restore a state in a folder and let the oracle check it; a failure explains the state."""
        root = self._new_folder()
        moment.left.tree.put(str(root))
        self.judged += 1
        try:
            await oracle.judge(root, moment.promise, is_whole=moment.left.how == EVERYTHING)
        except REJECTED as error:
            step = moment.promise.under_way
            doing = f"in {step.does!r}" if step else "between requests"
            error.add_note(f"{moment.left.how}, {doing}, before event {moment.at}: see {root}")
            raise
        shutil.rmtree(root)

    def reboot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Change the boot id."""
        monkeypatch.setattr(referrer_scan, "this_boot", lambda: "the second")

    async def first_fault(self, scenario: Scenario, log: Sequence[Event]) -> Exception | None:
        """Return the oracle's complaint about the first state that it rejects."""
        oracle = Oracle(scenario.uploads, scenario.algorithm)
        for moment in moments(scenario, log, range(len(log) + 1)):
            try:
                await self.judge(oracle, moment)
            except REJECTED as error:
                return error
        return None

    def _new_folder(self) -> Path:
        root = self.folder / str(next(self.made))
        root.mkdir()
        return root


def moments(scenario: Scenario, log: Sequence[Event], during: range) -> Iterator[Moment]:
    """Yield what may be left before each event in `during`, each state and promise once."""
    disk, begun, done = Disk(), 0, 0
    chance, seen = random.Random(1), set[object]()
    for at, event in enumerate([*log, None]):
        if at in during and done >= scenario.since:
            now = promise(scenario.steps, begun, done)
            for left in _left(disk, event, chance):
                if (left.tree.shape, begun, done) not in seen:
                    seen.add((left.tree.shape, begun, done))
                    yield Moment(at, left, now)
        if isinstance(event, Mark):
            begun, done = (begun, done + 1) if event.is_done else (begun + 1, done)
        elif event is not None:
            disk.apply(event)


def _left(disk: Disk, following: Event | None, chance: random.Random) -> Iterator[Left]:
    if following is None or isinstance(following, Mark | Synced):
        yield from losses(disk, chance, SAMPLES)
    else:
        yield from latest(disk)


def _everything(log: Sequence[Event]) -> Tree:
    disk = Disk()
    for event in log:
        disk.apply(event)
    return next(left.tree for left in latest(disk) if left.how == EVERYTHING)


@pytest.fixture
def nothing_blocks() -> None:
    """Replace the detector of blocking calls: it would slow down the many reads here."""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager_states: None) -> Lab:
    """Return a lab; an index of referrers is trusted without delay."""
    monkeypatch.setattr(referrer_scan, "_SETTLED_NS", 0)
    return Lab(tmp_path)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_what_was_acknowledged_survives_a_power_cut(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever the disk lost, all promises are kept, and requests can be repeated."""
    log = await lab.record(SCENARIOS[name].steps)
    lab.reboot(monkeypatch)
    fault = await lab.first_fault(SCENARIOS[name], log)
    if fault is not None:
        raise fault
    assert lab.judged > 20


@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_fsync_is_needed(lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without any one of them, something that was just acknowledged may be lost."""
    scenario = SCENARIOS[name]
    log = await lab.record(scenario.steps)
    lab.reboot(monkeypatch)
    spared = 0
    for at, path in _syncs(log, scenario.since):
        without = [*log[:at], *log[at + 1 :]]
        done = next(place for place in range(at, len(without)) if _is_mark(without[place]))
        spare = bool(re.search(scenario.spare, path))
        assert spare != await _is_missed(lab, scenario, without, done + 1), path
        spared += spare
    assert bool(spared) == (scenario.spare != Scenario.spare)


@pytest.mark.parametrize("name", ["push of an image", "a tag that moves", "push of an index"])
async def test_the_order_of_fsyncs_is_needed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """If all fsyncs of a request were made at its end, some state would break a promise."""
    scenario = SCENARIOS[name]
    log = await lab.record(scenario.steps)
    lab.reboot(monkeypatch)
    assert isinstance(await lab.first_fault(scenario, _late(log)), Exception)


async def test_an_index_of_an_earlier_boot_is_not_trusted(lab: Lab) -> None:
    """Otherwise a referrer that a scan found, and wrote without fsync, could be lost."""
    scenario = SCENARIOS["referrers that are found"]
    log = await lab.record(scenario.steps)
    fault = await lab.first_fault(scenario, log)
    assert "Referrer" in str(fault)


async def _is_missed(lab: Lab, scenario: Scenario, log: Sequence[Event], at: int) -> bool:
    """Return whether the oracle rejects a state that may be left at one moment."""
    for moment in moments(scenario, log, range(at, at + 1)):
        try:
            await lab.judge(Oracle(scenario.uploads, scenario.algorithm), moment)
        except REJECTED:
            return True
    return False


def _syncs(log: Sequence[Event], since: int) -> Iterator[tuple[int, str]]:
    """Yield the position and the path of each fsync that makes anything durable."""
    disk, done = Disk(), 0
    for at, event in enumerate(log):
        if isinstance(event, Synced) and done >= since and disk.would_change(event):
            yield at, event.path
        done += isinstance(event, Mark) and event.is_done
        disk.apply(event)


def _late(log: Sequence[Event]) -> list[Event]:
    """Delay every fsync until just before an acknowledgement."""
    late, waiting = list[Event](), list[Event]()
    for event in log:
        if isinstance(event, Synced):
            waiting.append(event)
            continue
        if isinstance(event, Mark):
            late += waiting
            waiting.clear()
        late.append(event)
    return late


def _is_mark(event: Event) -> bool:
    return isinstance(event, Mark)
