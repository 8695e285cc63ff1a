"""The other commands: `check`, `purge-uploads`, and help."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.live.programs import run
from tests.live.transfers import arrived, begin, held, start_patch, until
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

CONTENT = os.urandom(2_000_000)
HOUR = 3600


def age(server: RegistryServer, path: str, seconds: int) -> None:
    """Set the mtimes of an upload so many hours back."""
    name, _, id = path.removeprefix("/v2/").rpartition("/blobs/uploads/")
    folder = server.upload_folder(name, id)
    then = time.time() - seconds
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))
    (folder / "startedat").write_text(started)
    for one in [*folder.rglob("*"), folder]:
        os.utime(one, (then, then))


def purge(server: RegistryServer, *options: str) -> list[str]:
    """Run `purge-uploads` over a server's root; return its output."""
    done = run(["purge-uploads", "--root", str(server.root), *options], server.folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def upload(server: RegistryServer, name: str, hours: int) -> str:
    """Leave an upload of ten bytes, so many hours old."""
    path = begin(server, name)
    server.wire.expect(202, "PATCH", path, b"0123456789")
    age(server, path, hours * HOUR)
    return path


def test_purge_removes_old_sessions_while_the_server_serves(
    shared: RegistryServer, name: str
) -> None:
    """One line for each and a total; young sessions are kept and can be finished."""
    old, young = upload(shared, name, 200), upload(shared, name, 100)
    *lines, total = purge(shared)
    assert lines == [f"{name} {old.rpartition('/')[2]} 10"]
    assert total == "1 uploads removed, 10 bytes"
    shared.wire.expect(404, "GET", old)
    shared.wire.expect(404, "PATCH", old, b"more")
    assert held(shared, young) == 10
    shared.wire.expect(204, "DELETE", young)


def test_purge_takes_another_age(shared: RegistryServer, name: str) -> None:
    """`--age` overrides the 168 h of the configuration."""
    path = upload(shared, name, 2)
    assert purge(shared, "--age", "3h") == ["0 uploads removed, 0 bytes"]
    assert purge(shared, "--age", "90m")[-1] == "1 uploads removed, 10 bytes"
    shared.wire.expect(404, "GET", path)


def test_a_dry_run_removes_nothing(shared: RegistryServer, name: str) -> None:
    """It prints what would be removed."""
    path = upload(shared, name, 200)
    id = path.rpartition("/")[2]
    for _ in range(2):
        assert purge(shared, "--dry-run") == [
            f"{name} {id} 10",
            "1 uploads would be removed, 10 bytes",
        ]
    assert held(shared, path) == 10
    assert purge(shared)[-1] == "1 uploads removed, 10 bytes"


def test_purge_keeps_a_session_that_is_written_to(shared: RegistryServer, name: str) -> None:
    """However old it looks, a session with a request in progress is kept."""
    path = begin(shared, name)
    with start_patch(shared, path, CONTENT, 1_500_000) as connection:
        until(lambda: arrived(shared, path), "the chunk began to arrive")
        until(lambda: held(shared, path) > 1_000_000, "some of it was written")
        age(shared, path, 200 * HOUR)
        assert purge(shared) == ["0 uploads removed, 0 bytes"]
        connection.send(CONTENT[1_500_000:])
        assert connection.answer().status == 202
    assert held(shared, path) == len(CONTENT)


def test_purge_of_a_missing_root(tmp_path: Path) -> None:
    """One line, exit code 2, and the folder is not created."""
    done = run(["purge-uploads", "--root", str(tmp_path / "nowhere")], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_check_of_a_valid_configuration(tmp_path: Path) -> None:
    """Exit code 0, and no file is created."""
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    (tmp_path / "config.yml").write_text(text + "http: {addr: '127.0.0.1:5000'}\n")
    done = run(["check", "config.yml"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "config.yml" in done.stdout
    assert [one.name for one in tmp_path.iterdir()] == ["config.yml"]


def test_check_warns_of_what_is_not_implemented(tmp_path: Path) -> None:
    """A known key without effect is a warning on standard error and no failure."""
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    (tmp_path / "config.yml").write_text(text + "redis: {addr: localhost:6379}\n")
    done = run(["check", "config.yml"], tmp_path)
    assert done.returncode == 0
    assert "warning" in done.stderr
    assert "redis" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["check", "--help"],
                                       ["purge-uploads", "--help"]])  # fmt: skip
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    """Every command has a help text, and the program lists its commands."""
    done = run(arguments, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout
    if arguments == ["--help"]:
        for command in ("serve", "check", "purge-uploads"):
            assert command in done.stdout
