"""`registry-server du`: disk usage, while the server serves."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from storage.values.sizes import format_size
from tests.live.programs import run
from tests.live.test_delete import CONFIG, LAYERS, MANIFEST, push
from tests.live.transfers import begin
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

NEEDED = sum(map(len, (*LAYERS, CONFIG, MANIFEST)))
DAY = 86400


def du(server: RegistryServer, *arguments: str) -> str:
    """Run the command over a server's root; return its output."""
    done = run(["du", "--root", str(server.root), *arguments], server.folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def document(server: RegistryServer, *arguments: str) -> dict[str, Any]:
    """Return the JSON document."""
    found: dict[str, Any] = json.loads(du(server, "--json", *arguments))
    return found


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the mtime of every path."""
    paths = [root, *root.rglob("*")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def files(root: Path) -> int:
    """Return the bytes of all files."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def age(root: Path) -> None:
    """Set all mtimes to yesterday."""
    then = time.time() - DAY
    for path in root.rglob("*"):
        os.utime(path, (then, then))


def test_it_adds_up_beside_a_server(server: RegistryServer) -> None:
    """Every byte on the disk is counted once, and nothing is written."""
    push(server, "one", "v1", "v2")
    push(server, "two", "v1")
    server.wire.push_blob("two", b"orphan")
    server.wire.expect(202, "PATCH", begin(server, "three"), b"0123456789")
    (server.root / "notes.txt").write_text("mine")
    before = tree(server.root)
    found = document(server)
    assert tree(server.root) == before
    assert found["total"]["bytes"] == files(server.root)
    assert found["total"]["bytes"] == sum(one["bytes"] for one in found["files"].values())
    parts = ("needed", "perhaps", "young", "held_back", "idle")
    assert found["files"]["blobs"]["bytes"] == sum(found["blobs"][one]["bytes"] for one in parts)
    assert found["blobs"]["needed"] == found["blobs"]["shared"] == {"files": 4, "bytes": NEEDED}
    assert found["blobs"]["young"] == {"files": 1, "bytes": 6}
    assert found["files"]["foreign"] == {"files": 1, "bytes": 4}
    assert found["uploads"]["sessions"] == 1
    assert found["repositories"][0] == {
        "name": "one", "bytes": NEEDED, "unique": 0, "shared": NEEDED, "manifests": 1, "tags": 2,
        "blobs": 3, "uploads": 0, "readable": True,
    }  # fmt: skip
    names = [one["name"] for one in found["repositories"]]
    assert names == ["one", "two", "three"]
    ordered = document(server, "--sort", "name")["repositories"]
    assert [one["name"] for one in ordered] == sorted(names)


def test_the_announced_bytes_are_what_a_collection_frees(server: RegistryServer) -> None:
    """The number of `du` equals that of `garbage-collect`; afterwards it is zero."""
    push(server, "one", "v1")
    server.wire.push_blob("one", b"orphan")
    server.wire.expect(202, "DELETE", "/v2/one/manifests/v1")
    push(server, "two", "v1")
    server.stop()
    age(server.root)
    found = document(server)
    assert found["reclaimable"]["blobs"] == 6
    assert found["reclaimable"]["more_with_delete_untagged"] == 0, "another repository needs it"
    done = run(["garbage-collect", "--root", str(server.root)], server.folder)
    assert "1 blobs" in done.stdout
    assert "6 bytes freed" in done.stdout
    assert document(server)["reclaimable"]["now"] == 0
    server.start()


def test_text_is_plain_lines(server: RegistryServer) -> None:
    """In a pipe there are no colours: a line for each repository, then the summary."""
    push(server, "one", "v1", "v2")
    lines = du(server).splitlines()
    assert lines[0].split() == [
        "NEEDS", "UNIQUE", "SHARED", "MANIFESTS", "TAGS", "BLOBS", "UPLOADS", "REPOSITORY",
    ]  # fmt: skip
    size = format_size(NEEDED)
    assert " ".join(lines[1].split()) == f"{size} {size} 0 B 1 2 3 0 one"
    assert lines[-1] == "garbage-collect would free 0 B now"
    assert all(line.isprintable() for line in lines)


def test_only_named_repositories_are_listed(server: RegistryServer) -> None:
    """The totals are unchanged; an unknown name is an error after the report."""
    push(server, "one", "v1")
    push(server, "two", "v1")
    found = document(server, "two")
    assert [one["name"] for one in found["repositories"]] == ["two"]
    assert found["blobs"]["shared"]["bytes"] == NEEDED
    done = run(["du", "--root", str(server.root), "two", "three"], server.folder)
    assert done.returncode == 1
    assert done.stderr == "registry-server: repository three is not known to this registry\n"
    assert " two\n" in done.stdout


def test_damage_is_reported(server: RegistryServer) -> None:
    """An unreadable manifest is named once and sets exit code 1."""
    push(server, "one", "v1")
    for path in server.root.rglob("blobs/*/*/*/data"):
        if path.read_bytes() == MANIFEST:
            path.write_bytes(b"damaged")
    done = run(["du", "--root", str(server.root)], server.folder)
    assert done.returncode == 1
    assert done.stdout.count("can't be read, so one counts as needing all its blobs") == 1
    assert done.stderr == ""


def test_du_of_a_missing_root(tmp_path: Path) -> None:
    """One line, exit code 2, and the folder is not created."""
    done = run(["du", "--root", "nowhere"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere" in done.stderr
    assert not any(tmp_path.iterdir())
