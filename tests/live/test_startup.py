"""What an operator can get wrong: one clear line on standard error, exit code 2, no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from storage.values import paths
from tests.live.programs import environment, run, serving

pytestmark = pytest.mark.live

HEADER = "version: 0.1\n"


def said(arguments: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that can't work; return the one line it says.

    A server that can't start says it in a line of its log.
    """
    done = run(arguments, folder, env)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    logged = re.fullmatch(r'time=\S+ level=fatal msg=(".*")', line)
    if logged is not None:
        assert arguments[0] == "serve"
        return str(json.loads(logged[1]))
    assert line.startswith("registry-server: ")
    return line.removeprefix("registry-server: ")


def test_a_port_in_use(tmp_path: Path) -> None:
    """The line names the address and says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = said(["serve", "--port", port, "--root", str(tmp_path)], tmp_path)
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours(tmp_path: Path, host: str) -> None:
    """An unknown name, and an address of another machine."""
    arguments = ["serve", "--host", host, "--root", str(tmp_path)]
    assert host in said(arguments, tmp_path)


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    """A file in the way, as the root or above it."""
    (tmp_path / "file").touch()
    for root in ("file", "file/below"):
        path = str(tmp_path / root)
        assert path in said(["serve", "--root", path], tmp_path)


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    """Not even by root: `/proc` takes no files."""
    assert "/proc" in said(["serve", "--root", "/proc"], tmp_path)
    assert "/proc/nope" in said(["serve", "--root", "/proc/nope"], tmp_path)


def test_a_root_that_is_missing(tmp_path: Path) -> None:
    """A volume that was not mounted is no reason to start with nothing."""
    path = str(tmp_path / "not/mounted")
    assert path in said(["serve", "--root", path], tmp_path)
    assert not (tmp_path / "not").exists()


def test_a_missing_root_is_made_below_a_folder_that_exists(tmp_path: Path) -> None:
    """As by registry:2, with a warning; a start that fails leaves none behind."""
    text = f"{HEADER}http: {{addr: '127.0.0.1:0'}}\n"
    text += f"storage: {{filesystem: {{rootdirectory: {tmp_path}/new}}}}\n"
    (tmp_path / "config.yml").write_text(text)
    with serving(["config.yml"], tmp_path) as served:
        assert (tmp_path / "new").is_dir()
        assert f"the root directory {tmp_path}/new did not exist and was created" in served.said


@pytest.mark.parametrize("command", ["serve", "purge-uploads"])
def test_each_command_reads_the_file(tmp_path: Path, command: str) -> None:
    """What `check` finds wrong keeps the others from starting."""
    (tmp_path / "config.yml").write_text("storage: {}\n")
    assert "version" in said([command, "config.yml"], tmp_path)


@pytest.mark.parametrize(
    ("section", "content", "reason"),
    [
        ("auth: {htpasswd: {realm: r, path: no/users}}", None, "neither does the folder"),
        ("auth: {htpasswd: {realm: r, path: root}}", None, "root is a folder"),
        ("access: {file: users}", "rules: [{users: [ann]}]\n", "needs actions or deny"),
        ("access: {rules: [], tokens: {key: users}}", "no key\n", "not a PEM private key"),
    ],
)
def test_a_file_of_access_that_cannot_be_used(
    tmp_path: Path, section: str, content: str | None, reason: str
) -> None:
    """Nothing is served without the users, rules or keys that were asked for; none is shown."""
    (tmp_path / "root").mkdir()
    # A port of its own: the address is taken before the files of access are read.
    http = "http: {addr: '127.0.0.1:0'}"
    (tmp_path / "config.yml").write_text(f"{HEADER}{section}\n{http}\n")
    if content is not None:
        (tmp_path / "users").write_text(content)
    for command in ("check", "serve"):
        options = ["--root", "root"] if command == "serve" else []
        env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "root"}
        line = said([command, "config.yml", *options], tmp_path, env)
        assert "access control can't be set up: " in line
        assert reason in line
        assert "secret" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("line",)),
        (f"{HEADER}storrage: {{}}\n", ("line 2", "storrage", "storage")),
        (f"{HEADER}http:\n  addr: nonsense\n", ("line 3", "http.addr")),
        (f"{HEADER}http: {{draintimeout: soon}}\n", ("http.draintimeout",)),
        (f"{HEADER}storage: {{s3: {{bucket: b}}}}\n", ("s3",)),
        (f"{HEADER}auth: {{htpasswd: {{realm: r}}}}\n", ("auth.htpasswd", "path")),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """The line names the file and what is wrong with it."""
    (tmp_path / "config.yml").write_text(text)
    line = said(["check", "config.yml"], tmp_path)
    assert "config.yml" in line
    for word in words:
        assert word in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The line names it; a folder is no file either."""
    assert "nowhere.yml" in said(["serve", "nowhere.yml"], tmp_path)
    assert str(tmp_path) in said(["serve", str(tmp_path)], tmp_path)


