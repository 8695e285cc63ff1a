"""Images in memory (`storage.inmemory`), as clusters for tests have them: ours and registry:2."""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.programs import Serving, run, serving
from tests.live.transfers import until
from tests.support.documents import config_for, image_manifest
from tests.support.processes import family
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.users import lines
from tests.support.wire import OCI_MANIFEST, Wire, sha256, with_query

pytestmark = pytest.mark.live

LAYER = bytes(range(256)) * 20_000
CONFIG = config_for([LAYER])
MANIFEST = image_manifest(CONFIG, [LAYER])
ACCEPT = {"Accept": OCI_MANIFEST}
STORAGE = {"inmemory": {}, "delete": {"enabled": True}}
ENVIRONMENT = {"REGISTRY_STORAGE": "inmemory", "REGISTRY_STORAGE_DELETE_ENABLED": "true"}
PASSWORD = "a password of memory"
FILE = "version: 0.1\nhttp: {addr: '127.0.0.1:0'}\n"


class Memory(RegistryServer):
    """Ours, by a file; no option names a folder."""

    def command(self) -> list[str]:
        """Return the command without options, but for the address."""
        command = super().command()
        return command[: command.index("--root")]


class DistributionMemory(DistributionServer):
    """registry:2 with the same storage."""

    def _config(self) -> dict[str, object]:
        return {**super()._config(), "storage": STORAGE}


