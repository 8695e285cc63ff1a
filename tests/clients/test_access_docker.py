"""Docker logs in, pushes, and shows its users the reason of a refusal."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.live import programs
from tests.live.transfers import until
from tests.support.engine import DockerEngine
from tests.support.guarded import ANN, BOB, PASSWORDS, WRONG
from tests.support.images import LoadableImage
from tests.support.servers import RegistryServer

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def client(docker: DockerEngine, tmp_path: Path) -> DockerEngine:
    """Return the engine for a user without logins."""
    (tmp_path / "client").mkdir()
    return docker.configured(tmp_path / "client")


def logins(folder: Path) -> dict[str, dict[str, str]]:
    """Return what a client stores for each registry."""
    kept: dict[str, dict[str, str]] = json.loads((folder / "client/config.json").read_text())[
        "auths"
    ]
    return kept


def write_logins(folder: Path, auths: Mapping[str, Mapping[str, str]]) -> None:
    """Write a client's configuration by hand."""
    (folder / "client/config.json").write_text(json.dumps({"auths": auths}))


def encoded(name: str, password: str) -> str:
    """Return a name and a password as the `auth` of a client's configuration."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def test_docker_logs_in_pushes_and_logs_out(
    client: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """A push needs a login, a public pull does not; a wrong password is reported."""
    own, public = f"{guarded.address}/team/docker:v1", f"{guarded.address}/public/docker:v1"
    loaded = load(client, tmp_path, LoadableImage(two_layers(tmp_path, "access"), [own, public]))
    with pytest.raises(AssertionError, match="denied: requested access to the resource is denied"):
        client("push", own)
    with pytest.raises(AssertionError, match="unauthorized: invalid username or password"):
        client("login", guarded.address, "--username=ann", f"--password={WRONG}")
    assert "Login Succeeded" in client(
        "login", guarded.address, "--username=ann", f"--password={ANN}"
    )
    client("push", own)
    client("push", public)
    pull_afresh(client, own, own, public)
    assert client.image_id(own) == loaded
    client("logout", guarded.address)
    client("rmi", own)
    with pytest.raises(AssertionError, match="pull access denied for"):
        client("pull", own)
    client("pull", public)
    assert client.image_id(public) == loaded
    client("rmi", public)


def test_docker_reports_that_a_tag_may_not_be_moved(
    client: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """Without `overwrite` a tag is set once, and the second push fails with the reason."""
    tag = f"{guarded.address}/home/bob/moved:v1"
    client("login", guarded.address, "--username=bob", f"--password={BOB}")
    load(client, tmp_path, LoadableImage(two_layers(tmp_path, "first"), [tag]))
    client("push", tag)
    client("push", tag)
    client("rmi", tag)
    load(client, tmp_path, LoadableImage(two_layers(tmp_path, "second"), [tag]))
    with pytest.raises(AssertionError, match="denied: the tag v1 exists and may not be moved"):
        client("push", tag)
    client("rmi", tag)


def test_a_login_stores_no_password(
    client: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """A token is stored in its place, works for pushes and pulls, and ends with the logout."""
    tag, other = (f"{guarded.address}/home/{name}/kept:v1" for name in ("bob", "ann"))
    client("login", guarded.address, "--username=bob", f"--password={BOB}")
    kept = logins(tmp_path)[guarded.address]
    assert kept["auth"] == encoded("bob", "")
    assert kept.keys() == {"auth", "identitytoken"}
    loaded = load(client, tmp_path, LoadableImage(two_layers(tmp_path, "kept"), [tag, other]))
    client("push", tag)
    with pytest.raises(AssertionError, match="denied: bob may not pull, push home/ann/kept"):
        client("push", other)
    pull_afresh(client, tag, tag, other)
    assert client.image_id(tag) == loaded
    client("logout", guarded.address)
    assert logins(tmp_path) == {}
    with pytest.raises(AssertionError, match="denied"):
        client("push", tag)
    write_logins(tmp_path, {guarded.address: kept})
    client("push", tag)
    client("rmi", tag)


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_configuration_written_by_hand_is_a_login(
    client: DockerEngine, guarded: RegistryServer, tmp_path: Path, name: str
) -> None:
    """`auth` is base64 of name and password, with any characters; nothing is written back."""
    tag = f"{guarded.address}/home/{name}/by-hand:v1"
    loaded = load(client, tmp_path, LoadableImage(two_layers(tmp_path, name), [tag]))
    write_logins(tmp_path, {guarded.address: {"auth": encoded(name, WRONG)}})
    with pytest.raises(AssertionError, match="unauthorized: invalid username or password"):
        client("push", tag)
    by_hand = {guarded.address: {"auth": encoded(name, PASSWORDS[name])}}
    write_logins(tmp_path, by_hand)
    client("push", tag)
    pull_afresh(client, tag)
    assert client.image_id(tag) == loaded
    assert logins(tmp_path) == by_hand
    client("rmi", tag)


def robots(server: RegistryServer, command: str) -> str:
    """Create or revoke the robot `ci`; return the output."""
    done = programs.run(["robots", command, "ci", "--root", str(server.root)], server.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_answered(server: RegistryServer, shown: Mapping[str, str], status: int) -> bool:
    """Tell whether every worker answers like this."""
    return all(
        server.wire.request("GET", "/v2/", headers=shown).status == status for _ in range(20)
    )


def test_a_robot_logs_in_with_its_name(
    client: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """`robot$ci` pulls what the rules allow; after it is revoked its key is refused."""
    key = robots(guarded, "create")
    shown = {"Authorization": f"Basic {encoded('robot$ci', key)}"}
    tag = f"{guarded.address}/team/robots:v1"
    loaded = load(client, tmp_path, LoadableImage(two_layers(tmp_path, "robot"), [tag]))
    client("login", guarded.address, "--username=ann", f"--password={ANN}")
    client("push", tag)
    until(lambda: is_answered(guarded, shown, 200), "the robot was known")
    login = ("login", guarded.address, "--username=robot$ci", f"--password={key}")
    assert "Login Succeeded" in client(*login)
    pull_afresh(client, tag)
    assert client.image_id(tag) == loaded
    with pytest.raises(AssertionError, match="denied: robot:ci may not push team/robots"):
        client("push", tag)
    client("rmi", tag)
    robots(guarded, "revoke")
    until(lambda: is_answered(guarded, shown, 401), "the robot was gone")
    with pytest.raises(AssertionError, match="unauthorized: invalid username or password"):
        client(*login)
