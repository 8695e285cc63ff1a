"""Robot accounts: the file, the check of keys, and the commands."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from registry_server.access.robots import (
    Robot,
    RobotExists,
    RobotKeys,
    RobotsDamaged,
    RobotsFile,
    RobotStore,
    format_robots,
    parse_robots,
    robots_file,
)
from registry_server.commands.robots import robots as commands
from registry_server.files.atomic_file import edit_file
from tests.support.secrets import nothing_told
from tests.support.servers import PROJECT

NOW = datetime.now(UTC).replace(microsecond=0)
MOMENTS = st.integers(-20_000_000_000, 200_000_000_000).map(
    lambda seconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
ROBOTS = st.builds(
    Robot,
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
    MOMENTS,
    st.none() | MOMENTS,
    st.text(max_size=256).filter(str.isprintable),
)


@pytest.fixture
def store(tmp_path: Path) -> RobotStore:
    """Return the store of a root without robots."""
    return RobotStore(robots_file(tmp_path))


async def keys(root: Path) -> RobotKeys:
    """Open the robots of a root as a server does."""
    return RobotKeys(await asyncio.to_thread(RobotsFile, robots_file(root)))


async def who(keys: RobotKeys, name: str, password: str) -> str | None:
    """Return the name of the robot with a secret."""
    actor = await keys.verify(name, password)
    return None if actor is None else actor.name


async def test_a_robot_logs_in_by_all_its_names(tmp_path: Path, store: RobotStore) -> None:
    """With a colon, with a dollar, and as Basic splits the one with a colon; rules see one name."""
    secret = (await asyncio.to_thread(store.create, "ci")).secret
    robots = await keys(tmp_path)
    assert await who(robots, "robot:ci", secret) == "robot:ci"
    assert await who(robots, "robot$ci", secret) == "robot:ci"
    assert await who(robots, "robot", f"ci:{secret}") == "robot:ci"


async def test_other_credentials_are_refused(tmp_path: Path, store: RobotStore) -> None:
    """Other names, other secrets, the hash itself, and parts of them."""
    secret = (await asyncio.to_thread(store.create, "ci")).secret
    other = (await asyncio.to_thread(store.create, "other")).secret
    robots = await keys(tmp_path)
    for name in ("ci", "robot", "robot:", "robot$", "robot/ci", "robot:CI", "ROBOT:ci", "robot:no"):
        assert await who(robots, name, secret) is None
    hashes = re.findall(r"sha256:([0-9a-f]{64})", robots_file(tmp_path).read_text())
    for password in ("", other, secret[:-1], f"{secret}=", f"ci:{secret}", *hashes, "\ud800"):
        assert await who(robots, "robot:ci", password) is None
    for password in ("", ":", "ci", "ci:", f":{secret}", f"other:{secret}"):
        assert await who(robots, "robot", password) is None


async def test_a_robot_expires_at_its_time(tmp_path: Path, store: RobotStore) -> None:
    """It is accepted until that second, and refused from then on."""
    ends = NOW + timedelta(days=90)
    secret = (await asyncio.to_thread(store.create, "ci", ends)).secret
    now = [NOW]
    file = await asyncio.to_thread(RobotsFile, robots_file(tmp_path))
    robots = RobotKeys(file, lambda: now[0])
    assert await who(robots, "robot:ci", secret) == "robot:ci"
    now[0] = ends - timedelta(microseconds=1)
    assert await who(robots, "robot:ci", secret) == "robot:ci"
    now[0] = ends
    assert await who(robots, "robot:ci", secret) is None


async def test_servers_see_new_and_revoked_robots(tmp_path: Path, store: RobotStore) -> None:
    """Also the first robot, which creates the file, and the removal of the file."""
    robots = await keys(tmp_path)
    assert await who(robots, "robot:ci", "rk_") is None
    secret = (await asyncio.to_thread(store.create, "ci")).secret
    assert await who(robots, "robot:ci", secret) == "robot:ci"
    assert await asyncio.to_thread(store.revoke, "ci")
    assert await who(robots, "robot:ci", secret) is None
    again = (await asyncio.to_thread(store.create, "ci", None, "another")).secret
    assert await who(robots, "robot:ci", secret) is None
    assert await who(robots, "robot:ci", again) == "robot:ci"
    robots_file(tmp_path).unlink()
    assert await who(robots, "robot:ci", again) is None
    last = (await asyncio.to_thread(store.create, "ci", None, "the last of them")).secret
    assert await who(robots, "robot:ci", last) == "robot:ci"


async def test_a_broken_edit_changes_nothing(
    tmp_path: Path, store: RobotStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The robots stay; one line of the log reports it without quoting the file."""
    secret = (await asyncio.to_thread(store.create, "ci")).secret
    robots = await keys(tmp_path)
    robots_file(tmp_path).write_text('{"version": 1, "robots": [{"name": "correct-horse"}]}')
    for _ in range(3):
        assert await who(robots, "robot:ci", secret) == "robot:ci"
    (record,) = caplog.records
    assert "robot 1 is malformed" in record.getMessage()
    assert "correct-horse" not in record.getMessage()


