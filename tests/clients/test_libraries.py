"""Client libraries of PyPI and npm push images, whatever `http.relativeurls` says.

Some of them cannot resolve a relative Location; they need the absolute one that is the default.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.documents import image_manifest
from tests.support.images import LoadableImage, docker_archive
from tests.support.layers import write_tar
from tests.support.secrets import nothing_told
from tests.support.servers import RegistryServer
from tests.support.tools import require_packages, require_tool
from tests.support.wire import DOCKER_MANIFEST, Wire, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live]

PROGRAMS = Path(__file__).parent / "programs"
NODE_PACKAGES = Path(sys.prefix) / "npm" / "node_modules"
SETTINGS = {"unset": "", "absolute": "relativeurls: false", "relative": "relativeurls: true"}


@dataclass(frozen=True, slots=True)
class Library:
    """A client library: the program that drives it, and whether it resolves relative URLs."""

    program: str
    packages: tuple[str, ...]
    resolves: bool

    def push(self, address: str, repository: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the program; return how it ended."""
        return subprocess.run(
            [*self._command(), str(PROGRAMS / self.program), address, repository, str(folder)],
            cwd=folder,
            env={"NODE_PATH": str(NODE_PACKAGES), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def _command(self) -> list[str]:
        if self.program.endswith(".js"):
            node = require_tool("node")
            require_packages(NODE_PACKAGES / each for each in self.packages)
            return [node]
        return [sys.executable]


LIBRARIES: Mapping[str, Library] = {
    "python-dxf": Library("push_dxf.py", (), True),
    "dockertarpusher": Library("push_tar.py", (), False),
    "docker-registry-client-async": Library("push_async.py", (), False),
    "docker-registry-client": Library("push_registry_client.js", ("docker-registry-client",), True),
    "container-image-builder": Library(
        "push_image_builder.js", ("container-image-builder",), False
    ),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, RegistryServer]]:
    """Give a server for each value of `http.relativeurls`."""
    folder = tmp_path_factory.mktemp("libraries")
    started = {
        name: RegistryServer(
            folder / name, config=f"version: 0.1\nhttp: {{{setting}}}\n", workers=1
        ).start()
        for name, setting in SETTINGS.items()
    }
    yield started
    for server in started.values():
        server.stop()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_pushes(
    servers: Mapping[str, RegistryServer], name: str, setting: str, tmp_path: Path
) -> None:
    """What it pushed can be pulled; a client that cannot resolve relative URLs fails with them."""
    library, server, repository = LIBRARIES[name], servers[setting], f"libraries/{name}"
    write_image(tmp_path, repository)
    ended = library.push(server.address, repository, tmp_path)
    nothing_told(ended.stdout + ended.stderr, name)
    if setting == "relative" and not library.resolves:
        assert server.wire.request("GET", f"/v2/{repository}/tags/list").status == 404
        return
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_pulled(server.wire, repository, (tmp_path / "layer").read_bytes())


def write_image(folder: Path, repository: str) -> None:
    """Write an image as files, and as `docker save` writes it."""
    layer = write_tar(folder / "layer", {"etc/motd": b"hello" * 600_000})
    image = LoadableImage([layer], [f"{repository}:v1"])
    (folder / "config").write_bytes(image.config())
    manifest = image_manifest(image.config(), [layer.read_bytes()], DOCKER_MANIFEST)
    (folder / "manifest").write_bytes(manifest)
    docker_archive(folder / "image.tar", image)


def assert_pulled(wire: Wire, repository: str, layer: bytes) -> None:
    """Pull the manifest of `v1` and its blobs, and compare them with their digests."""
    accept = {"Accept": DOCKER_MANIFEST}
    answer = wire.expect(200, "GET", f"/v2/{repository}/manifests/v1", headers=accept)
    manifest = json.loads(answer.body)
    (only,) = manifest["layers"]
    assert only["digest"] == sha256(layer)
    for entry in (manifest["config"], only):
        blob = wire.expect(200, "GET", f"/v2/{repository}/blobs/{entry['digest']}").body
        assert sha256(blob) == entry["digest"]
