"""Users of an htpasswd file, and the command that writes it."""

from __future__ import annotations

import asyncio
import os
import pty
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import bcrypt
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from registry_server.access.users.htpasswd import HtpasswdUsers, _parallel, _usual_cost
from registry_server.access.users.htpasswd_file import Fault, Users, parse_htpasswd, watch_htpasswd
from registry_server.commands.htpasswd import htpasswd, replaced
from tests.support.servers import PROJECT


def hashed(password: str, cost: int = 4) -> bytes:
    """Hash a password at the lowest cost of bcrypt."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost))


ANN, BOB = hashed("ann's secret"), hashed("bob's secret")
BODY = ANN[7:]


class Counting:
    """bcrypt that records its calls, and can be blocked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.go = threading.Event()
        self.go.set()
        self.full = threading.Event()  # two at once
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, password: bytes, hash: bytes) -> bool:
        """Check a password."""
        with self._lock:
            self.asked.append((password, hash))
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == 2:
                self.full.set()
        self.go.wait(30)
        with self._lock:
            self.running -= 1
        return bcrypt.checkpw(password, hash)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a file of two users."""
    path = tmp_path / "htpasswd"
    path.write_bytes(b"# people\n\nann:" + ANN + b"\r\n  bob:" + BOB)
    return path


def users_of(content: bytes) -> Users:
    """Return the users of a file without faults."""
    file = parse_htpasswd(content)
    assert file.faults == ()
    return file.users


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file as an editor does."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.rename(path)


Make = Callable[..., HtpasswdUsers]


@pytest.fixture
async def make(path: Path) -> Make:
    """Return the users of a file, with a check at every use."""
    file = await asyncio.to_thread(watch_htpasswd, path, 0.0)

    def make(check: Counting, parallel: int | None = None) -> HtpasswdUsers:
        return HtpasswdUsers(file, check=check, parallel=parallel)

    return make


async def who(users: HtpasswdUsers, name: str, password: str) -> str | None:
    """Return the name of the user with a password."""
    actor = await users.verify(name, password)
    return None if actor is None else actor.name


async def test_a_name_and_its_password_are_a_user(make: Make) -> None:
    """Only both together; names are case-sensitive."""
    users = make(Counting())
    assert await who(users, "ann", "ann's secret") == "ann"
    assert await who(users, "bob", "bob's secret") == "bob"
    assert await who(users, "ann", "bob's secret") is None
    assert await who(users, "Ann", "ann's secret") is None
    assert await who(users, "ann", "") is None
    assert await who(users, "# people", "") is None


@pytest.mark.parametrize("prefix", [b"$2a$", b"$2b$", b"$2y$"])
async def test_all_three_prefixes_are_one_hash(make: Make, prefix: bytes) -> None:
    """Apache writes $2y$, others $2a$ or $2b$."""
    entry = b"ann:" + prefix + ANN[4:]
    assert users_of(entry) == {"ann": prefix + ANN[4:]}
    assert bcrypt.checkpw(b"ann's secret", prefix + ANN[4:])


async def test_an_unknown_name_costs_what_a_wrong_password_costs(make: Make) -> None:
    """bcrypt runs once for either, with a hash of the same cost, and each time again."""
    check = Counting()
    users = make(check)
    for name in ("ann", "nobody", "ann", "nobody"):
        assert await who(users, name, "guess") is None
    assert [password for password, _ in check.asked] == [b"guess"] * 4
    assert {hash[:7] for _, hash in check.asked} == {b"$2b$04$"}
    assert len({hash for _, hash in check.asked}) == 2


async def test_an_unknown_name_is_refused_even_if_its_decoy_matches(path: Path) -> None:
    """A check that always succeeds does not admit an unknown user."""
    file = await asyncio.to_thread(watch_htpasswd, path)
    users = HtpasswdUsers(file, check=lambda _password, _hash: True)
    assert await who(users, "nobody", "x") is None
    assert await who(users, "nobody", "x") is None
    assert await who(users, "ann", "x") == "ann"


async def test_the_decoy_has_the_most_frequent_cost() -> None:
    """Without users, the default cost; of two equally frequent costs, the higher one."""
    assert users_of(b"") == {}
    assert _usual_cost({}) == 12
    costs = {"a": b"$2b$05$", "b": b"$2b$05$", "c": b"$2b$10$"}
    assert _usual_cost(costs) == 5
    assert _usual_cost({**costs, "d": b"$2b$10$"}) == 10


async def test_a_password_is_checked_once_for_many_requests(make: Make) -> None:
    """One after the other, or concurrently."""
    check = Counting()
    users = make(check)
    asked = [who(users, "ann", "ann's secret") for _ in range(20)]
    assert await asyncio.gather(*asked) == ["ann"] * 20
    assert await who(users, "ann", "ann's secret") == "ann"
    assert len(check.asked) == 1


async def test_only_72_bytes_count(path: Path) -> None:
    """The rest is ignored, as Apache and distribution do; also within a character."""
    long = "\N{EURO SIGN}" * 23 + "ab\N{EURO SIGN}"
    entry = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4))
    rewrite(path, b"ann:" + entry)
    users = HtpasswdUsers(await asyncio.to_thread(watch_htpasswd, path))
    assert await who(users, "ann", long) == "ann"
    assert await who(users, "ann", long + "x" * 5000) == "ann"
    assert await who(users, "ann", long[:-2]) is None


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "ann's secret\0"), ("ann", "\ud800"), ("\ud800", "x")]
)
async def test_unusable_passwords_are_refused(make: Make, name: str, password: str) -> None:
    """NUL bytes and lone surrogates reach no hash."""
    check = Counting()
    assert await who(make(check), name, password) is None
    assert check.asked == []


async def test_an_edit_counts_immediately(path: Path, make: Make) -> None:
    """A new user can log in; a cached password is refused when it has changed."""
    users = make(Counting())
    assert await who(users, "ann", "ann's secret") == "ann"
    rewrite(path, b"ann:" + hashed("changed") + b"\neve:" + hashed("new"))
    assert await who(users, "ann", "ann's secret") is None
    assert await who(users, "ann", "changed") == "ann"
    assert await who(users, "eve", "new") == "eve"
    assert await who(users, "bob", "bob's secret") is None
    rewrite(path, b"")
    assert await who(users, "ann", "changed") is None


async def test_an_edit_with_a_line_that_cannot_be_used_skips_that_line(
    path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Other users can log in; the log names the line once, and quotes nothing of it."""
    users = make(Counting())
    for _ in range(2):
        rewrite(path, b"eve:correct-horse\nann:" + ANN)
        for _ in range(3):
            assert await who(users, "ann", "ann's secret") == "ann"
            assert await who(users, "eve", "correct-horse") is None
            assert await who(users, "bob", "bob's secret") is None
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2  # one a change
    for record in warnings:
        assert record.getMessage().startswith(f"{path}, line 1: has no bcrypt hash")
        for secret in ("eve", "correct-horse", "secret", ANN.decode()):
            assert secret not in record.getMessage()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"eve", "is not name:hash"),
        (b":" + ANN, "is not name:hash"),
        (b"eve:", "has no bcrypt hash"),
        (b"eve:secret", "has no bcrypt hash"),
        (b"eve:$apr1$abcdefgh$0123456789012345678901", "has no bcrypt hash"),
        (b"eve:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "has no bcrypt hash"),
        (b"eve:$2b$03$" + BODY, "has no bcrypt hash"),
        (b"eve:$2b$21$" + BODY, "has no bcrypt hash"),
        (b"eve:$2b$32$" + BODY, "has no bcrypt hash"),
        (b"eve:$2b$99$" + BODY, "has no bcrypt hash"),
        (b"eve:$2b$4$" + BODY, "has no bcrypt hash"),
        (b"eve:" + ANN[:-1], "has no bcrypt hash"),
        (b"e\xff:" + ANN, "has a name that is not UTF-8"),
        (b"e\tb:" + ANN, "has control characters"),
        (b"e\xc2\x85b:" + ANN, "has control characters"),
    ],
    ids=count(),
)
def test_a_line_that_cannot_be_used_is_skipped(line: bytes, reason: str) -> None:
    """Its number is reported, its content is not quoted, and the other lines count."""
    file = parse_htpasswd(b"ann:" + ANN + b"\n#\n" + line + b"\nbob:" + BOB)
    assert file.users == {"ann": ANN, "bob": BOB}
    (fault,) = file.faults
    assert fault.line == 3
    assert fault.reason.startswith(reason)
    assert fault.reason.endswith(": the line is skipped")
    for secret in ("eve", "secret", "apr1", "SHA", BODY.decode()):
        assert secret not in fault.reason


