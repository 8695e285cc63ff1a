"""A file of users with faults, or a missing one: the behaviour of `serve` and `check`."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.live.programs import run
from tests.live.reloads import ReloadedServer
from tests.live.transfers import until
from tests.support import users
from tests.support.secrets import keep, told_once
from tests.support.servers import DistributionServer, RegistryServer
from tests.support.wire import Wire

pytestmark = pytest.mark.live

PASSWORD = keep("correct horse 1")
OTHER = keep("battery staple 2")
REPEATED = keep("repeated pass 3")


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header with a name and a password."""
    shown = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {shown}"}


def faulty_file() -> bytes:
    """Return a file in which every other line has a fault."""
    ann, bob = users.lines({"ann": PASSWORD, "bob": OTHER}).encode().splitlines()
    old, new = users.lines({"eve": PASSWORD}), users.lines({"eve": REPEATED})
    more = users.lines({"fields": PASSWORD}).strip()
    lines = [
        ann,
        b"md5:$apr1$abcdefgh$0123456789012345678901",
        bob,
        b"l\xe4tin:" + ann.partition(b":")[2],
        old.strip().encode(),
        new.strip().encode(),
        f"{more}:gecos:/home".encode(),
    ]
    return b"\n".join(lines)


WARNED = {2: "has no bcrypt hash", 4: "not UTF-8", 6: "repeats a name", 7: "is ignored"}


def configured(path: Path, log: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return the sections of a configuration with users in `path`."""
    return {"auth": {"htpasswd": {"realm": "tests", "path": str(path)}}, "log": dict(log or {})}


def statuses(wire: Wire) -> dict[str, int]:
    """Log in as each user of the faulty file, and as an unknown one."""
    shown = [
        ("ann", PASSWORD),
        ("bob", OTHER),
        ("eve", PASSWORD),
        ("eve", REPEATED),
        ("fields", PASSWORD),
        ("md5", PASSWORD),
    ]
    return {
        f"{name} {number}": wire.request("GET", "/v2/", headers=basic(name, password)).status
        for number, (name, password) in enumerate(shown)
    }


def check(folder: Path, config: Mapping[str, object]) -> tuple[int, str]:
    """Run `check` on a configuration; return its exit code and its standard error."""
    (folder / "root").mkdir(exist_ok=True)
    storage = {"storage": {"filesystem": {"rootdirectory": str(folder / "root")}}}
    http = {"http": {"addr": "127.0.0.1:5000"}}
    (folder / "checked.yml").write_text(json.dumps({"version": "0.1", **storage, **http, **config}))
    done = run(["check", "checked.yml"], folder)
    return done.returncode, done.stderr


class DistributionWithUsers(DistributionServer):
    """registry:2 with a file of users."""

    def __init__(self, folder: Path, users_file: Path) -> None:
        super().__init__(folder)
        self._users = users_file

    def _config(self) -> dict[str, object]:
        return {**super()._config(), "auth": configured(self._users)["auth"]}


def test_lines_with_faults_lock_out_no_other_user(tmp_path: Path) -> None:
    """The users who can log in are those of registry:2; each fault is one warning at the start."""
    path = tmp_path / "users"
    path.write_bytes(faulty_file())
    with DistributionWithUsers(tmp_path / "theirs", path) as theirs:
        expected = statuses(theirs.wire)
    assert sorted(expected.values()) == [200, 200, 200, 200, 401, 401]
    config = json.dumps({"version": "0.1", **configured(path)})
    with RegistryServer(tmp_path / "ours", config=config) as ours:
        assert statuses(ours.wire) == expected
        for line, reason in WARNED.items():
            (told,) = [each for each in ours.log.splitlines() if f"{path}, line {line}:" in each]
            assert "level=warning" in told
            assert reason in told
        assert "md5" not in ours.log


@pytest.mark.parametrize("workers", [1, 2])
def test_faults_of_an_edit_are_warnings(tmp_path: Path, workers: int) -> None:
    """At a change while the registry serves, and at a reload; users without faults can log in."""
    path = tmp_path / "users"
    path.write_text(users.lines({"ann": PASSWORD}))
    with ReloadedServer(tmp_path / "server", configured(path), workers) as server:
        path.write_bytes(faulty_file())

        def is_known() -> bool:
            return server.wire.request("GET", "/v2/", headers=basic("bob", OTHER)).status == 200

        until(is_known, "the edit is seen")
        assert f"{path}, line 2: has no bcrypt hash" in server.log
        before = server.log.count(f"{path}, line 2:")
        server.reload(configured(path))
        assert server.log.count(f"{path}, line 2:") > before


def test_check_reports_the_same_faults(tmp_path: Path) -> None:
    """As warnings: the configuration can be used."""
    path = tmp_path / "users"
    path.write_bytes(faulty_file())
    code, said = check(tmp_path, configured(path))
    assert code == 0
    warnings = said.splitlines()
    assert len(warnings) == len(WARNED)
    for warning, (line, reason) in zip(warnings, WARNED.items(), strict=True):
        assert warning.startswith(f"registry-server: warning: {path}, line {line}: ")
        assert reason in warning


@pytest.mark.parametrize("log", [{}, {"formatter": "json"}, {"level": "error"}])
def test_a_missing_file_is_created_with_one_user(tmp_path: Path, log: dict[str, str]) -> None:
    """Its password is logged once, in any format and at any level; a restart creates nothing."""
    path = tmp_path / "users"
    config = json.dumps({"version": "0.1", **configured(path, log)})
    with RegistryServer(tmp_path / "server", config=config) as server:
        password, _ = told_once(server.log)
        keep(password)
        assert "docker" in next(line for line in server.log.splitlines() if password in line)
        shown = basic("docker", password)
        assert server.wire.request("GET", "/v2/", headers=shown).status == 200
        assert server.wire.request("GET", "/v2/").status == 401
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = path.read_bytes()
        server.restart()
        assert server.wire.request("GET", "/v2/", headers=shown).status == 200
        assert path.read_bytes() == before
        told_once(server.log)


def test_check_reports_a_file_that_would_be_created(tmp_path: Path) -> None:
    """A missing file is a warning and is not created; a missing folder is an error."""
    code, said = check(tmp_path, configured(tmp_path / "users"))
    assert code == 0
    assert f"warning: {tmp_path / 'users'}: does not exist: serve creates it" in said
    assert not (tmp_path / "users").exists()
    code, said = check(tmp_path, configured(tmp_path / "no" / "users"))
    assert code == 2
    assert f"neither does the folder {tmp_path / 'no'}" in said
    assert not (tmp_path / "no").exists()
    code, said = check(tmp_path, configured(tmp_path))
    assert code == 2
    assert f"{tmp_path} is a folder" in said


def test_a_reload_creates_no_users(tmp_path: Path) -> None:
    """A file that disappeared is then an error: a new password would lock out every user."""
    path = tmp_path / "users"
    path.write_text(users.lines({"ann": PASSWORD}))
    with ReloadedServer(tmp_path / "server", configured(path), 1) as server:
        path.unlink()
        server.hang_up()
        until(lambda: "stays in force" in server.log, "the log said so")
        assert not path.exists()
        assert server.wire.request("GET", "/v2/", headers=basic("ann", PASSWORD)).status == 200