def test_a_bad_variable(tmp_path: Path) -> None:
    """The line names the variable."""
    env = {"REGISTRY_HTTP_ADDR": "nonsense"}
    assert "REGISTRY_HTTP_ADDR" in said(["serve"], tmp_path, env)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_that_is_none(tmp_path: Path, content: str | None) -> None:
    """Missing or nonsense."""
    for name in ("cert.pem", "key.pem"):
        if content is not None:
            (tmp_path / name).write_text(content)
    text = f"{HEADER}storage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    text += "http: {addr: '127.0.0.1:0', tls: {certificate: cert.pem, key: key.pem}}\n"
    (tmp_path / "config.yml").write_text(text)
    for command in ("serve", "check"):
        assert "certificate" in said([command, "config.yml"], tmp_path)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_an_audit_log_that_cannot_be_written(tmp_path: Path, command: str) -> None:
    """Both refuse it; one that is missing is created by a server, and not by `check`."""
    (tmp_path / "root").mkdir()
    storage = f"storage: {{filesystem: {{rootdirectory: {tmp_path}/root}}}}\n"
    web = "http: {addr: '127.0.0.1:0', workers: 1}\n"
    config = tmp_path / "config.yml"
    config.write_text(f"{HEADER}{storage}{web}audit: {{enabled: true, file: {tmp_path}/no/log}}\n")
    line = said([command, "config.yml"], tmp_path)
    assert line == f"the audit log {tmp_path}/no/log can't be written: No such file or directory"
    config.write_text(config.read_text().replace("/no/log", "/log"))
    assert run(["check", "config.yml"], tmp_path).returncode == 0
    assert {each.name for each in tmp_path.iterdir()} == {"config.yml", "root"}


def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    """In a missing folder, in place of a file, or where another process listens."""
    (tmp_path / "file").write_text("precious")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "taken"))
        listener.listen()
        for name in ("nowhere/socket", "file", "taken"):
            text = f"{HEADER}storage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
            text += f"http: {{net: unix, addr: {tmp_path / name}}}\n"
            (tmp_path / "config.yml").write_text(text)
            assert str(tmp_path / name) in said(["serve", "config.yml"], tmp_path)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [["serve", "--port", "x"], ["serve", "--port", "-1"], ["serve", "--port", "65536"],
     ["serve", "--workers", "0"], ["serve", "--nonsense"], ["nonsense"], ["serve", "a", "b"],
     ["serve", "--host", "a b"], ["purge-uploads", "--age", "soon"]],
)  # fmt: skip
def test_a_call_that_makes_no_sense(tmp_path: Path, arguments: list[str]) -> None:
    """Exit code 2 and no traceback."""
    done = run(arguments, tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_nothing_was_made(tmp_path: Path) -> None:
    """A start that fails leaves no folder and no file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        root = tmp_path / "root"
        root.mkdir()
        said(["serve", "--port", str(taken.getsockname()[1]), "--root", str(root)], tmp_path)
    assert sorted(tmp_path.rglob("*")) == [root]


# A program that is another user's: all that it imports it has imported as ours.
AS_ANOTHER = """
import os, sys
import encodings.utf_8_sig
import registry_server.cli
import registry_server.commands.command_line, registry_server.commands.late_commands
import registry_server.wiring.server, registry_server.serving.workers.supervisor
from registry_server.config.load import load
load(None, {})  # pydantic imports more when it compiles the schema
user = int(sys.argv.pop(1))
os.setgroups([])
os.setegid(user)
os.seteuid(user)
sys.argv[0] = "registry-server"
registry_server.cli.main()
"""
NOBODY = 65534


def as_another(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    command = [sys.executable, "-c", AS_ANOTHER, str(NOBODY), *arguments]
    return subprocess.run(
        command, cwd="/", env=environment(), capture_output=True, text=True, check=False, timeout=50
    )


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Give a folder into which every user can write; those of other tests are their owner's."""
    made = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    "path", [paths.OURS, paths.GATE, paths.TREE, paths.TRASH, paths.BLOBS, paths.REPOSITORIES]
)
def test_a_tree_of_another_user(open_to_all: Path, path: str) -> None:
    """What ran as root before left it: a warning names the file and the command that cures it."""
    top = [paths.OURS, paths.TRASH, paths.BLOBS, paths.REPOSITORIES]
    for folder in top:
        (open_to_all / folder).mkdir(parents=True)
    for file in (paths.GATE, paths.TREE):
        (open_to_all / file).touch()
    for own in open_to_all.rglob("*"):
        os.chown(own, NOBODY, NOBODY)
    http = "http: {addr: '127.0.0.1:5000'}\n"
    storage = f"{http}storage:\n  filesystem: {{rootdirectory: {open_to_all}}}\n"
    config = open_to_all / "config.yml"
    config.write_text(HEADER + storage)
    done = as_another(["check", str(config)])
    assert (done.returncode, done.stderr) == (0, "")
    os.chown(open_to_all / path, 0, 0)
    done = as_another(["check", str(config)])
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert f"warning: {open_to_all / path} can't be written: " in line
    assert f"chown -R {NOBODY}:" in line
    assert f" {open_to_all}; so pulls are served, pushes and deletions are refused" in line
    config.write_text(f"{HEADER}{storage}  maintenance: {{readonly: {{enabled: true}}}}\n")
    done = as_another(["check", str(config)])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_tree_that_another_user_has_shut(open_to_all: Path) -> None:
    """What is in it can't be asked about; the line names the cure all the same."""
    (open_to_all / paths.BLOBS).mkdir(parents=True)
    (open_to_all / "docker").chmod(0o700)
    config = open_to_all / "config.yml"
    config.write_text(f"{HEADER}storage:\n  filesystem: {{rootdirectory: {open_to_all}}}\n")
    done = as_another(["serve", str(config)])
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert f'level=fatal msg="{open_to_all / paths.BLOBS} ' in line
    assert re.search(rf'chown -R {NOBODY}:\d+ {open_to_all}"$', line)


def test_a_root_that_is_created_without_a_umask_is_not_open_to_changes(tmp_path: Path) -> None:
    """A container may run without one; another user must not put anything into the root."""
    before = os.umask(0)
    try:
        with serving(["--port", "0", "--root", str(tmp_path / "root")], tmp_path):
            assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o755
    finally:
        os.umask(before)