async def test_a_new_file_that_is_broken_has_no_robots(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; a server does not start with it."""
    robots = await keys(tmp_path)
    path = robots_file(tmp_path)
    path.parent.mkdir()
    path.write_text("{")
    for _ in range(3):
        assert await who(robots, "robot:ci", "x") is None
    assert len(caplog.records) == 1
    with pytest.raises(ValueError, match="not JSON"):
        await asyncio.to_thread(RobotsFile, path)


def test_a_secret_is_random_and_not_stored(tmp_path: Path, store: RobotStore) -> None:
    """256 bits after `rk_`; the file has its SHA-256, and only its owner can read it."""
    path = robots_file(tmp_path)
    secrets = [
        store.create(f"ci{n}", NOW + timedelta(days=1), "for builds").secret for n in range(5)
    ]
    assert len(set(secrets)) == 5
    for secret in secrets:
        assert re.fullmatch(r"rk_[A-Za-z0-9_-]{43}", secret)
        assert secret not in path.read_text()
        assert hashlib.sha256(secret.encode()).hexdigest() in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path == tmp_path / "access" / "robots.json"
    assert list(path.parent.iterdir()) == [path]
    first = store.list()[0]
    assert (first.name, first.description) == ("ci0", "for builds")
    assert first.expires == NOW + timedelta(days=1)
    assert first.digest.hex() not in repr(first)


def test_a_name_is_taken_until_it_is_revoked(store: RobotStore) -> None:
    """Also by an expired robot; revoking it twice changes nothing."""
    assert store.list() == []
    assert not store.revoke("ci")
    store.create("ci")
    with pytest.raises(RobotExists):
        store.create("ci")
    assert store.revoke("ci")
    assert not store.revoke("ci")
    store.create("ci")
    assert [robot.login for robot in store.list()] == ["robot:ci"]


@pytest.mark.parametrize("name", ["", "A", ".a", "-a", "a:b", "a b", "a\n", "\u00e9", "a" * 65])
def test_an_invalid_name_is_refused(tmp_path: Path, store: RobotStore, name: str) -> None:
    """Nothing is created."""
    with pytest.raises(ValueError, match="name of a robot"):
        store.create(name)
    assert list(tmp_path.iterdir()) == []


def test_invalid_fields_are_not_written(store: RobotStore) -> None:
    """Descriptions of several lines or too long, and an expiry in the past."""
    for description in ("a\nb", "\x1b[31m", "x" * 257):
        with pytest.raises(ValueError, match="description"):
            store.create("ci", None, description)
    with pytest.raises(ValueError, match="expiry"):
        store.create("ci", NOW - timedelta(days=1))
    store.create("a" * 64, None, "\N{SNOWMAN}" * 256)
    assert len(store.list()) == 1


def test_a_damaged_file_is_not_overwritten(tmp_path: Path, store: RobotStore) -> None:
    """Whatever the operation, it stays for the operator to inspect."""
    path = robots_file(tmp_path)
    path.parent.mkdir()
    path.write_text("{")
    for act in (lambda: store.create("ci"), lambda: store.revoke("ci"), store.list):
        with pytest.raises(RobotsDamaged, match="not JSON"):
            act()
    assert path.read_text() == "{"
    assert list(path.parent.iterdir()) == [path]


@given(st.lists(ROBOTS, max_size=5, unique_by=lambda robot: robot.name))
def test_printing_and_parsing_are_inverse(robots: list[Robot]) -> None:
    """All robots are unchanged."""
    given = {robot.name: robot for robot in robots}
    assert parse_robots(format_robots(given)) == given


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {
        "name": st.just("ci") | JSON,
        "hash": st.just("sha256:" + "0" * 64) | JSON,
        "created": st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00"]) | JSON,
    },
    optional={"expires": JSON, "description": JSON},
)


@given(
    st.binary(max_size=100)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(ENTRIES | JSON, max_size=3).map(
        lambda robots: json.dumps({"version": 1, "robots": robots}).encode()
    )
)
def test_any_content_is_robots_or_a_value_error(content: bytes) -> None:
    """Any bytes."""
    try:
        parse_robots(content)
    except ValueError as error:
        assert len(str(error)) < 100  # noqa: PT017 - most contents raise, some don't


def test_deep_json_and_duplicate_names_are_refused() -> None:
    """Neither ends the server."""
    with pytest.raises(ValueError):
        parse_robots(b"[" * 100_000)
    robot = json.loads(format_robots({"ci": Robot("ci", bytes(32), NOW)}))
    robot["robots"] *= 2
    with pytest.raises(ValueError, match="robot 2 has the name"):
        parse_robots(json.dumps(robot).encode())


def test_a_failed_edit_leaves_the_file(tmp_path: Path) -> None:
    """No other file is left; an edit that changes nothing writes nothing."""
    path = tmp_path / "file"
    path.write_bytes(b"before")
    inode = path.stat().st_ino

    def fail(content: bytes) -> bytes:
        raise ValueError(content.decode())

    with pytest.raises(ValueError, match="before"):
        edit_file(path, fail)
    edit_file(path, lambda _: None)
    assert (path.read_bytes(), path.stat().st_ino) == (b"before", inode)
    assert list(tmp_path.iterdir()) == [path]


def test_an_edit_follows_no_link(tmp_path: Path) -> None:
    """Nor does it wait for the other end of a pipe."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError):
            edit_file(tmp_path / name, lambda content: content + b"x")
    assert not (tmp_path / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_files_created_by_root_belong_to_the_owner(tmp_path: Path, store: RobotStore) -> None:
    """A server that runs as the owner of the root can read them."""
    os.chown(tmp_path, 1234, 1235)
    store.create("ci")
    path = robots_file(tmp_path)
    for made in (path.parent, path):
        assert (made.stat().st_uid, made.stat().st_gid) == (1234, 1235)


CREATES = """
import sys
from pathlib import Path
from registry_server.access.robots import RobotStore
sys.stdin.readline()
for n in range(25):
    RobotStore(Path(sys.argv[1])).create(f"{sys.argv[2]}-{n}")
"""


def test_two_processes_lose_no_robot(tmp_path: Path, store: RobotStore) -> None:
    """Each creates 25 concurrently, the first one without a folder; there are 50."""
    path = robots_file(tmp_path)
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", CREATES, str(path), name], stdin=subprocess.PIPE, cwd=PROJECT
        )
        for name in ("a", "b")
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write(b"\n")
        maker.stdin.flush()
    for maker in makers:
        maker.communicate(timeout=50)
        assert maker.returncode == 0
    made = {robot.name for robot in store.list()}
    assert made == {f"{name}-{n}" for name in ("a", "b") for n in range(25)}
    assert list(path.parent.iterdir()) == [path]


# The commands.


def command(root: Path, *arguments: str, code: int = 0) -> Result:
    """Run one of the commands over a root."""
    done = CliRunner().invoke(commands, [*arguments, "--root", str(root)])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    # Only the key is printed to standard output, where scripts read it.
    nothing_told(done.stderr if arguments[0] == "create" else done.output, arguments)
    return done


async def test_only_the_secret_is_printed(tmp_path: Path) -> None:
    """A sentence for people is written to standard error; the robot can log in with the secret."""
    done = await asyncio.to_thread(
        command, tmp_path, "create", "ci", "--expires", "90d", "--description", "for builds"
    )
    secret = done.stdout.removesuffix("\n")
    assert re.fullmatch(r"rk_[A-Za-z0-9_-]{43}", secret)
    assert "robot:ci" in done.stderr
    assert secret not in done.stderr
    assert await who(await keys(tmp_path), "robot:ci", secret) == "robot:ci"


def test_robots_are_listed(tmp_path: Path) -> None:
    """As lines or as JSON, never with a hash."""
    assert command(tmp_path, "list").stdout == ""
    command(tmp_path, "create", "b", "--expires", "36h", "--description", "for builds")
    command(tmp_path, "create", "a")
    first, second = command(tmp_path, "list").stdout.splitlines()
    moment = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
    assert re.fullmatch(f"robot:a created {moment} never expires", first)
    assert re.fullmatch(f"robot:b created {moment} expires {moment} for builds", second)
    a, b = json.loads(command(tmp_path, "list", "--json").stdout)["robots"]
    assert (a["name"], a["expires"], a["description"]) == ("robot:a", None, "")
    assert set(a) == set(b) == {"name", "created", "expires", "description"}
    lasts = datetime.fromisoformat(b["expires"]) - datetime.fromisoformat(b["created"])
    assert abs(lasts - timedelta(hours=36)) <= timedelta(seconds=2)


def test_an_expired_robot_is_listed_as_expired(tmp_path: Path) -> None:
    """It stays until it is revoked."""
    then = NOW - timedelta(days=2)
    path = robots_file(tmp_path)
    path.parent.mkdir()
    path.write_bytes(format_robots({"ci": Robot("ci", bytes(32), then, then)}))
    assert " expired " in command(tmp_path, "list").stdout


def test_a_robot_is_revoked(tmp_path: Path) -> None:
    """A second call finds no robot of that name."""
    command(tmp_path, "create", "ci")
    assert command(tmp_path, "revoke", "ci").output == ""
    assert "robot:ci does not exist" in command(tmp_path, "revoke", "ci", code=1).stderr


def test_errors_are_one_line(tmp_path: Path) -> None:
    """Exit code 2 for invalid arguments, 1 for failures."""
    command(tmp_path, "create", "CI", code=2)
    command(tmp_path, "create", "ci", "--description", "a\nb", code=2)
    for expires in ("", "0d", "-1d", "1", "90 d", "soon", "999999d", "1ms", "-5h"):
        done = command(tmp_path, "create", "ci", f"--expires={expires}", code=2)
        assert len(done.stderr.splitlines()) == 1
    command(tmp_path / "no", "list", code=2)
    assert list(tmp_path.iterdir()) == []
    command(tmp_path, "create", "ci")
    assert command(tmp_path, "create", "ci", code=1).stdout == ""
    robots_file(tmp_path).write_text("{")
    for arguments in (["create", "ci"], ["list"], ["revoke", "ci"]):
        assert "not JSON" in command(tmp_path, *arguments, code=1).stderr


def test_the_configuration_names_the_root(tmp_path: Path) -> None:
    """`--config` is used as by other commands."""
    (tmp_path / "root").mkdir()
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/root}}}}\n"
    )
    done = CliRunner().invoke(commands, ["create", "ci", "--config", str(config)])
    assert done.exit_code == 0
    assert [robot.name for robot in RobotStore(robots_file(tmp_path / "root")).list()] == ["ci"]
