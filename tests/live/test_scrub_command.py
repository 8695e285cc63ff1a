"""`registry-server scrub` as a process: what it prints, how it ends, and a server beside it."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_server.config.units import parse_rate, parse_size
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from storage.values.paths import SCRUBBED, quarantined
from storage.values.sizes import format_size
from tests.live.programs import COMMAND, environment, run
from tests.live.transfers import until
from tests.storage.damaged_tree import damaged_tree
from tests.support.documents import config_for, image_manifest
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_MANIFEST

pytestmark = pytest.mark.live

LAYER = b"a layer" * 1000
BLOBS = {Digest.of(b"%d" % number * 1000): b"%d" % number * 1000 for number in range(5)}
FIRST, *REST = sorted(BLOBS, key=str)


def scrub(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `scrub` over a root; nothing but what is asked for may go to standard error."""
    done = run(["scrub", "--root", str(root), *options], root.parent)
    assert "Traceback" not in done.stderr
    return done


def put(root: Path, digest: Digest, content: bytes) -> None:
    """Store bytes under a digest, rightly or not."""
    (root / paths.blob(digest)).parent.mkdir(parents=True, exist_ok=True)
    (root / paths.blob(digest)).write_bytes(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a storage with some blobs."""
    for digest, content in BLOBS.items():
        put(tmp_path / "root", digest, content)
    return tmp_path / "root"


def test_a_sound_storage(root: Path) -> None:
    """A summary, exit code 0, and nothing but the lock left behind."""
    done = scrub(root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "5 blobs (5 kB) and 0 repositories checked",
        "0 repaired, 0 not repaired, 0 notes",
    ]
    assert not (root / SCRUBBED).exists()


def test_damage_is_told_a_line_each(root: Path) -> None:
    """Exit code 1 while it is left, 0 when a repair leaves nothing, and the next scrub is clean."""
    put(root, FIRST, b"corrupt")
    for options, code, how in (
        ((), 1, "--repair moves it to quarantine, then it can be pushed again"),
        (("--repair",), 0, f"repaired: moved to {quarantined(FIRST)}"),
    ):
        done = scrub(root, *options)
        assert (done.returncode, done.stderr) == (code, "")
        what = f"its bytes hash to {Digest.of(b'corrupt')}"
        line, *_ = done.stdout.splitlines()
        assert line == f"corrupt-blob {paths.blob(FIRST)}: {what} ({how})"
    assert scrub(root).returncode == 0


def test_notes_alone_are_no_failure(root: Path) -> None:
    """A foreign file in the tree is reported, and not changed."""
    (root / "docker/notes.txt").write_text("mine")
    done = scrub(root, "--repair")
    assert done.returncode == 0
    assert done.stdout.startswith("foreign docker/notes.txt: ")
    assert done.stdout.splitlines()[-1] == "0 repaired, 0 not repaired, 1 notes"


def test_json_of_everything(tmp_path: Path) -> None:
    """One document on standard output: findings, then a summary that counts them."""
    (tmp_path / "root").mkdir()
    tree = damaged_tree(tmp_path / "root")
    done = scrub(tree.root, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    kinds = sorted(one["kind"] for one in document["findings"])
    assert kinds == sorted(kind.value for kind, _ in tree.found)
    errors = [one for one in document["findings"] if one["severity"] == "error"]
    summary = document["summary"]
    assert (summary["errors"], summary["repaired"]) == (len(errors), 0)
    assert summary["complete"] is True
    done.stdout.encode("ascii")


def test_json_of_nothing(tmp_path: Path) -> None:
    """An empty list."""
    (tmp_path / "root" / ".registry").mkdir(parents=True)
    done = scrub(tmp_path / "root", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["findings"] == []


@contextmanager
def slow_scrub(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a scrub that found the first blob damaged and takes minutes for the rest."""
    put(root, FIRST, b"")
    printed = root.parent / "printed"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "scrub", "--root", str(root), "--rate", "10", *options],
            env=environment(),
            cwd=root.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: b"corrupt-blob" in printed.read_bytes(), "it found the damaged blob")
        yield process, printed
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_interrupted_and_goes_on(root: Path, number: signal.Signals) -> None:
    """Exit code 3 with the position noted; the next one ends with the whole report."""
    with slow_scrub(root) as (process, printed):
        process.send_signal(number)
        assert process.wait(30) == 3
    assert f"interrupted: blobs after {FIRST}" in printed.read_text()
    done = scrub(root)
    assert done.returncode == 1
    line, went_on, checked, _ = done.stdout.splitlines()
    assert line.startswith(f"corrupt-blob {paths.blob(FIRST)}: it is empty")
    assert went_on == f"continued an interrupted scrub: blobs after {FIRST}"
    assert checked.startswith("5 blobs ")
    assert "continued" not in scrub(root).stdout


