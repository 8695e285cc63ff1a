"""The Python `oras` client moves artifacts: files as layers, no image anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import oras.client
import pytest

from tests.support.servers import LiveServer
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live]


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, as oras takes titles of layers from relative paths."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def test_push_and_pull_of_files(server: LiveServer, repository: str, working_folder: Path) -> None:
    """Files pushed as an artifact are pulled with the same names and bytes."""
    files = {"sbom.json": b'{"packages": []}', "notes.txt": b"n" * 70_000, "empty": b""}
    for name, content in files.items():
        (working_folder / name).write_bytes(content)
    reference = f"{server.address}/{repository}:v1"
    client = oras.client.OrasClient(insecure=True)
    client.push(target=reference, files=list(files), manifest_annotations={"made.by": "tests"})
    pulled = client.pull(target=reference, outdir=str(working_folder / "out"))
    got = {os.path.basename(path): Path(path).read_bytes() for path in pulled}
    assert got == files


def test_an_artifact_is_an_oci_manifest_with_its_annotations(
    server: LiveServer, repository: str, working_folder: Path
) -> None:
    """The stored manifest names the files' digests and keeps the annotations."""
    (working_folder / "chart.tgz").write_bytes(b"not really a chart")
    reference = f"{server.address}/{repository}:v1"
    client = oras.client.OrasClient(insecure=True)
    annotations = {"org.example.kind": "chart"}
    client.push(target=reference, files=["chart.tgz"], manifest_annotations=annotations)
    manifest = client.get_manifest(reference)
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["annotations"] == annotations
    assert manifest["layers"][0]["digest"] == sha256(b"not really a chart")


def test_tags(server: LiveServer, repository: str, working_folder: Path) -> None:
    """Tags pushed one after the other are all listed."""
    (working_folder / "file").write_bytes(b"same for all")
    client = oras.client.OrasClient(insecure=True)
    for tag in ("b", "a", "c"):
        client.push(target=f"{server.address}/{repository}:{tag}", files=["file"])
    assert sorted(client.get_tags(f"{server.address}/{repository}")) == ["a", "b", "c"]
