"""Garbage collection by command and on a schedule, with and without a running server."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from registry_server.jobs.job import CollectionJob
from tests.live.programs import COMMAND, environment, run
from tests.live.transfers import until
from tests.support.documents import config_for, image_manifest
from tests.support.servers import PROJECT, RegistryServer
from tests.support.tree import LAYOUT
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = pytest.mark.live

SHORT = {"REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_GRACE": "1s"}
SCHEDULED = SHORT | {
    "REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_ENABLED": "true",
    "REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_INTERVAL": "1s",
}
GARBAGE = b"nobody names these bytes" * 1000
LAYER = b"an image is made of these" * 1000


@contextmanager
def serving(folder: Path, env: dict[str, str]) -> Iterator[RegistryServer]:
    """Run a server with two workers that allows deletion."""
    with RegistryServer(folder / "server", env=env) as server:
        yield server


def push(server: RegistryServer, content: bytes) -> Path:
    """Push a blob in one request; return its file."""
    digest = sha256(content)
    server.wire.expect(201, "POST", f"/v2/app/blobs/uploads/?digest={digest}", content)
    hex = digest.partition(":")[2]
    return server.root / LAYOUT / "blobs/sha256" / hex[:2] / hex / "data"


def push_image(server: RegistryServer, tag: str) -> list[Path]:
    """Push an image; return the files of its blobs."""
    config = config_for([LAYER])
    files = [push(server, content) for content in (config, LAYER)]
    headers = {"Content-Type": OCI_MANIFEST}
    manifest = image_manifest(config, [LAYER])
    server.wire.expect(201, "PUT", f"/v2/app/manifests/{tag}", manifest, headers)
    return files


def age(root: Path) -> None:
    """Set the mtimes of all files and folders two hours back."""
    for path in [*root.rglob("*"), root]:
        at = path.stat().st_mtime - 7200
        os.utime(path, (at, at))


def test_the_command_collects_while_a_server_serves(tmp_path: Path) -> None:
    """Unreferenced content is removed and reported in one line; images and young blobs are kept."""
    with serving(tmp_path, {}) as server:
        kept, garbage = push_image(server, "v1"), push(server, GARBAGE)
        young = run(["garbage-collect", "--root", str(server.root)], tmp_path)
        assert young.returncode == 0
        assert young.stdout.splitlines()[-1].startswith("removed 0 manifests, 0 links, 0 blobs")
        age(server.root)
        done = run(["garbage-collect", "--root", str(server.root)], tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == (
            f"removed 0 manifests, 1 links, 1 blobs and 0 leftovers: {len(GARBAGE)} bytes freed"
        )
        assert not garbage.exists()
        assert all(file.exists() for file in kept)
        server.wire.expect(404, "HEAD", f"/v2/app/blobs/{sha256(GARBAGE)}")
        assert server.wire.expect(200, "GET", f"/v2/app/blobs/{sha256(LAYER)}").body == LAYER


def test_a_dry_run_prints_what_would_be_removed_and_why_the_rest_is_kept(tmp_path: Path) -> None:
    """With the flags of registry:2; nothing is removed."""
    with serving(tmp_path, {}) as server:
        push_image(server, "v1")
        garbage = push(server, GARBAGE)
        age(server.root)
        server.wire.expect(202, "DELETE", "/v2/app/manifests/v1")
        push(server, b"young")
        done = run(["garbage-collect", "--root", str(server.root), "-d", "-m"], tmp_path)
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert f"app: layer link eligible for deletion: {sha256(GARBAGE)}" in lines
        assert f"blob eligible for deletion: {sha256(GARBAGE)}" in lines
        assert f"blob eligible for deletion: {sha256(b'young')}" not in lines
        assert any(line.startswith("1 blobs (5 bytes) kept: ") for line in lines)
        assert sum(line.startswith("manifest eligible for deletion: ") for line in lines) == 1
        assert lines[-1].startswith("would remove 1 of 1 manifests, 3 links and 4 of 5 blobs: ")
        assert garbage.exists()
        untagged = run(["garbage-collect", "--root", str(server.root), "--dry-run"], tmp_path)
        assert "(untagged)" in untagged.stdout
        assert "0 of 1 manifests, 1 links and 1 of 5 blobs" in untagged.stdout


def test_a_second_collection_is_refused(tmp_path: Path) -> None:
    """Only one runs at a time, also from two commands: the second prints a line."""
    (tmp_path / "root" / ".registry").mkdir(parents=True)
    lock = tmp_path / "root" / ".registry" / "collection"
    lock.touch()
    with subprocess.Popen(["flock", str(lock), "sleep", "60"], start_new_session=True) as holder:
        try:
            until(lambda: subprocess.run(["flock", "-n", str(lock), "true"]).returncode, "held")
            done = run(["garbage-collect", "--root", str(tmp_path / "root")], tmp_path)
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
    assert done.returncode == 1
    assert done.stderr == "registry-server: another collection is running on this storage\n"
    assert run(["garbage-collect", "--root", str(tmp_path / "root")], tmp_path).returncode == 0


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    """The folder is not created."""
    done = run(["garbage-collect", "--root", str(tmp_path / "none")], tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "none").exists()


def test_damage_is_reported_and_keeps_more_than_necessary(tmp_path: Path) -> None:
    """An unreadable manifest keeps its repository's blobs and sets the exit code."""
    with serving(tmp_path, {}) as server:
        config, _ = push_image(server, "v1")
        garbage = push(server, GARBAGE)
        manifest = sha256(image_manifest(config_for([LAYER]), [LAYER])).partition(":")[2]
        damaged = config.parents[2] / manifest[:2] / manifest / "data"
        damaged.write_bytes(b"{}")
        age(server.root)
        done = run(["garbage-collect", "--root", str(server.root), "-q"], tmp_path)
        assert done.returncode == 1
        assert "can't be read, so everything in app is kept; run scrub" in done.stderr
        assert garbage.exists()