def test_the_last_line_of_a_name_counts() -> None:
    """As in distribution; a hash that was made unusable reactivates no older password."""
    repeated = Fault(2, "repeats a name, and the last line of a name counts")
    file = parse_htpasswd(b"ann:" + ANN + b"\nann:" + BOB)
    assert (file.users, file.faults) == ({"ann": BOB}, (repeated,))
    file = parse_htpasswd(b"ann:" + ANN + b"\nann:!" + ANN)
    assert file.users == {}
    assert [fault.line for fault in file.faults] == [2, 2]


@pytest.mark.parametrize("more", [b":more:fields", b"a", b" # a comment", b":\xff"])
def test_text_after_a_hash_is_ignored(more: bytes) -> None:
    """As in distribution: the user can log in, and the line is a warning."""
    file = parse_htpasswd(b"ann:" + ANN + more)
    reason = "has text after the hash, which is ignored"
    assert (file.users, file.faults) == ({"ann": ANN}, (Fault(1, reason),))


def test_hashes_of_distribution_are_normalized_for_bcrypt() -> None:
    """Without a letter, with that of an older bug, and with unused bits of the salt."""
    for prefix in (b"$2$", b"$2x$"):
        (hash,) = users_of(b"ann:" + prefix + ANN[4:]).values()
        assert bcrypt.checkpw(b"ann's secret", hash)
    salt_end = chr(ANN[28])
    for other in {".": "./AB", "O": "OPQR", "e": "efgh", "u": "uvwx"}[salt_end]:
        (hash,) = users_of(b"ann:" + ANN[:28] + other.encode() + ANN[29:]).values()
        assert hash == ANN


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    """Some editors write one."""
    assert users_of(b"\xef\xbb\xbfann:" + ANN) == {"ann": ANN}