@pytest.fixture(params=["ours", "registry:2"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveServer]:
    """Serve from memory: this registry, and the original."""
    if request.param == "ours":
        config = json.dumps({"version": "0.1", "storage": STORAGE})
        server: LiveServer = Memory(tmp_path, config=config)
    else:
        server = DistributionMemory(tmp_path)
    with server:
        yield server


def push(wire: Wire) -> None:
    """Push an image to app:v1."""
    for content in (CONFIG, LAYER):
        wire.push_blob("app", content)
    wire.push_manifest("app", "v1", MANIFEST, OCI_MANIFEST)


def wire_of(server: Serving) -> Wire:
    """Return a client of a server that chose its port."""
    return Wire("127.0.0.1", int(server.where.rpartition(":")[2]))


def test_an_image_is_pushed_pulled_and_deleted(server: LiveServer) -> None:
    """Whole and by parts; lists have it; nothing lies in the folder."""
    wire = server.wire
    push(wire)
    assert wire.expect(200, "GET", "/v2/app/manifests/v1", headers=ACCEPT).body == MANIFEST
    blob = f"/v2/app/blobs/{sha256(LAYER)}"
    assert wire.expect(200, "GET", blob).body == LAYER
    part = wire.expect(206, "GET", blob, headers={"Range": "bytes=1000-1999"})
    assert part.body == LAYER[1000:2000]
    assert json.loads(wire.expect(200, "GET", "/v2/_catalog").body) == {"repositories": ["app"]}
    wire.mount("other", sha256(LAYER), "app")
    wire.expect(202, "DELETE", f"/v2/app/manifests/{sha256(MANIFEST)}")
    wire.expect(404, "GET", "/v2/app/manifests/v1", headers=ACCEPT)
    wire.expect(202, "DELETE", blob)
    wire.expect(404, "GET", blob)
    assert wire.expect(200, "GET", f"/v2/other/blobs/{sha256(LAYER)}").body == LAYER
    assert list(server.root.iterdir()) == []


def test_an_upload_comes_in_chunks(server: LiveServer) -> None:
    """Its status says how much is held, and a wrong digest is refused."""
    wire = server.wire
    begun = wire.expect(202, "POST", "/v2/app/blobs/uploads/").header("Location")
    at, location = len(LAYER) // 2, begun
    for start, chunk in ((0, LAYER[:at]), (at, LAYER[at:])):
        ranged = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
        answer = wire.expect(202, "PATCH", location, chunk, ranged)
        location = answer.header("Location")
        assert answer.header("Range") == f"0-{start + len(chunk) - 1}"
    wire.expect(201, "PUT", with_query(location, f"digest={sha256(LAYER)}"), b"")
    assert wire.expect(200, "GET", f"/v2/app/blobs/{sha256(LAYER)}").body == LAYER
    wrong = wire.expect(202, "POST", "/v2/app/blobs/uploads/").header("Location")
    wire.expect(400, "PUT", with_query(wrong, f"digest={sha256(LAYER)}"), b"others")


def test_a_restart_loses_the_images(server: LiveServer) -> None:
    """It is what such a registry is for."""
    push(server.wire)
    server.restart()
    server.wire.expect(404, "GET", "/v2/app/manifests/v1", headers=ACCEPT)
    assert json.loads(server.wire.expect(200, "GET", "/v2/_catalog").body) == {"repositories": []}


@pytest.mark.parametrize("has_file", [True, False])
def test_a_variable_alone_is_enough(tmp_path: Path, *, has_file: bool) -> None:
    """Without a file, and over one with a folder: one process serves, and no folder is made."""
    (tmp_path / "config.yml").write_text(
        f"{FILE}storage: {{filesystem: {{rootdirectory: {tmp_path}/images}}}}\n"
    )
    arguments = ["config.yml"] if has_file else ["--port=0"]
    with serving(arguments, tmp_path, ENVIRONMENT) as server:
        push(wire_of(server))
        wire_of(server).expect(202, "DELETE", f"/v2/app/manifests/{sha256(MANIFEST)}")
        assert len(family(server.process.pid)) == 1
        assert "REGISTRY_STORAGE: storage.inmemory keeps images in memory" in server.said
        assert "workers=1" in server.said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.yml", "serve.log"]


def test_a_reload_keeps_the_images(tmp_path: Path) -> None:
    """Other settings take effect; another storage waits for a restart, and rules are refused."""
    file = tmp_path / "config.yml"
    file.write_text(f"{FILE}storage: inmemory\n")
    with serving([str(file)], tmp_path) as served:

        def reload(more: str) -> None:
            file.write_text(FILE + more)
            served.process.send_signal(signal.SIGHUP)

        wire = wire_of(served)
        push(wire)
        manifest = f"/v2/app/manifests/{sha256(MANIFEST)}"
        wire.expect(405, "DELETE", manifest)
        reload("storage: {inmemory: , maintenance: {readonly: {enabled: true}}}\n")
        until(lambda: re.search(r"changed: .*readonly\.enabled", served.said), "it is read-only")
        wire.expect(405, "POST", "/v2/app/blobs/uploads/")
        assert wire.expect(200, "GET", "/v2/app/manifests/v1", headers=ACCEPT).body == MANIFEST
        storage = "storage: {filesystem: {rootdirectory: /nowhere}, delete: {enabled: true}}\n"
        reload(storage)
        until(lambda: "storage.inmemory was changed, which needs" in served.said, "it was said")
        assert wire.expect(200, "GET", f"/v2/app/blobs/{sha256(LAYER)}").body == LAYER
        reload(f"{storage}access: {{rules: []}}\n")
        until(lambda: "access needs a folder" in served.said, "the rules were refused")
        wire.push_blob("app", b"more")
        wire.expect(202, "DELETE", manifest)


def test_settings_without_a_folder_hold(tmp_path: Path) -> None:
    """Users of a file log in, a quota is kept, and abandoned uploads are purged."""
    (tmp_path / "users").write_text(lines({"ann": PASSWORD}))
    purging = "maintenance: {uploadpurging: {age: 1s, interval: 1s}}"
    (tmp_path / "config.yml").write_text(
        f"{FILE}storage: {{inmemory: {{}}, {purging}}}\n"
        "auth: {htpasswd: {realm: tests, path: users}}\n"
        "limits: {repositories: [{repositories: ['**'], bytes: 1MB}]}\n"
    )
    with serving(["config.yml"], tmp_path) as server:
        wire = wire_of(server)
        wire.expect(401, "GET", "/v2/")
        shown = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
        ann = {"Authorization": f"Basic {shown}"}
        wire.expect(200, "GET", "/v2/", headers=ann)
        uploads = "/v2/app/blobs/uploads/"
        wire.expect(201, "POST", f"{uploads}?digest={sha256(CONFIG)}", CONFIG, ann)
        wire.expect(403, "POST", f"{uploads}?digest={sha256(LAYER)}", LAYER, ann)
        location = wire.expect(202, "POST", uploads, headers=ann).header("Location")
        until(lambda: "was removed" in server.said, "the upload was purged")
        wire.expect(404, "GET", location, headers=ann)


@pytest.mark.parametrize(
    "command",
    [
        ["garbage-collect", "config.yml"],
        ["scrub", "config.yml"],
        ["du", "config.yml"],
        ["purge-uploads", "config.yml"],
        ["delete", "--config=config.yml", "app"],
        ["robots", "list", "--config=config.yml"],
    ],
    ids=lambda command: str(command[0]),
)
def test_commands_say_that_there_is_no_folder(tmp_path: Path, command: list[str]) -> None:
    """One line, the exit code of a configuration that can't be used, and nothing is made."""
    config = tmp_path / "config.yml"
    config.write_text(json.dumps({"version": "0.1", "storage": STORAGE}))
    done = run(command, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "storage.inmemory keeps everything in the server's memory" in line
    assert list(tmp_path.iterdir()) == [config]