def _is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_next_collection_completes_an_interrupted_one(tmp_path: Path) -> None:
    """SIGTERM ends it with its own exit code; the next one removes the rest."""
    with serving(tmp_path, {}) as server:
        push_image(server, "v1")
        garbage = push(server, GARBAGE)
        age(server.root)
        command = [*COMMAND, "garbage-collect", "--root", str(server.root)]
        with (server.root / ".registry/tree").open() as tree:
            fcntl.flock(tree, fcntl.LOCK_SH)  # like a push, so that it has to wait
            process = subprocess.Popen(command, env=environment(), cwd=tmp_path)
            until(lambda: _is_held(server.root / ".registry/collection"), "it began")
            process.terminate()
            time.sleep(0.5)  # so that the signal arrives while it waits
        assert process.wait(30) == 3
        assert garbage.exists()
        assert run(["garbage-collect", "--root", str(server.root)], tmp_path).returncode == 0
        assert not garbage.exists()


def test_a_server_collects_on_its_schedule(tmp_path: Path) -> None:
    """Garbage is removed without a command and logged in one line; images are kept."""
    with serving(tmp_path, SCHEDULED) as server:
        kept, garbage = push_image(server, "v1"), push(server, GARBAGE)
        until(lambda: not garbage.exists(), "the garbage went")
        assert all(file.exists() for file in kept)
        until(lambda: "garbage collection: removed" in server.log, "the log said so")
        server.wire.expect(202, "DELETE", f"/v2/app/manifests/{_digest()}")
        until(lambda: not any(file.exists() for file in kept), "the deleted image went")
    assert "Traceback" not in server.log


def test_a_skipped_collection_is_logged(tmp_path: Path) -> None:
    """A command that is hung or suspended keeps its claim; the log names it until it ends."""
    skipped = 'msg="garbage collection skipped: another one is running, hung or suspended; '
    with serving(tmp_path, SCHEDULED) as server:
        claim = server.root / ".registry/collection"
        with claim.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            garbage = push(server, GARBAGE)
            info, warning = (
                f'={level} {skipped}it holds {claim}"' for level in ("info", "warning")
            )
            until(lambda: info in server.log, "the log said so")
            until(lambda: warning in server.log, "an interval later it warned")
            assert garbage.exists()
        until(lambda: not garbage.exists(), "the next one collects")


