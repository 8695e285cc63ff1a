"""What all commands share: their arguments, and what they do without a registry."""

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
    """A wrong folder, or a volume that is not mounted: exit code 1, and nothing is written."""
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
    """A server ran there, but nothing was pushed: there is nothing to do and no error."""
    (tmp_path / "root" / paths.OURS).mkdir(parents=True)
    done = run([command, "--root", "root"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["serve"], ["du"], ["check"]], ids=" ".join)
def test_a_root_that_is_a_file(tmp_path: Path, command: list[str]) -> None:
    """The line names the file and the key, also for a file above the root."""
    (tmp_path / "file").touch()
    for root in ("file", "file/below"):
        env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": root}
        done = run(command, tmp_path, env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "file" in done.stderr
        assert "is not a folder" in done.stderr
        assert "rootdirectory" in done.stderr


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    """Neither an address in use nor an invalid certificate leaves ./data behind."""
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
def test_a_closed_pipe_ends_a_command(tmp_path: Path, command: list[str]) -> None:
    """`du | head` ends without a message, by SIGPIPE."""
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
def test_the_usage(tmp_path: Path, words: list[str]) -> None:
    """Exit code 0, on the stream that `registry` uses: stderr without a command."""
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


def test_help_of_an_unknown_command(tmp_path: Path) -> None:
    """One line and exit code 2."""
    done = run(["help", "nonsense"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


@pytest.mark.parametrize(
    "command", ["check", "garbage-collect", "scrub", "du", "purge-uploads", "serve"]
)
def test_the_configuration_as_an_option(tmp_path: Path, command: str) -> None:
    """`--config FILE` works for each command; a different CONFIG argument is refused."""
    done = run([command, "--config", "a.yml"], tmp_path)
    assert done.returncode == 2
    assert "a.yml: cannot be read" in done.stderr
    if command != "du":  # their second argument is a name
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
    """Each spelling removes the blob, keeps it, or is refused by both programs.

    When it refuses, `registry` ends with exit code 0 after a line on standard error; here it is 2.
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
def test_a_start_that_waits_for_its_configuration_can_be_interrupted(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The file is a pipe without a writer. The child that reads it ends too."""
    os.mkfifo(tmp_path / "config.yml")
    # A shell starts background programs with SIGINT ignored, which children inherit.
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