def test_a_file_of_another_kind_is_a_few_warnings(tmp_path: Path) -> None:
    """Twenty name a line, and one has the number of the others."""
    *named, last = parse_htpasswd(b"junk\n" * 1000).warnings(tmp_path / "users")
    assert len(named) == 20
    assert str(last) == f"{tmp_path / 'users'}: 980 more lines have such faults"


@given(st.binary(max_size=200))
def test_any_content_is_parsed(content: bytes) -> None:
    """Any bytes are users and faults, in the order of the lines."""
    lines = [fault.line for fault in parse_htpasswd(content).faults]
    assert lines == sorted(lines)


@given(
    st.sampled_from([b"a", b"b", b"2", b"y"]),
    st.integers(4, 6),
    st.text(b"./ABCxyz019".decode(), min_size=53, max_size=53),
)
def test_bcrypt_can_use_every_accepted_hash(letter: bytes, cost: int, body: str) -> None:
    """A hash that the parser accepts makes a login fail only for a wrong password."""
    entry = b"ann:$2" + letter + b"$%02d$" % cost + body.encode()
    for hash in parse_htpasswd(entry).users.values():
        assert not bcrypt.checkpw(b"x", hash)


async def test_a_flood_does_not_take_all_threads(make: Make) -> None:
    """The number of concurrent checks is limited, and other work finds a thread."""
    check = Counting()
    check.go.clear()
    users = make(check, parallel=2)
    asked = [asyncio.create_task(who(users, f"n{n}", "guess")) for n in range(20)]
    assert await asyncio.to_thread(check.full.wait, 30)
    assert await asyncio.to_thread(lambda: "done") == "done"
    check.go.set()
    assert await asyncio.gather(*asked) == [None] * 20
    assert (check.most, len(check.asked)) == (2, 20)


