"""The image in place of registry:2: its volume, a push of the image into itself, a collection."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.image.container import Container
from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine
from tests.support.layers import write_tar
from tests.support.servers import PROJECT, DistributionServer
from tests.support.tools import require_tool, run

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(600)]

COLLECT = ("registry", "garbage-collect", "-m", "/etc/docker/registry/config.yml")
# The program's own file system is read-only, and no folder for temporary files can be written to.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
OFTEN = "--health-interval=1s"


def import_image(docker: DockerEngine, folder: Path, reference: str, content: str) -> str:
    """Make an image of one file; return its ID."""
    archive = write_tar(folder / "layer.tar", {"content": content.encode() * 1000})
    docker("import", str(archive), reference)
    return docker.image_id(reference)


def pull_again(docker: DockerEngine, reference: str) -> str:
    """Remove an image and pull it; return its ID."""
    docker("rmi", reference)
    docker("pull", reference)
    return docker.image_id(reference)


def make_old(root: Path) -> None:
    """Have everything in the volume be of a time that no grace period reaches back to."""
    for path in root.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def blobs(root: Path) -> set[str]:
    """Return the digests that the volume holds."""
    return {path.parent.name for path in root.glob("docker/registry/v2/blobs/sha256/*/*/data")}


def test_it_serves_and_collects_the_volume_of_registry_2(
    docker: DockerEngine, image: str, containers: ContainersTools, tmp_path: Path
) -> None:
    """What 2.8.2 stored is pulled; the image is pushed into itself and comes back; space too."""
    with DistributionServer(tmp_path / "old") as old:
        reference = f"{old.address}/app:v1"
        pushed = import_image(docker, tmp_path, reference, "old")
        docker("push", reference)
    with Container(docker, old.root, port=old.port) as container:
        container.wait_until_answering()
        assert pull_again(docker, reference) == pushed
        own = f"{container.address}/own/registry:latest"
        docker("tag", image, own)
        docker("push", own)
        docker("rmi", own)
        before = blobs(old.root)
        make_old(old.root)
        newer = import_image(docker, tmp_path, reference, "new")
        docker("push", reference)
        container.exec(*COLLECT)
        assert not before <= blobs(old.root)
        assert pull_again(docker, reference) == newer
        # The engine holds the layers of an image that runs; skopeo fetches and hashes all.
        copied = tmp_path / "copied"
        source = f"docker://{container.address}/own/registry:latest"
        containers.skopeo("copy", "--src-tls-verify=false", source, f"dir:{copied}")
        manifest = json.loads((copied / "manifest.json").read_text())
        assert manifest["config"]["digest"] == docker.image_id(image)


@pytest.mark.parametrize("user", ["0:0", "12345:54321"])
def test_it_needs_no_rights_beyond_its_volume(
    docker: DockerEngine, image: str, tmp_path: Path, user: str
) -> None:
    """A read-only root, no capability, any user, no /tmp: push, pull and each command work."""
    root = tmp_path / "root"
    root.mkdir()
    uid, gid = map(int, user.split(":"))
    run([require_tool("chown"), f"{uid}:{gid}", str(root)])
    with Container(docker, root, (*HARDENED, OFTEN, f"--user={user}")) as container:
        container.wait_until_answering()
        container.exec("sh", "-c", "! touch /tmp/x /var/tmp/x /run/x 2>/dev/null")
        reference = f"{container.address}/app:v1"
        pushed = import_image(docker, tmp_path, reference, "hardened")
        docker("push", reference)
        assert pull_again(docker, reference) == pushed
        for command in (("garbage-collect",), ("scrub",), ("du",), ("check",), ("purge-uploads",)):
            container.exec("registry-server", *command)
        container.exec("/opt/registry/venv/bin/python", "-c", _LEDGER)
        container.wait_until_health_is("healthy")
    assert {path.stat().st_uid for path in root.rglob("*")} == {uid}


# A collection that outgrows its cache: SQLite would now write to a temporary file.
_LEDGER = """
from storage.maintenance import database
from storage.maintenance.garbage.collection_database import CollectionDatabase
database._CACHE_KIB = 64
made = CollectionDatabase()
made._db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
                 " INSERT INTO blob SELECT 'sha256:' || i, i, i, 1 FROM n")
made.close()
"""


def test_the_modes_of_the_scripts_are_in_git() -> None:
    """Without BuildKit COPY takes modes as they are, so the scripts are executable here."""
    for name in ("entrypoint.sh", "launcher.py"):
        assert (PROJECT / "docker" / name).stat().st_mode & stat.S_IXOTH, name
