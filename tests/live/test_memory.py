"""The memory of an idle server, and a server in a container with little memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.programs import COMMAND, environment, serving
from tests.live.sockets import Connection
from tests.live.transfers import until
from tests.support.footprint import footprint
from tests.support.guarded import ANN
from tests.support.processes import family, kill_all
from tests.support.users import lines
from tests.support.wire import Wire, sha256

pytestmark = pytest.mark.live

MIB = 1 << 20
MOST_IDLE = 60 * MIB
SMALLEST = 64 * MIB


def test_an_idle_server_is_small(tmp_path: Path) -> None:
    """A supervisor and two workers, the default on two cores, that were asked something."""
    arguments = ["--port", "0", "--root", str(tmp_path), "--workers", "2"]
    with serving(arguments, tmp_path) as server:
        port = int(server.where.rpartition(":")[2])
        for _ in range(20):
            with Connection.to(port) as connection:
                assert connection.ask("GET /v2/ HTTP/1.1").status == 200
        assert len(family(server.process.pid)) == 3
        assert footprint(server.process.pid) < MOST_IDLE


def test_a_page_counts_once(tmp_path: Path) -> None:
    """The figure of a server is at least that of its largest process, and less than their sum."""
    with serving(["--port", "0", "--root", str(tmp_path), "--workers", "2"], tmp_path) as server:
        members = family(server.process.pid)
        sizes = [member.memory_info().rss for member in members]
        assert max(sizes) < footprint(server.process.pid) < sum(sizes)


def test_a_server_imports_nothing_that_only_commands_need() -> None:
    """It has neither the command line nor pydantic nor the collectors in memory."""
    program = "import sys, registry_server.cli, registry_server.wiring.server; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True
    )
    imported = set(done.stdout.decode().split())
    assert "registry_server.jobs.schedule" in imported
    unwanted = {"fastapi", "pydantic", "pydantic_core", "rich", "sqlite3", "typer", "yaml"}
    assert imported.isdisjoint(unwanted | {"registry_server.commands.command_line"})


@pytest.mark.parametrize("has_users", [False, True])
def test_reading_the_configuration_leaves_nothing_in_memory(
    tmp_path: Path, has_users: bool
) -> None:
    """Neither at the start nor at a reload: a child process reads it and ends."""
    file, users = tmp_path / "config.yml", tmp_path / "htpasswd"
    users.write_text(lines({"ann": ANN}))
    auth = f"auth: {{htpasswd: {{realm: users, path: {users}}}}}\n" if has_users else ""
    file.write_text(
        "version: 0.1\nhttp: {addr: '127.0.0.1:0', workers: 2}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n{auth}"
    )
    with serving([str(file)], tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "every request that began before the reload" in server.said, "it reloads")
        members = family(server.process.pid)
        assert len(members) == 3
        for member in members:
            libraries = Path(f"/proc/{member.pid}/maps").read_text()
            assert "httptools" in libraries
            assert ("_bcrypt" in libraries) is has_users
            for unwanted in ("pydantic", "yaml", "cryptography"):
                assert unwanted not in libraries
        assert footprint(server.process.pid) < MOST_IDLE


@pytest.fixture
def limited() -> Iterator[Path]:
    """Give the folder of a cgroup with a memory limit, where this machine lets us make one."""
    made = Path(f"/sys/fs/cgroup/memory/registry-test-{os.getpid()}")
    limit = made / "memory.limit_in_bytes"
    if not made.parent.is_dir():
        made = Path(f"/sys/fs/cgroup/registry-test-{os.getpid()}")
        limit = made / "memory.max"
    try:
        made.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here")
    try:
        if not limit.exists():
            pytest.skip("cgroups have no memory controller here")
        limit.write_text(str(SMALLEST))
        yield made
    finally:
        made.rmdir()


def test_a_small_container_serves(tmp_path: Path, limited: Path) -> None:
    """Within 64 MiB: one worker, a push of more than that, and a pull of it."""
    (tmp_path / "root").mkdir()
    joining = (
        f"import os, sys; open({str(limited / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    )
    program = f"{joining}; os.execv(sys.executable, sys.argv[1:])"
    serve = [*COMMAND, "serve", "--port", "0", "--root", str(tmp_path / "root")]
    log = tmp_path / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *serve],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        until(lambda: process.poll() is not None or "listening on" in log.read_text(), "it serves")
        said = log.read_text()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)\"", said)
        assert found is not None, said
        assert "workers=1" in said
        wire, content = Wire("127.0.0.1", int(found[1])), os.urandom(SMALLEST + MIB)
        assert wire.push_blob("a", content) == sha256(content)
        assert wire.expect(200, "GET", f"/v2/a/blobs/{sha256(content)}").body == content
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        kill_all(family(process.pid))
        process.wait(30)
