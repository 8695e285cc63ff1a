"""Real clients log in, push, and show their users the reason of a refusal.

Docker is in `test_access_docker`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import oras.client
import pytest

from tests.clients.test_containerd import PULL, image_tar
from tests.support.containerd import Containerd
from tests.support.containers import ContainersTools
from tests.support.guarded import ANN, BOB, CAROL, WRONG
from tests.support.images import oci_layout
from tests.support.layers import write_tar
from tests.support.servers import RegistryServer

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]

PLAIN = "--tls-verify=false"


def test_skopeo_sends_a_password_with_each_command(
    containers: ContainersTools, guarded: RegistryServer, tmp_path: Path
) -> None:
    """It gets tokens for it, and reports what the rules refuse."""
    oci_layout(tmp_path / "layout", "v1")
    copy = ("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:v1")
    own, other = (
        f"docker://{guarded.address}/{name}:v1" for name in ("home/carol/x", "home/ann/x")
    )
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        containers.skopeo(*copy, own)
    with pytest.raises(AssertionError, match="invalid username/password"):
        containers.skopeo(*copy, f"--dest-creds=carol:{WRONG}", own)
    containers.skopeo(*copy, f"--dest-creds=carol:{CAROL}", own)
    with pytest.raises(AssertionError, match="home/ann/x: 403"):
        containers.skopeo(*copy, f"--dest-creds=carol:{CAROL}", other)
    assert "sha256:" in containers.skopeo("inspect", PLAIN, f"--creds=carol:{CAROL}", own)


def imported(containers: ContainersTools, folder: Path, *references: str) -> str:
    """Import an image under several names; return its ID."""
    layer = write_tar(folder / "root.tar", {"hello": folder.name.encode() * 99})
    first, *others = references
    containers.podman("import", str(layer), first)
    for other in others:
        containers.podman("tag", first, other)
    return containers.podman("images", "--no-trunc", "--quiet", first).splitlines()[0]


def test_podman_logs_in_pushes_and_logs_out(
    containers: ContainersTools, guarded: RegistryServer, tmp_path: Path
) -> None:
    """A right password is accepted; a wrong one and another user's home are refused."""
    own, other = (f"{guarded.address}/home/{name}/podman:v1" for name in ("carol", "ann"))
    made = imported(containers, tmp_path, own, other)
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        containers.podman("push", PLAIN, own)
    login = ("login", PLAIN, "--username=carol", guarded.address)
    with pytest.raises(AssertionError, match="invalid username/password"):
        containers.podman(*login, f"--password={WRONG}")
    assert "Login Succeeded" in containers.podman(*login, f"--password={CAROL}")
    containers.podman("push", PLAIN, own)
    with pytest.raises(AssertionError, match="home/ann/podman: 403"):
        containers.podman("push", PLAIN, other)
    containers.podman("rmi", own, other)
    assert f"sha256:{containers.podman('pull', PLAIN, '--quiet', own)}" == made
    containers.podman("rmi", own)
    containers.podman("logout", guarded.address)
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        containers.podman("pull", PLAIN, own)


def test_podman_pulls_public_images_without_a_login(
    containers: ContainersTools, guarded: RegistryServer, tmp_path: Path
) -> None:
    """And pushes with a password that is given for one command."""
    public = f"{guarded.address}/public/podman:v1"
    made = imported(containers, tmp_path, public)
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        containers.podman("push", PLAIN, public)
    containers.podman("push", PLAIN, f"--creds=ann:{ANN}", public)
    containers.podman("rmi", public)
    assert f"sha256:{containers.podman('pull', PLAIN, '--quiet', public)}" == made
    containers.podman("rmi", public)


def test_buildah_logs_in_pushes_and_logs_out(
    containers: ContainersTools, guarded: RegistryServer, tmp_path: Path
) -> None:
    """Like podman, with which it shares the logins."""
    tag = f"{guarded.address}/home/bob/buildah:v1"
    made = imported(containers, tmp_path, tag)
    login, where = ("login", PLAIN, "--username=bob"), guarded.address
    with pytest.raises(AssertionError, match="invalid username/password"):
        containers.buildah(*login, f"--password={WRONG}", where)
    assert "Login Succeeded" in containers.buildah(*login, f"--password={BOB}", where)
    containers.buildah("push", PLAIN, tag)
    containers.buildah("rmi", tag)
    containers.buildah("pull", PLAIN, tag)
    assert containers.buildah("images", "--no-trunc", "--quiet", tag) == made
    containers.buildah("logout", guarded.address)
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        containers.buildah("push", PLAIN, tag)
    containers.buildah("rmi", tag)


