"""A volume that can only be read: it is served from, and nothing tries to write to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.live.programs import COMMAND, run_program
from tests.live.transfers import until
from tests.support.documents import config_for, image_manifest
from tests.support.servers import RegistryServer
from tests.support.tools import require_tool
from tests.support.volumes import USER, Restriction, as_another_user, mounted_read_only
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = pytest.mark.live

LAYER = b"a layer" * 1000
CONFIG = config_for([LAYER])
MANIFEST = image_manifest(CONFIG, [LAYER])
TYPED = {"Content-Type": OCI_MANIFEST}
BUSY = {
    "REGISTRY_STORAGE_DELETE_ENABLED": "true",
    "REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_ENABLED": "true",
    "REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_INTERVAL": "1s",
}
RULES = "version: 0.1\naccess: {rules: [{users: [ann], actions: [pull]}]}\n"

both = pytest.mark.parametrize("restricted", [mounted_read_only, as_another_user])


class ReadingServer(RegistryServer):
    """A server whose root can only be read."""

    restricted: Restriction = staticmethod(mounted_read_only)

    def command(self) -> list[str]:
        """Return the command under the restriction."""
        return self.restricted(super().command(), self.root)


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a root with an image, which every user can read."""
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    folder.chmod(0o755)
    with RegistryServer(folder / "first", folder / "root") as server:
        for content in (CONFIG, LAYER):
            server.wire.push_blob("app", content)
        server.wire.expect(201, "PUT", "/v2/app/manifests/v1", MANIFEST, TYPED)
    yield folder / "root"
    shutil.rmtree(folder)


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Map every path to its size and the time of its last change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in (root, *root.rglob("*"))
    }


def run(
    restricted: Restriction, root: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command under a restriction."""
    return run_program(restricted([*COMMAND, *arguments], root), Path("/"), env)


@both
def test_it_is_served_from(root: Path, restricted: Restriction) -> None:
    """Pulls and lists work; pushes and deletions are refused as in read-only mode; one warning."""
    before = tree(root)
    server = ReadingServer(root.parent / "server", root, env=BUSY)
    server.restricted = restricted
    with server:
        wire = server.wire
        assert wire.expect(200, "GET", "/v2/app/manifests/v1").body == MANIFEST
        assert wire.expect(200, "GET", f"/v2/app/blobs/{sha256(LAYER)}").body == LAYER
        assert b'"v1"' in wire.expect(200, "GET", "/v2/app/tags/list").body
        assert b'"app"' in wire.expect(200, "GET", "/v2/_catalog").body
        wire.expect(200, "GET", f"/v2/app/referrers/{sha256(MANIFEST)}")
        for method, path in (
            ("POST", "/v2/app/blobs/uploads/"),
            ("PUT", "/v2/app/manifests/v2"),
            ("DELETE", "/v2/app/manifests/v1"),
        ):
            answer = wire.expect(405, method, path, MANIFEST, TYPED)
            (error,) = json.loads(answer.body)["errors"]
            assert error["code"] == "UNSUPPORTED"
            assert "read-only" in error["message"]
        (warning,) = [line for line in server.log.splitlines() if "pulls are served" in line]
    assert "warning" in warning.lower()
    if restricted is mounted_read_only:
        assert f"{root} is mounted read-only" in warning
    else:
        assert f"belongs to uid 0 and has mode 0755, and this process runs as uid {USER}" in warning
        assert (
            f"docker run --user 0:0), or change the owner: chown -R {USER}:{USER} {root}" in warning
        )
    assert "ERROR" not in server.log.upper().replace("LOG_LEVEL", "")
    assert tree(root) == before


@both
def test_commands_that_read_work(root: Path, restricted: Restriction) -> None:
    """They find what there is, and write nothing."""
    before = tree(root)
    option = f"--root={root}"
    done = run(restricted, root, "garbage-collect", option, "--dry-run", "--grace=0s")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 blobs marked, 0 blobs and 0 manifests eligible for deletion" in done.stdout
    for command in (["du"], ["scrub"], ["purge-uploads", "--dry-run"]):
        done = run(restricted, root, *command, option)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert tree(root) == before


def test_check_says_that_pushes_will_be_refused(root: Path) -> None:
    """As a warning: the configuration can be used."""
    env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root)}
    done = run(mounted_read_only, root, "check", env=env)
    assert done.returncode == 0
    assert f"warning: {root} is mounted read-only; so pulls are served" in done.stderr


@pytest.mark.parametrize(
    "command",
    [["garbage-collect"], ["scrub", "--repair"], ["delete", "app"], ["purge-uploads"]],
    ids=" ".join,
)
def test_commands_that_write_say_why_not(root: Path, command: list[str]) -> None:
    """One line, exit code 1."""
    done = run(mounted_read_only, root, *command, f"--root={root}", env=BUSY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"registry-server: {root} is mounted read-only; nothing was changed\n")


def test_a_volume_that_can_be_written_later(root: Path) -> None:
    """After SIGHUP pushes are accepted, without a restart."""
    with ReadingServer(root.parent / "server", root) as server:
        server.wire.expect(405, "POST", "/v2/app/blobs/uploads/")
        (pid, *_) = server.pids()
        remount = ["mount", "-o", "remount,rw,bind", str(root)]
        enter = [require_tool("nsenter"), f"--mount=/proc/{pid}/ns/mnt", "--", *remount]
        subprocess.run(enter, check=True)
        os.kill(pid, signal.SIGHUP)
        until(lambda: "began before the reload has ended" in server.log, "the reload was through")
        assert "changed: storage.maintenance.readonly.enabled" in server.log
        server.wire.push_blob("app", b"more")
        server.wire.expect(201, "PUT", "/v2/app/manifests/v2", MANIFEST, TYPED)


def test_rules_need_a_key(root: Path) -> None:
    """No key can be created there: the error names the configuration key, which makes it work."""
    config = root.parent / "config.yml"
    config.write_text(RULES)
    env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(root)}
    for command in ("check", "serve"):
        done = run(mounted_read_only, root, command, str(config), env=env)
        assert done.returncode == 2
        assert "name the file of a key in access.tokens.key" in done.stderr
    key = root.parent / "key.pem"
    subprocess.run(
        [require_tool("openssl"), "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True
    )
    text = RULES.replace("access: {", f"access: {{tokens: {{key: {key}}}, ")
    with ReadingServer(root.parent / "server", root, config=text) as server:
        server.wire.expect(401, "GET", "/v2/app/manifests/v1")
        assert json.loads(server.wire.expect(200, "GET", "/auth/jwks").body)["keys"]


def test_an_empty_volume_of_another_user(root: Path) -> None:
    """There is nothing to serve: the line names both users, and what helps."""
    empty = root.parent / "empty"
    empty.mkdir()
    done = run(as_another_user, empty, "serve", f"--root={empty}", "--port=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        f"{empty} holds no registry, and none can be created: {empty} can't be written"
        in done.stderr
    )
    assert f"belongs to uid 0 and has mode 0755, and this process runs as uid {USER}" in done.stderr
    assert f"chown -R {USER}:{USER} {empty}" in done.stderr
    assert list(empty.iterdir()) == []
