"""The output of a collection: the lines of registry:2, which programs parse, and JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.live.programs import run
from tests.live.test_collections import GARBAGE, age, push, push_image, serving
from tests.support.documents import config_for, image_manifest
from tests.support.servers import DistributionServer, RegistryServer
from tests.support.tools import run as run_tool
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = pytest.mark.live

OTHER_LAYER = b"another image is made of these" * 1000
YOUNG = b"not named yet"
KEY = "storage.maintenance.garbagecollection.grace"


def fill(server: RegistryServer) -> None:
    """Push a tagged image, an untagged one and an orphaned blob; all of it is old."""
    push_image(server, "v1")
    config = config_for([OTHER_LAYER])
    for content in (config, OTHER_LAYER, GARBAGE):
        push(server, content)
    manifest = image_manifest(config, [OTHER_LAYER])
    headers = {"Content-Type": OCI_MANIFEST}
    server.wire.expect(201, "PUT", f"/v2/app/manifests/{sha256(manifest)}", manifest, headers)
    age(server.root)


def lines(printed: str) -> list[str]:
    """Return the lines that both programs print, without the reasons, which only ours prints."""
    kinds = "marking|eligible|marked|^$|^app$"
    return sorted(
        re.sub(r"(marking manifest \S+ )\(.*\)$", r"\1", line)
        for line in printed.splitlines()
        if re.search(kinds, line) and "layer link" not in line
    )


@pytest.mark.parametrize("options", [["--dry-run"], ["-dm"]], ids=" ".join)
def test_the_lines_are_those_of_registry(tmp_path: Path, options: list[str]) -> None:
    """The lines about marking and eligibility equal those of registry:2."""
    with serving(tmp_path, {}) as server:
        fill(server)
    peer = DistributionServer(tmp_path / "peer")
    shutil.copytree(server.root / "docker", peer.root / "docker")
    program, _, config = peer.command()
    theirs = run_tool([program, "garbage-collect", *options, config], env=peer.environment())
    ours = run(["garbage-collect", "--root", str(server.root), *options], tmp_path)
    assert (ours.returncode, ours.stderr) == (0, "")
    assert lines(ours.stdout) == lines(theirs)
    assert any("eligible for deletion: sha256:" in line for line in lines(ours.stdout))


def test_what_the_grace_period_keeps(tmp_path: Path) -> None:
    """A line names the amount, the period and the key; --grace overrides it for one run."""
    with serving(tmp_path, {}) as server:
        push_image(server, "v1")
        push(server, GARBAGE)
        command = ["garbage-collect", "--root", str(server.root)]
        done = run(command, tmp_path)
        assert done.returncode == 0
        kept = f"1 blobs ({len(GARBAGE)} bytes) kept: used within the last"
        assert f"{kept} 1h0m0s ({KEY})" in done.stdout.splitlines()
        assert "5 blobs marked" not in done.stdout
        assert "\n3 blobs marked, 0 blobs and 0 manifests eligible for deletion\n" in done.stdout
        age(server.root)
        done = run([*command, "--grace", "168h"], tmp_path)
        assert f"{kept} 168h0m0s (--grace)" in done.stdout.splitlines()
        done = run([*command, "--grace=90m"], tmp_path)
        assert "kept" not in done.stdout
        assert done.stdout.splitlines()[-1].startswith("removed 0 manifests, 1 links, 1 blobs")


@pytest.mark.parametrize("grace", ["-1s", "soon", "5", ""])
def test_an_invalid_grace_period_is_refused(tmp_path: Path, grace: str) -> None:
    """One line names the option, and nothing is removed."""
    (tmp_path / ".registry").mkdir()
    done = run(["garbage-collect", "--root", ".", f"--grace={grace}"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--grace {grace!r}" in done.stderr


def test_json_of_a_collection(tmp_path: Path) -> None:
    """One document: what is eligible, what was removed, and what the grace period keeps."""
    with serving(tmp_path, {}) as server:
        fill(server)
        push(server, YOUNG)
        command = ["garbage-collect", "--root", str(server.root), "-m", "--json"]
        dry = json.loads(run([*command, "-d"], tmp_path).stdout)
        done = run(command, tmp_path)
        server.wire.expect(404, "HEAD", f"/v2/app/blobs/{sha256(GARBAGE)}")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    same = ("marked", "eligible", "kept_by_grace", "manifests", "links", "blobs")
    assert {key: dry[key] for key in same} == {key: document[key] for key in same}
    assert (dry["dry_run"], dry["removed"]) == (True, None)
    assert document["dry_run"] is False
    assert {"digest": sha256(GARBAGE), "bytes": len(GARBAGE)} in document["blobs"]
    assert {"repository": "app", "digest": sha256(GARBAGE)} in document["links"]
    eligible, removed = document["eligible"], document["removed"]
    for kind in ("manifests", "links", "blobs"):
        assert len(document[kind]) == eligible[kind] == removed[kind]
    assert eligible["bytes"] == removed["bytes"] == sum(one["bytes"] for one in document["blobs"])
    assert document["kept_by_grace"] == {
        "blobs": 1, "bytes": len(YOUNG), "seconds": 3600.0, "origin": KEY,
    }  # fmt: skip
    assert document["complete"] is True
    assert document["failed"] == document["trouble"] == document["unreadable"] == []


def test_quiet(tmp_path: Path) -> None:
    """Nothing is printed, as with registry:3, and the collection is done."""
    with serving(tmp_path, {}) as server:
        push_image(server, "v1")
        garbage = push(server, GARBAGE)
        age(server.root)
        done = run(["garbage-collect", "--root", str(server.root), "--quiet=true"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not garbage.exists()


def test_json_of_delete_and_purge_uploads(tmp_path: Path) -> None:
    """One document each; errors are on standard error."""
    with serving(tmp_path, {}) as server:
        push_image(server, "v1")
        where = server.wire.expect(202, "POST", "/v2/app/blobs/uploads/").headers["location"]
        id = where.partition("?")[0].rpartition("/")[2]
        server.wire.expect(202, "PATCH", where, b"0123456789")
        root, allowed = str(server.root), {"REGISTRY_STORAGE_DELETE_ENABLED": "true"}
        done = run(["purge-uploads", "--root", root, "--age=0s", "--json"], tmp_path)
        (upload,) = json.loads(done.stdout)["uploads"]
        assert (done.returncode, done.stderr) == (0, "")
        assert (upload["repository"], upload["id"], upload["bytes"]) == ("app", id, 10)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", upload["idle_since"])
        assert json.loads(done.stdout)["dry_run"] is False
        done = run(["delete", "--root", root, "--json", "app", "none"], tmp_path, allowed)
        assert done.returncode == 1
        assert "none is not known" in done.stderr
        assert json.loads(done.stdout) == {
            "dry_run": False,
            "repositories": [{"name": "app", "manifests": 1, "tags": 1, "links": 2, "uploads": 0}],
        }