def test_containerd_sends_a_password_with_each_command(
    containerd: Containerd, guarded: RegistryServer, tmp_path: Path
) -> None:
    """It pushes and pulls what the rules allow, and reports a refusal and its status."""
    own, other = (f"{guarded.address}/home/{name}/containerd:v1" for name in ("carol", "ann"))
    path, digest, _ = image_tar(tmp_path, own, "amd64")
    containerd("images", "import", "--no-unpack", path)
    containerd("images", "tag", own, other)
    push = ("images", "push", "--plain-http")
    as_carol = ("--user", f"carol:{CAROL}")
    with pytest.raises(AssertionError, match="authorization failed"):
        containerd(*push, own)
    with pytest.raises(AssertionError, match=r"failed to authorize: .* 401 Unauthorized"):
        containerd(*push, "--user", f"carol:{WRONG}", own)
    containerd(*push, *as_carol, own)
    with pytest.raises(AssertionError, match="unexpected status: 403 Forbidden"):
        containerd(*push, *as_carol, other)
    containerd("images", "remove", "--sync", own, other)
    with pytest.raises(AssertionError, match=r"pull access denied, .* may require authorization"):
        containerd(*PULL, own)
    with pytest.raises(AssertionError, match=r"failed to authorize: .* 401 Unauthorized"):
        containerd(*PULL, "--user", f"carol:{WRONG}", own)
    containerd(*PULL, *as_carol, own)
    assert digest in containerd("images", "list", f"name=={own}")
    containerd("images", "remove", "--sync", own)


def test_containerd_pulls_public_images_without_a_password(
    containerd: Containerd, guarded: RegistryServer, tmp_path: Path
) -> None:
    """Like a node of a cluster without an image pull secret."""
    public = f"{guarded.address}/public/containerd:v1"
    path, digest, _ = image_tar(tmp_path, public, "amd64")
    containerd("images", "import", "--no-unpack", path)
    containerd("images", "push", "--plain-http", "--user", f"ann:{ANN}", public)
    containerd("images", "remove", "--sync", public)
    containerd(*PULL, public)
    assert digest in containerd("images", "list", f"name=={public}")
    containerd("images", "remove", "--sync", public)


@pytest.fixture
def oras_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a file to push, where oras also stores its logins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "file").write_text("an artifact")
    return tmp_path


def test_oras_sends_a_password_directly(guarded: RegistryServer, oras_folder: Path) -> None:
    """Its Python client uses one token for all requests, so it pushes with the password itself."""

    def login(password: str, backend: str) -> oras.client.OrasClient:
        client = oras.client.OrasClient(insecure=True, auth_backend=backend)
        client.login(username="carol", password=password, hostname=guarded.address)
        return client

    own, other = (f"{guarded.address}/home/{name}/oras:v1" for name in ("carol", "ann"))
    client = login(CAROL, "basic")
    client.push(target=own, files=["file"])
    with pytest.raises(ValueError, match="carol may not pull, push home/ann/oras"):
        client.push(target=other, files=["file"])
    with pytest.raises(ValueError, match="invalid username or password"):
        login(WRONG, "basic").push(target=own, files=["file"])
    for backend in ("basic", "token"):
        (pulled,) = login(CAROL, backend).pull(target=own, outdir=str(oras_folder / backend))
        assert Path(pulled).read_text() == "an artifact"


def test_curl_sends_a_password_directly(guarded: RegistryServer) -> None:
    """Scripts may use Basic in place of tokens."""

    def curl(*options: str) -> dict[str, object]:
        command = ["curl", "-sS", *options, f"{guarded.url}/v2/public/none/tags/list"]
        answer: dict[str, object] = json.loads(subprocess.check_output(command))
        return answer

    for name, password in (("ann", ANN), ("carol", CAROL)):
        assert "NAME_UNKNOWN" in str(curl("--user", f"{name}:{password}"))
        assert "UNAUTHORIZED" in str(curl("--user", f"{name}:{WRONG}"))
    assert "NAME_UNKNOWN" in str(curl())