async def test_disconnected_clients_free_no_thread_too_early(make: Make) -> None:
    """A check without a client counts until its thread ends; those that wait are dropped."""
    check = Counting()
    check.go.clear()
    users = make(check, parallel=2)
    asked = [asyncio.create_task(who(users, f"n{n}", "guess")) for n in range(10)]
    assert await asyncio.to_thread(check.full.wait, 30)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    later = asyncio.create_task(who(users, "ann", "ann's secret"))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert len(check.asked) == 2
    check.go.set()
    assert await later == "ann"
    assert (check.most, len(check.asked)) == (2, 3)


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 64, 256])
def test_half_of_the_threads_stay_free(cores: int) -> None:
    """For every number of cores; one thread is always free for a login."""
    assert 1 <= _parallel(cores) <= min(2 * cores, 16)
    assert _parallel(cores) <= min(32, cores + 4) // 2


# The command.

app = typer.Typer()
app.command()(htpasswd)


def command(
    *arguments: str | Path, password: str | bytes = "", code: int = 0, says: Sequence[str] = ()
) -> None:
    """Run it with a password on standard input; it prints one line if it fails."""
    cost = () if "--delete" in arguments else ("--cost", "4")
    done = CliRunner().invoke(app, [*map(str, arguments), *cost], input=password)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    for text in says:
        assert text in done.stderr
    assert (done.stderr == "") == (code == 0 and not says)
    assert "Traceback" not in done.stderr
    shown = password if isinstance(password, str) else password.decode(errors="replace")
    assert not shown.strip() or shown.strip() not in done.stderr


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_command_creates_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    """The first line of standard input is the password; no other file is left."""
    path = tmp_path / "users"
    command(path, "ann", password="correct horse \r\nmore\n")
    ((name, hash),) = users_of(path.read_bytes()).items()
    assert name == "ann"
    assert hash.startswith(b"$2b$04$")
    assert bcrypt.checkpw(b"correct horse ", hash)
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_replaces_one_entry_and_keeps_the_rest(path: Path) -> None:
    """Comments, blank lines, other users and the mode are unchanged."""
    path.chmod(0o640)
    before = path.read_bytes()
    command(path, "ann", password="new\n")
    users = users_of(path.read_bytes())
    assert bcrypt.checkpw(b"new", users["ann"])
    assert path.read_bytes() == before.replace(b"ann:" + ANN + b"\r", b"ann:" + users["ann"])
    assert mode(path) == 0o640
    command(path, "eve", password="last")
    assert list(users_of(path.read_bytes())) == ["ann", "bob", "eve"]


def test_the_command_removes_a_user(path: Path) -> None:
    """A second call finds no user, and leaves the file unchanged."""
    command(path, "ann", "--delete")
    assert path.read_bytes() == b"# people\n\n  bob:" + BOB
    command(path, "ann", "--delete", code=1, says=["has no user "])
    assert path.read_bytes() == b"# people\n\n  bob:" + BOB


