"""What holds for every test: the event loop is never blocked, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import hypothesis
import pytest
from blockbuster import BlockBuster
from xdist.remote import Producer

from registry_server.config import Settings
from registry_server.config.validation import validated
from storage.content.boot import this_boot
from storage.content.hashing import best_hashers
from tests.support.app import serve_in_process
from tests.support.drivers import DRIVERS, AnyDriver
from tests.support.processes import descendants
from tests.support.scratch import scratch_folder
from tests.support.secrets import Heard, nothing_told, private_lines, without_told_once, written
from tests.support.sharing import Scheduling, longest_first
from tests.support.thread_census import make_lasting_threads, running_threads, threads_beyond

# Before anything imports them: helpers that assert, and are used by several folders of tests.
pytest.register_assert_rewrite(
    "tests.storage.content", "tests.storage.driver_contract", "tests.storage.soundness"
)

# httpx asks with each request whether trio is running. Python looks for a package that is missing
# anew each time, which takes as long as many a request, unless it finds None here.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]

# No test asserts a duration, and that is what a deadline of an example would do.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Reads of a few bytes that run on the event loop on purpose: on a local disk a hop to a thread
# costs more than the read. Everything else has to hop.
_INLINE_READS = (
    ("storage/drivers/filesystem/driver.py", {"read", "is_unchanged"}),
    ("storage/drivers/filesystem/reader.py", {"_stat"}),
    ("storage/drivers/filesystem/staging.py", {"length"}),
    ("registry_server/files/watched_file.py", {"has_changed"}),
)
# The driver in memory has no threads: a job that keeps lists in a database runs on the loop.
_INLINE_JOBS = ("storage/drivers/memory.py", {"batch", "exclusively"})
_ON_DISK = ("disk", "live", "clients")
_USED_BY_DATABASES = ("os.access", "os.statvfs", "sqlite3.")
# In bytes, what there must be of memory for `tmp_path` to be there.
_NEEDED = 2 << 30


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have what takes longest start first, where there are several workers."""
    if _is_worker(config):
        longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Keep together what shares something."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have the interpreter collect nothing: what is freed is freed by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio, which is what serves."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def looked_up_once() -> None:
    """Find libcrypto, the boot's name and pydantic's plugins, as a process does once."""
    best_hashers()
    this_boot()
    validated(Settings, {})


@pytest.fixture(scope="session")
def detector() -> BlockBuster:
    """Make the detector of blocking calls once: that takes longer than most tests."""
    blocking = BlockBuster(["storage", "registry_server"])
    _allow_inline_reads(blocking)
    return blocking


@pytest.fixture(autouse=True)
def nothing_blocks(detector: BlockBuster) -> Iterator[None]:
    """Fail a test in which our code blocks the event loop."""
    detector.activate()
    yield
    detector.deactivate()


def _allow_inline_reads(blocking: BlockBuster) -> None:
    for name in ("os.stat", "os.read", "os.open", "os.close"):
        if name in blocking.functions:
            for file, functions in _INLINE_READS:
                blocking.functions[name].can_block_in(file, functions)
    for name, function in blocking.functions.items():
        if name.startswith(_USED_BY_DATABASES):
            function.can_block_in(*_INLINE_JOBS)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder() -> Iterator[Path]:
    """Give the whole run one temporary folder, so that what is left in it can be seen."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="rt-"))
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    yield folder
    tempfile.tempdir = before[0]
    os.environ.pop("TMPDIR")
    if before[1] is not None:
        os.environ["TMPDIR"] = before[1]
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def memory_folder(own_temporary_folder: Path) -> Iterator[Path]:
    """Give a folder in memory, or one on the disk where memory is short."""
    with scratch_folder(_NEEDED) as folder:
        yield folder


@pytest.fixture
def tmp_path(
    request: pytest.FixtureRequest, own_temporary_folder: Path, memory_folder: Path
) -> Iterator[Path]:
    """Give an empty folder: on a disk for servers and for what says so, else in memory.

    An fsync of a disk takes milliseconds. But filesystems in memory lack what Linux offers for a
    file on a disk, such as RWF_NOWAIT, and they never give an inode's number again.
    """
    on_disk = any(request.node.get_closest_marker(name) for name in _ON_DISK)
    with TemporaryDirectory(dir=own_temporary_folder if on_disk else memory_folder) as folder:
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def lasting_threads() -> None:
    """Have the threads made that outlive a test."""
    make_lasting_threads()


@pytest.fixture(autouse=True)
def nothing_left_behind(
    own_temporary_folder: Path, memory_folder: Path, lasting_threads: None
) -> Iterator[None]:
    """Fail a test that leaves a thread, a process or a temporary file behind.

    Fixtures of a session are set up before this one and are not counted.
    """
    threads = running_threads()
    processes = descendants()
    files = set(own_temporary_folder.iterdir())
    yield
    left = threads_beyond(threads)
    assert not left, f"threads left behind: {left}"
    running = descendants() - processes
    assert not running, f"processes left behind: {running}"
    new = {path for path in own_temporary_folder.iterdir() if path not in files}
    new = {path for path in new if not path.name.startswith("pytest-of-")}  # of tmp_path_factory
    assert not new, f"files left behind: {new}"


@pytest.fixture(autouse=True)
def no_secret_told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which what we log tells a secret, in this process or in a log that is kept.

    Servers check their own when they end, and helpers what commands print.
    """
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    with Heard() as heard:
        yield
    keys = private_lines(folder) if folder else set()
    nothing_told("\n".join(heard.lines), "a line of the log", keys)
    for path, text in written(folder) if folder else ():
        nothing_told(without_told_once(text), path, keys)


@pytest.fixture(params=sorted(DRIVERS))
def new_driver(request: pytest.FixtureRequest, tmp_path: Path) -> AnyDriver:
    """Make each driver in turn, empty, as a process does before it serves."""
    return DRIVERS[request.param](tmp_path)


@pytest.fixture
async def driver(new_driver: AnyDriver) -> AsyncIterator[AnyDriver]:
    """Give each driver in turn, and close it."""
    yield new_driver
    await new_driver.close()


@pytest.fixture
async def client(driver: AnyDriver) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the whole application, in this process, over each driver in turn.

    An exception the application does not turn into an answer is raised in the test.
    """
    settings = validated(Settings, {"storage": {"delete": {"enabled": True}}})
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(serve_in_process(settings, driver))
