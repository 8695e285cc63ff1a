"""`registry-server scrub` with few descriptors: it does its work, or says that it can't."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
from pathlib import Path

import psutil
import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from tests.live.programs import COMMAND, environment, run
from tests.live.transfers import until
from tests.storage.content import push_image

pytestmark = pytest.mark.live

LIMITS = [*range(6, 13), 64]
PARALLEL = 6
SENTENCE = "registry-server: the storage failed: Too many open files"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a sound storage."""
    asyncio.run(_push(FilesystemDriver(tmp_path / "root", threads=2)))
    return tmp_path / "root"


async def _push(driver: FilesystemDriver) -> None:
    registry = StoredRegistry(driver)
    for number in range(3):
        repository = registry.repository(RepositoryName(f"some/app-{number}"))
        await push_image(repository, "v1", "latest", layer=b"%d" % number * 5000)
        await push_image(repository, "v2")
    await driver.close()


def scrub(root: Path, limit: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Scrub in a process that may have `limit` descriptors."""
    return subprocess.run(
        [*COMMAND, "scrub", "--root", str(root), "--restart", *options],
        env=environment(),
        cwd=root.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )


def test_a_sound_storage_is_never_called_damaged(root: Path) -> None:
    """Whatever the limit: exit code 0 after all was looked at, or 1 and one sentence."""
    codes = []
    for limit in LIMITS:
        done = scrub(root, limit, "--json")
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            summary = json.loads(done.stdout)["summary"]
            assert (summary["complete"], summary["repositories"]) == (True, 3)
        else:
            assert done.returncode == 1
            assert SENTENCE in done.stderr.splitlines()
        if done.stdout:
            assert json.loads(done.stdout)["findings"] == []
    assert (codes[0], codes[-1]) == (1, 0)


def lose_descriptors(root: Path) -> tuple[int, str, str]:
    """Scrub; halve the descriptors for blobs once damage was found; return code and outputs."""
    slowly = [*COMMAND, "scrub", "--root", str(root), "--restart", "--rate", "4MB"]
    out, err = root.parent / "out", root.parent / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*slowly, "--parallel", str(PARALLEL)],
            env=environment(),
            cwd=root.parent,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        until(lambda: b"corrupt-blob" in out.read_bytes(), "it found the damaged blob")
        until(lambda: len(open_blobs(process)) == PARALLEL, "it reads as many as it may")
        # A limit is the first number that a descriptor can't have. Listings use some as well.
        limit = sorted(open_blobs(process))[PARALLEL // 2]
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        return process.wait(30), out.read_text(), err.read_text()
    finally:
        process.kill()
        process.wait(30)


def large_blob(root: Path, number: int) -> Path:
    """Store a blob that is open while it is read: small ones are read at once."""
    content = b"%d" % number * (2 << 20)
    file = root / paths.blob(Digest.of(content))
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def open_blobs(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the descriptors of the blobs that are being read."""
    files = psutil.Process(process.pid).open_files()
    return [file.fd for file in files if file.path.endswith("/data")]


def test_what_was_found_before_is_kept(tmp_path: Path) -> None:
    """Damage that is found while descriptors last is in the report of the next scrub."""
    root = tmp_path / "root"
    files = [large_blob(root, number) for number in range(4 * PARALLEL)]
    min(files).write_bytes(b"")
    code, out, err = lose_descriptors(root)
    assert code == 1
    assert SENTENCE in err.splitlines()
    found, *_, last = out.splitlines()
    assert last.startswith("interrupted: ")
    after = run(["scrub", "--root", str(root)], root.parent)
    assert "continued an interrupted scrub" in after.stdout
    assert after.stdout.splitlines()[0] == found
