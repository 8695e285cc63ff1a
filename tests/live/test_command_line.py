"""What holds for every command: how it is called, and what it does where there is no registry."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from storage.values import paths
from tests.live.programs import COMMAND, environment, run, run_program
from tests.live.transfers import until
from tests.support.processes import family, kill_all
from tests.support.tools import require_tool

pytestmark = pytest.mark.live

ABOUT_IMAGES = [
    ["garbage-collect"],
    ["scrub"],
    ["du"],
    ["delete", "app"],
    ["purge-uploads"],
]
MAY_DELETE = {"REGISTRY_STORAGE_DELETE_ENABLED": "true"}


@pytest.mark.parametrize("command", ABOUT_IMAGES, ids=" ".join)
def test_a_folder_without_a_registry(tmp_path: Path, command: list[str]) -> None:
    """It was named by mistake, or nothing is mounted: exit code 1, and nothing is written."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "precious").touch()
    done = run([*command, "--root", str(root)], tmp_path, MAY_DELETE)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"registry-server: {root} holds no registry: {paths.ROOT} ")
    assert "storage.filesystem.rootdirectory" in line
    assert [one.name for one in root.iterdir()] == ["precious"]


@pytest.mark.parametrize("command", ["garbage-collect", "scrub", "du", "purge-uploads"])
def test_a_registry_without_images(tmp_path: Path, command: str) -> None:
    """A server ran there and nothing was pushed yet: there is nothing to do, which is no error."""
    (tmp_path / "root" / paths.OURS).mkdir(parents=True)
    done = run([command, "--root", "root"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["serve"], ["du"], ["check"]], ids=" ".join)
def test_a_root_that_is_a_file(tmp_path: Path, command: list[str]) -> None:
    """The line names the file and the key, also where the file is above the root."""
    (tmp_path / "file").touch()
    for root in ("file", "file/below"):
        env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": root}
        done = run(command, tmp_path, env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "file" in done.stderr
        assert "is not a folder" in done.stderr
        assert "rootdirectory" in done.stderr


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    """Neither an address in use nor a bad certificate leaves ./data behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(["serve", "--port", str(taken.getsockname()[1])], tmp_path)
    assert done.returncode == 2
    env = {"REGISTRY_HTTP_TLS_CERTIFICATE": "nowhere", "REGISTRY_HTTP_TLS_KEY": "nowhere"}
    assert run(["serve", "--port", "0"], tmp_path, env).returncode == 2
    assert run(["check"], tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [["help"], ["du", "--root", "root"], ["garbage-collect", "-d", "--root", "root"]]
)
def test_a_reader_that_has_enough(tmp_path: Path, command: list[str]) -> None:
    """`du | head` ends quietly, by the signal that ends every program then."""
    (tmp_path / "root" / paths.OURS).mkdir(parents=True)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, *command],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (-13, "")


@pytest.mark.parametrize("words", [["--version"], ["-v"], ["--version=true"]], ids=" ".join)
def test_the_version(tmp_path: Path, words: list[str]) -> None:
    """Three words on a line, the last of which is the version, as `registry` prints them."""
    done = run(words, tmp_path)
    theirs = subprocess.run(
        [require_tool("docker-registry"), *words], capture_output=True, text=True, check=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == len(theirs.stdout.split()) == 3
    assert done.stdout.count("\n") == theirs.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["help", "garbage-collect"]])
def test_how_it_is_used(tmp_path: Path, words: list[str]) -> None:
    """Exit code 0, on the stream that `registry` uses: standard error when nothing was asked."""
    done = run(words, tmp_path)
    theirs = subprocess.run(
        [require_tool("docker-registry"), *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, theirs.returncode) == (0, 0)
    assert bool(done.stdout) == bool(theirs.stdout)
    assert bool(done.stderr) == bool(theirs.stderr)
    assert "Usage" in done.stdout + done.stderr
    if words[1:]:
        assert "--delete-untagged" in done.stdout


def test_help_about_what_is_no_command(tmp_path: Path) -> None:
    """One line and exit code 2."""
    done = run(["help", "nonsense"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


@pytest.mark.parametrize(
    "command", ["check", "garbage-collect", "scrub", "du", "purge-uploads", "serve"]
)
def test_the_configuration_as_an_option(tmp_path: Path, command: str) -> None:
    """`--config FILE` is FILE, for each command; two different ones are refused."""
    done = run([command, "--config", "a.yml"], tmp_path)
    assert done.returncode == 2
    assert "a.yml: cannot be read" in done.stderr
    if command != "du":  # there the second is a name
        done = run([command, "a.yml", "--config", "b.yml"], tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "a.yml and --config b.yml" in done.stderr


@pytest.mark.parametrize(
    ("words", "removes"),
    [
        (["--dry-run=true"], False),
        (["-d=T"], False),
        (["-dm"], False),
        (["--dry-run=false", "-m=true"], True),
        (["--delete-untagged=false", "-d", "-d=0"], True),
        (["--dry-run=maybe"], None),
        (["--dry-run="], None),
    ],
    ids=str,
)
def test_flags_as_registry_takes_them(
    tmp_path: Path, words: list[str], removes: bool | None
) -> None:
    """Each spelling has the blob removed, kept, or the call refused, here as there.

    Refused, `registry` ends with exit code 0 after a line on standard error; here it is 2.
    """
    hex = "ab" * 32
    program = require_tool("docker-registry")
    for command in ([program], COMMAND):
        root = tmp_path / Path(command[0]).name
        blob = root / paths.BLOBS / "sha256" / hex[:2] / hex / "data"
        blob.parent.mkdir(parents=True)
        blob.touch()
        os.utime(blob, (1, 1))
        (root / paths.REPOSITORIES).mkdir()
        config = tmp_path / "config.yml"
        config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n")
        done = subprocess.run(
            [*command, "garbage-collect", str(config), *words],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert blob.exists() == (not removes), (command, done)
        if removes is None:
            assert done.stderr
            assert done.returncode == (0 if command == [program] else 2)
        else:
            assert done.returncode == 0, done


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing(tmp_path: Path, closed: str) -> None:
    """The exit code is the same, although a child process reads the configuration."""
    for arguments, code in (("serve missing.yml", 2), ("serve --help", 0), ("serve /dev/stdin", 2)):
        shell = ["bash", "-c", f'exec "$@" {arguments} {closed}', "bash", *COMMAND]
        done = run_program(shell, tmp_path)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_start_that_waits_for_its_configuration_can_be_ended(
    tmp_path: Path, number: signal.Signals
) -> None:
    """It is a pipe without a writer. The process that reads it ends as well."""
    os.mkfifo(tmp_path / "config.yml")
    # A shell starts programs in the background with SIGINT ignored, which they would pass on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*COMMAND, "serve", "config.yml"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    try:
        until(lambda: len(family(process.pid)) == 2, "the configuration is read")
        process.send_signal(number)
        _, said = process.communicate(timeout=30)  # ends when no process has the stream open
    finally:
        kill_all(family(process.pid))
    assert process.returncode in (3, -number)
    assert b"Traceback" not in said
