"""A volume below the root: the tree is on one filesystem, and what is ours beside it on another."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from tests.live.programs import COMMAND, run_program
from tests.support.documents import config_for, image_manifest
from tests.support.servers import RegistryServer
from tests.support.volumes import mounted_apart
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = pytest.mark.live

APP = RepositoryName.parse("app")
LAYER = b"a layer" * 1000
CONFIG = config_for([LAYER])
MANIFEST = image_manifest(CONFIG, [LAYER])
OTHER = image_manifest(CONFIG, [LAYER], note="another")
TAGS = paths.tags(APP)
LONG_AGO = 1_000_000_000


class ServerOfTwoFilesystems(RegistryServer):
    """A server for which a folder below its root is a mount."""

    apart = ""

    def command(self) -> list[str]:
        """Return the command in a mount namespace."""
        return mounted_apart(super().command(), self.root / self.apart)


@pytest.fixture(params=["docker", paths.ROOT])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerOfTwoFilesystems]:
    """Serve a root with a mount, and push an image without a tag."""
    made = ServerOfTwoFilesystems(tmp_path)
    made.apart = request.param
    (made.root / request.param).mkdir(parents=True)
    with made:
        for content in (CONFIG, LAYER):
            made.wire.push_blob("app", content)
        yield made


def _run(server: ServerOfTwoFilesystems, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *words, f"--root={server.root}"]
    done = run_program(mounted_apart(command, server.root / server.apart), server.folder)
    assert done.stderr == ""
    return done


def test_tags_are_set_moved_and_deleted(server: ServerOfTwoFilesystems) -> None:
    """Several new tags in one request too; nothing temporary is left beside them."""
    wire = server.wire
    digest = wire.push_manifest("app", "v1", MANIFEST, OCI_MANIFEST)
    wire.push_manifest("app", f"{digest}?tag=v2&tag=v3", MANIFEST, OCI_MANIFEST)
    wire.push_manifest("app", "v1", OTHER, OCI_MANIFEST)
    assert wire.expect(200, "GET", "/v2/app/manifests/v1").body == OTHER
    assert wire.expect(200, "GET", "/v2/app/manifests/v3").body == MANIFEST
    wire.expect(202, "DELETE", "/v2/app/manifests/v2")
    listed = json.loads(wire.expect(200, "GET", "/v2/app/tags/list").body)
    assert sorted(listed["tags"]) == sorted(os.listdir(server.root / TAGS)) == ["v1", "v3"]
    wire.expect(202, "DELETE", f"/v2/app/manifests/{digest}")
    assert os.listdir(server.root / TAGS) == ["v1"]
    assert os.listdir(server.root / paths.TRASH) == []


def test_a_corrupt_blob_is_moved_to_quarantine(server: ServerOfTwoFilesystems) -> None:
    """Its bytes are kept there, and it can be pushed again."""
    digest = Digest.parse(sha256(LAYER))
    blob = server.root / paths.blob(digest)
    blob.write_bytes(b"damaged")
    assert _run(server, "scrub", "--repair").returncode == 0
    assert (server.root / paths.quarantined(digest)).read_bytes() == b"damaged"
    assert list(server.root.rglob(".tmp-*")) == []
    server.wire.push_blob("app", LAYER)
    assert blob.read_bytes() == LAYER
    assert _run(server, "scrub").returncode == 0


def test_what_is_unneeded_is_collected(server: ServerOfTwoFilesystems) -> None:
    """Blobs go, and so does what a crash left beside the tags."""
    server.wire.push_manifest("app", "v1", MANIFEST, OCI_MANIFEST)
    server.wire.push_blob("app", b"unneeded")
    left = server.root / TAGS / paths.temporary() / "current"
    left.mkdir(parents=True)
    (left / "link").write_text(sha256(MANIFEST))
    blob = server.root / paths.blob(Digest.parse(sha256(b"unneeded")))
    for path in (left.parent, blob):
        os.utime(path, (LONG_AGO, LONG_AGO))
    listed = json.loads(server.wire.expect(200, "GET", "/v2/app/tags/list").body)
    assert listed["tags"] == ["v1"]
    assert _run(server, "garbage-collect", "--grace=0s").returncode == 0
    assert os.listdir(server.root / TAGS) == ["v1"]
    assert not blob.exists()
    server.wire.expect(200, "GET", f"/v2/app/blobs/{sha256(LAYER)}")