def test_removing_a_user_from_a_missing_file_creates_nothing(tmp_path: Path) -> None:
    """There is no file afterwards."""
    command(tmp_path / "users", "ann", "--delete", code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    """Its target is changed."""
    link = tmp_path / "link"
    link.symlink_to(path)
    command(link, "eve", password="correct horse")
    assert link.is_symlink()
    assert "eve" in users_of(path.read_bytes())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(path: Path, tmp_path: Path) -> None:
    """A file that root edits keeps its owner; a new one gets the folder's owner."""
    os.chown(path, 1234, 1235)
    command(path, "eve", password="correct horse")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)
    os.chown(tmp_path, 1236, 1237)
    new = tmp_path / "new"
    command(new, "eve", password="correct horse")
    assert (new.stat().st_uid, new.stat().st_gid, mode(new)) == (1236, 1237, 0o600)


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a\0", "\x7f", "\x85", " a", "a ", "#a"])
def test_an_invalid_name_is_refused(path: Path, name: str) -> None:
    """Before the password is read."""
    before = path.read_bytes()
    command(path, name, password="correct horse", code=2, says=["the user name"])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("x" * 73, "longer than 72 bytes"),
        ("\N{EURO SIGN}" * 25, "longer than 72 bytes"),
        ("x" * 5000, "longer than 72 bytes"),
        ("correct\0horse", "NUL"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_an_unusable_password_is_refused(path: Path, password: str | bytes, reason: str) -> None:
    """The reason does not quote it; the file is unchanged."""
    before = path.read_bytes()
    command(path, "ann", password=password, code=2, says=[reason])
    assert path.read_bytes() == before


def test_a_password_of_72_bytes_is_not_too_long(path: Path) -> None:
    """The longest that bcrypt uses completely."""
    command(path, "ann", password="x" * 72)


def test_a_line_of_another_kind_is_kept_and_warned_about(tmp_path: Path) -> None:
    """The user is set; such lines can be replaced one after the other."""
    path = tmp_path / "users"
    path.write_bytes(b"old:$apr1$x\nolder:$apr1$y\n")
    command(path, "old", password="correct horse", says=["warning", f"{path}, line 2"])
    command(path, "older", password="correct horse")
    assert list(users_of(path.read_bytes())) == ["old", "older"]


def test_a_path_without_a_file_is_one_line(tmp_path: Path) -> None:
    """A missing folder, or a folder in place of the file."""
    command(
        tmp_path / "no" / "users",
        "ann",
        password="correct horse",
        code=1,
        says=["can't be written"],
    )
    command(tmp_path, "ann", password="correct horse", code=1, says=["can't be written"])
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_prompts_twice_without_an_echo(tmp_path: Path) -> None:
    """Until both passwords are equal."""
    ours, theirs = pty.openpty()
    arguments = ["htpasswd", str(tmp_path / "users"), "ann", "--cost", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "registry_server", *arguments],
        cwd=PROJECT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for answer in (b"correct-horse", b"mistyped", b"correct-horse", b"correct-horse"):
        while not shown.endswith((b"Password: ", b"confirmation: ")):
            shown += os.read(ours, 1000)
        os.write(ours, answer + b"\n")
        shown += b"|"
    assert process.wait(50) == 0
    os.close(ours)
    assert shown.count(b"Password") == 2
    assert b"correct-horse" not in shown
    assert b"mistyped" not in shown
    (hash,) = users_of((tmp_path / "users").read_bytes()).values()
    assert bcrypt.checkpw(b"correct-horse", hash)


LINES = st.lists(
    st.sampled_from([b"", b"# ann:x", b"ann:" + BOB, b" bob:" + BOB + b"\r", b"junk"]), max_size=6
)


@given(LINES, st.booleans())
def test_replacing_leaves_one_entry_and_all_other_lines(lines: list[bytes], ends: bool) -> None:
    """However often the name occurred; removing leaves no entry; both are idempotent."""
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    new = b"ann:" + ANN
    changed, was_there = replaced(content, "ann", new)
    others = [line for line in lines if not line.startswith(b"ann:")]
    assert was_there == (others != lines)
    left = changed.split(b"\n")
    assert left.count(new) == 1
    assert [line for line in left if line and line != new] == [line for line in others if line]
    assert replaced(changed, "ann", new) == (changed, True)
    removed, _ = replaced(changed, "ann", None)
    assert replaced(removed, "ann", None) == (removed, False)
