"""`registry-server scrub` with few descriptors: it does its work, or says that it can't."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
from pathlib import Path

import pytest

from storage import paths
from storage.digest import Digest
from storage.drivers.filesystem import FilesystemDriver
from storage.names import RepositoryName
from storage.registry import StoredRegistry
from tests.live.programs import COMMAND, environment, run
from tests.storage.content import LAYER, push_image

pytestmark = pytest.mark.live

LIMITS = range(6, 13)
SENTENCE = "registry-server: the storage can't be worked with: Too many open files"


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
    codes = set()
    for limit in LIMITS:
        done = scrub(root, limit, "--json")
        codes.add(done.returncode)
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            summary = json.loads(done.stdout)["summary"]
            assert (summary["complete"], summary["repositories"]) == (True, 3)
        else:
            assert done.returncode == 1
            assert SENTENCE in done.stderr.splitlines()
        if done.stdout:
            assert json.loads(done.stdout)["findings"] == []
    assert codes == {0, 1}


def test_what_was_found_before_is_kept(root: Path) -> None:
    """Damage that is found while descriptors last is in the report of the next scrub."""
    (root / paths.blob(Digest.of(LAYER))).write_bytes(b"corrupt")
    done = next(one for limit in LIMITS if (one := scrub(root, limit)).stdout.count("corrupt-blob"))
    assert done.returncode == 1
    assert SENTENCE in done.stderr.splitlines()
    assert done.stdout.splitlines()[-1].startswith("interrupted: ")
    after = run(["scrub", "--root", str(root)], root.parent)
    assert "went on from an interrupted scrub" in after.stdout
    assert after.stdout.startswith(done.stdout.partition("\n")[0])
