"""Users with passwords and robots with keys: whom a name and a password make known."""

from __future__ import annotations

import base64
import logging
import os
import stat
from asyncio import gather, to_thread
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.auth.basic import parse_basic
from registry_server.auth.htpasswd import HtpasswdUsers, parse_htpasswd, watch_htpasswd
from registry_server.auth.remembered import RememberedPasswords
from registry_server.auth.robots import RobotExists, RobotKeys, RobotsFile, RobotStore
from registry_server.auth.watched import Watched

PASSWORD = "ann's password"


def line(name: str, password: str) -> bytes:
    """Write a user as `htpasswd -B` does, but cheaper."""
    return name.encode() + b":" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)) + b"\n"


class Checks:
    """Checks passwords, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, password: bytes, hash: bytes) -> bool:
        self.count += 1
        return bcrypt.checkpw(password, hash)


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """Give a file with one user."""
    path = tmp_path / "users"
    path.write_bytes(b"# people\n\n" + line("ann", PASSWORD))
    return path


def look_again(path: Path, content: bytes) -> None:
    """Edit a file of users as an editor does."""
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").rename(path)


async def users_of(path: Path, checks: Checks) -> HtpasswdUsers:
    """Watch a file, looking at each use."""
    watched = await to_thread(Watched, path, parse_htpasswd, 0.0)
    return HtpasswdUsers(watched, check=checks)


async def test_an_unknown_name_costs_what_a_wrong_password_does(users_file: Path) -> None:
    """One check of a hash each, so that time tells nobody who has an account."""
    checks = Checks()
    users = await users_of(users_file, checks)
    assert await users.verify("ann", "wrong") is None
    assert checks.count == 1
    assert await users.verify("nobody", "wrong") is None
    assert checks.count == 2


async def test_a_right_password_is_checked_once(users_file: Path) -> None:
    """Then it is remembered; those who ask at once share a check, and a wrong one is no help."""
    checks = Checks()
    users = await users_of(users_file, checks)
    found = await gather(*(users.verify("ann", PASSWORD) for _ in range(8)))
    assert {each.name for each in found if each} == {"ann"}
    assert None not in found
    assert await users.verify("ann", PASSWORD) is not None
    assert checks.count == 1
    assert await users.verify("ann", PASSWORD + "x") is None
    assert checks.count == 2


async def test_a_changed_password_is_refused_at_once(users_file: Path) -> None:
    """What is remembered of the old one is not asked."""
    users = await users_of(users_file, Checks())
    assert await users.verify("ann", PASSWORD) is not None
    before = await users.generation("ann")
    await to_thread(look_again, users_file, line("ann", "another"))
    assert await users.verify("ann", PASSWORD) is None
    assert await users.verify("ann", "another") is not None
    assert await users.generation("ann") != before
    assert await users.generation("nobody") is None


async def test_a_broken_edit_keeps_the_users_and_says_so(
    users_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the line and nothing that it says, once."""
    users = await users_of(users_file, Checks())
    await to_thread(look_again, users_file, line("ann", "another") + b"bob:no hash at all\n")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert await users.verify("ann", PASSWORD) is not None
    (record,) = caplog.records
    assert "line 2 has no bcrypt hash" in record.getMessage()
    assert "no hash at all" not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"ann\n",
        b":$2y$05$abc\n",
        b"ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n",
        b"ann:$2y$31$" + b"a" * 22 + b"b" * 31,
        line("ann", "1") + line("ann", "2"),
        b"\xff:" + line("x", "1")[2:],
        b"a\x07b:" + line("x", "1")[2:],
    ],
)
def test_a_line_that_is_no_user_is_an_error(content: bytes) -> None:
    """So is another hash than bcrypt's, one that takes hours, and a name that is there twice."""
    with pytest.raises(ValueError, match=r"^line \d+ "):
        parse_htpasswd(content)


async def test_what_is_remembered_ends(users_file: Path) -> None:
    """After its time a password is checked anew."""
    now = [0.0]
    checks = Checks()
    watched = await to_thread(watch_htpasswd, users_file)
    remembered = RememberedPasswords(seconds=60, clock=lambda: now[0])
    users = HtpasswdUsers(watched, remembered=remembered, check=checks)
    for now[0], count in ((0.0, 1), (59.0, 1), (60.0, 2)):
        assert await users.verify("ann", PASSWORD) is not None
        assert checks.count == count


@given(st.text(), st.text())
def test_what_was_shown_is_what_is_read(name: str, password: str) -> None:
    """Basic credentials are read as they were written, or refused; nothing raises."""
    try:
        text = f"{name}:{password}".encode()
    except UnicodeEncodeError:
        return
    read = parse_basic("Basic " + base64.b64encode(text).decode())
    if read is not None:
        assert ":".join(read) == f"{name}:{password}"


@given(st.text())
def test_no_header_is_too_odd(field: str) -> None:
    """Whatever stands there is read or refused."""
    parse_basic(field)
    parse_basic(f"Basic {field}")


async def test_a_robot_is_known_by_its_key_until_it_expires(tmp_path: Path) -> None:
    """By either form of its name; another robot's key is none."""
    store = RobotStore(tmp_path / "access/robots.json")
    soon = datetime.now(UTC) + timedelta(hours=1)
    ci = await to_thread(store.create, "ci", soon, "for the builds")
    node = await to_thread(store.create, "node")
    now = [datetime.now(UTC)]
    keys = RobotKeys(await to_thread(RobotsFile, tmp_path / "access/robots.json"), lambda: now[0])
    for name in ("robot:ci", "robot$ci"):
        found = await keys.verify(name, ci)
        assert found is not None
        assert found.name == "robot:ci"
    for name, key in (("robot:ci", node), ("ci", ci), ("robot:none", ci), ("robot:ci", "")):
        assert await keys.verify(name, key) is None
    now[0] = soon + timedelta(seconds=1)
    assert await keys.verify("robot:ci", ci) is None
    assert await keys.verify("robot:node", node) is not None


def test_a_key_is_kept_nowhere(tmp_path: Path) -> None:
    """What is kept tells nothing of it, and only its owner may read that."""
    store = RobotStore(tmp_path / "access/robots.json")
    key = store.create("ci")
    file = tmp_path / "access/robots.json"
    assert key.startswith("rk_")
    assert key not in file.read_text()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with pytest.raises(RobotExists):
        store.create("ci")
    assert [robot.name for robot in store.list()] == ["ci"]
    assert store.revoke("ci")
    assert not store.revoke("ci")
    assert store.list() == []