def test_an_interrupted_report_is_still_a_document(root: Path) -> None:
    """With `--json` it says that it is not complete, and how far it came."""
    with slow_scrub(root, "--json") as (process, printed):
        process.terminate()
        assert process.wait(30) == 3
    document = json.loads(printed.read_text())
    assert [one["kind"] for one in document["findings"]] == ["corrupt-blob"]
    assert document["summary"]["complete"] is False
    assert document["summary"]["position"] == f"blobs after {FIRST}"
    assert json.loads(scrub(root, "--json").stdout)["summary"]["went_on_from"] == (
        f"blobs after {FIRST}"
    )


def test_restart_begins_anew(root: Path) -> None:
    """Although the last one was interrupted."""
    with slow_scrub(root) as (process, _):
        process.terminate()
        process.wait(30)
    assert "continued" not in scrub(root, "--restart").stdout


def test_two_at_once_are_refused(root: Path) -> None:
    """One line, exit code 1."""
    (root / ".registry").mkdir()
    with (root / ".registry/scrub").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = scrub(root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "registry-server: another scrub is running on this storage\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--rate", "fast"],
        ["--rate", "0"],
        ["--rate", "-1"],
        ["--parallel", "0"],
        ["--root", "nowhere"],
        ["missing.yml"],
    ],
    ids=" ".join,
)
def test_a_call_that_cannot_be_used(tmp_path: Path, options: list[str]) -> None:
    """Exit code 2, and nothing on standard output."""
    done = run(["scrub", *options], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_help(tmp_path: Path) -> None:
    """The command explains itself, and the program lists it."""
    done = run(["scrub", "--help"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--repair", "--restart", "--parallel", "--rate", "--json"):
        assert option in done.stdout
    assert "scrub" in run(["--help"], tmp_path).stdout


def test_a_corrupt_blob_is_replaced_by_the_next_push(server: RegistryServer) -> None:
    """Beside the server: HEAD says 404 after a repair, a push brings the right bytes."""
    wire, name = server.wire, "some/app"
    config = config_for([LAYER], "amd64")
    for content in (config, LAYER):
        wire.push_blob(name, content)
    manifest = image_manifest(config, [LAYER], OCI_MANIFEST)
    wire.push_manifest(name, "v1", manifest, OCI_MANIFEST)
    digest = Digest.of(LAYER)
    put(server.root, digest, bytes(len(LAYER)))
    assert wire.expect(200, "GET", f"/v2/{name}/blobs/{digest}").body != LAYER

    done = scrub(server.root, "--repair")
    assert done.returncode == 1
    missing = [line for line in done.stdout.splitlines() if line.startswith("missing-blob")]
    assert len(missing) == 1
    assert paths.revision_link(RepositoryName(name), Digest.of(manifest)) in missing[0]
    wire.expect(404, "HEAD", f"/v2/{name}/blobs/{digest}")
    wire.push_blob(name, LAYER)
    assert wire.expect(200, "GET", f"/v2/{name}/blobs/{digest}").body == LAYER
    assert wire.expect(200, "GET", f"/v2/{name}/manifests/v1").body == manifest
    assert scrub(server.root).returncode == 0


def test_a_push_alone_replaces_corrupt_bytes(server: RegistryServer) -> None:
    """Of the right size, and without any scrub."""
    digest = Digest.parse(server.wire.push_blob("some/app", LAYER))
    put(server.root, digest, bytes(len(LAYER)))
    server.wire.push_blob("some/app", LAYER)
    assert server.wire.expect(200, "GET", f"/v2/some/app/blobs/{digest}").body == LAYER


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500000", 500_000),
        ("50MB", 50_000_000),
        ("100MiB", 100 << 20),
        ("1.5 GiB/s", 3 << 29),
        ("2kb/s", 2000),
        ("1TB", 10**12),
        ("7b", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """In units of 1000 and of 1024, per second or not."""
    assert parse_rate(text) == size
    assert parse_size(text.removesuffix("/s")) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "50 mb per s", "1XB", "1/s/s", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    """Anything else is refused."""
    for parse in (parse_rate, parse_size):
        with pytest.raises(ValueError, match="number of bytes"):
            parse(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (123_456_789, "123 MB"),
     (5_300_000_000, "5.3 GB"), (2_500_000_000_000, "2.5 TB")],
)  # fmt: skip
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    """Three digits and a unit."""
    assert format_size(size) == text