def _digest() -> str:
    return sha256(image_manifest(config_for([LAYER]), [LAYER]))


def test_no_collection_starts_outside_the_window(tmp_path: Path) -> None:
    """The command ignores the window."""
    later = datetime.now().astimezone() + timedelta(hours=2)
    window = f"{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"
    env = SCHEDULED | {"REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_WINDOW": window}
    with serving(tmp_path, env) as server:
        garbage = push(server, GARBAGE)
        age(server.root)
        for _ in range(30):
            server.wire.expect(200, "GET", "/v2/")
            collectors = [psutil.Process(pid).cmdline() for pid in server.pids()]
            assert not any("registry_server.jobs.collector" in line for line in collectors)
        assert garbage.exists()
        done = run(["garbage-collect", "--root", str(server.root)], tmp_path, env)
        assert done.returncode == 0
        assert not garbage.exists()


def test_a_hung_collector_does_not_prevent_shutdown(tmp_path: Path) -> None:
    """It is killed, which is safe at any time, and the server ends normally."""
    with serving(tmp_path, SCHEDULED) as server:
        push(server, GARBAGE)
        (server.root / ".registry").mkdir(exist_ok=True)
        with (server.root / ".registry/tree").open() as tree:
            fcntl.flock(tree, fcntl.LOCK_SH)  # so that there is time to suspend it
            until(lambda: _collectors(server), "a collector runs")
            for one in _collectors(server):
                one.suspend()
        server.stop()
    assert "timed out when it was stopped" in server.log


def _collectors(server: RegistryServer) -> list[psutil.Process]:
    found = [psutil.Process(pid) for pid in server.pids()]
    return [one for one in found if "registry_server.jobs.collector" in one.cmdline()]


def test_a_collector_ends_with_its_server(tmp_path: Path) -> None:
    """It stops at the end of stdin, and its locks are released immediately."""
    root = tmp_path / "root"
    root.mkdir()
    job = CollectionJob(str(root), fsync=True, interval=0.0, grace=1.0, delete_untagged=False)
    process = subprocess.run(
        [*COMMAND[:-1], "registry_server.jobs.collector"],
        input=job.line(),
        capture_output=True,
        cwd=PROJECT,
        timeout=30,
        check=True,
    )
    assert process.stderr == b""
    assert run(["garbage-collect", "--root", str(root)], tmp_path).returncode == 0


class _HastyServer(RegistryServer):
    """A server that considers a collector hung after three seconds."""

    def command(self) -> list[str]:
        """Set the limit before the program starts."""
        python, _, _, *arguments = super().command()
        code = "from registry_server.jobs import job; job.HUNG_SECONDS = 3.0\n"
        return [python, "-c", f"{code}from registry_server.cli import main; main()", *arguments]


def test_a_suspended_collector_is_killed_and_the_next_one_collects(tmp_path: Path) -> None:
    """It was suspended with the lock that pushes wait for; the kernel releases that lock."""
    with _HastyServer(tmp_path / "server", env=SCHEDULED) as server:
        garbage = push(server, GARBAGE)
        lock = (server.root / ".registry/tree").open("rb")
        fcntl.flock(lock, fcntl.LOCK_SH)
        with lock:
            age(server.root)
            until(lambda: _is_shut(server), "a collector waits for a push")
            stopped = _collectors(server)
            for one in stopped:
                with suppress(psutil.NoSuchProcess):  # the second one ends without a signal
                    one.suspend()
            until(lambda: not any(one.is_running() for one in stopped), "they were killed")
            assert "the garbage collector has not responded for 3s" in server.log
        until(lambda: not garbage.exists(), "the next one collects")


def _is_shut(server: RegistryServer) -> bool:
    with (server.root / ".registry/gate").open("rb") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return bool(_collectors(server))
        return False
