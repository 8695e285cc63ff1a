"""The real Docker Engine logs in at the site that docs/nginx.md describes, as it stands there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.live.programs import Serving, serving
from tests.support.certificates import Authority
from tests.support.engine import DockerEngine
from tests.support.guarded import BOB, guarded_config
from tests.support.images import LoadableImage
from tests.support.machine import ADDRESS, Machine
from tests.support.nginx import CERTIFICATE, KEY, nginx_daemon, registry_side, server_block

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]

NAME = "registry.example.com"  # of the manual
LOGIN = ("login", NAME, "--username=bob", f"--password={BOB}")


@pytest.fixture(scope="module")
def site_folder(client_folder: Path) -> Path:
    """Give a folder of this module's own: other engines have their own."""
    folder = client_folder / "behind-nginx"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def machine(site_folder: Path) -> Iterator[Machine]:
    """Give a machine that the manual's name leads to."""
    with Machine(site_folder / "machine") as made:
        hosts = made.etc / "hosts"
        hosts.write_text(f"{hosts.read_text()}\n{ADDRESS} {NAME}\n")
        yield made


@pytest.fixture(scope="module")
def authority(machine: Machine, site_folder: Path) -> Authority:
    """Give the authority that the engine trusts for the manual's name."""
    made = Authority.make(site_folder, "ours")
    trust = machine.etc / "docker/certs.d" / NAME
    trust.mkdir(parents=True)
    shutil.copy(site_folder / "ours.pem", trust / "ca.crt")
    return made


@pytest.fixture(scope="module")
def docker(site_folder: Path, machine: Machine, authority: Authority) -> Iterator[DockerEngine]:
    """Give an engine on the machine, as it is installed."""
    engine = DockerEngine(site_folder / "docker", machine).start()
    yield engine
    engine.stop()


@contextmanager
def site(
    machine: Machine, authority: Authority, folder: Path, http: Mapping[str, object]
) -> Iterator[Serving]:
    """Serve the manual's block by nginx, before a registry that has bob among its users."""
    root = folder / "root"
    root.mkdir()
    certificate = str(authority.issue("server", NAME))
    block = server_block(
        {CERTIFICATE: certificate, KEY: certificate, "alias /var/lib/registry/": f"alias {root}/"}
    )
    config = folder / "config.yml"
    config.write_text(guarded_config(folder, http))
    nginx = nginx_daemon(folder, block, machine)
    with serving([str(config), "--root", str(root)], folder, machine=machine) as running:
        nginx.start()
        try:
            yield running
        finally:
            nginx.stop()


def shown_on(folder: Path, port: int) -> set[str]:
    """Return which kinds of credentials nginx was shown on a port."""
    lines = (line.split() for line in (folder / "shown.log").read_text().splitlines())
    return {shown for at, shown, *_ in lines if at == str(port)}


def test_no_password_crosses_the_plain_port(
    docker: DockerEngine, machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """bob logs in, pushes and pulls, all through the port with TLS."""
    image = f"{NAME}/home/bob/app:v1"
    with site(machine, authority, tmp_path, {**registry_side(), "workers": 2}) as running:
        docker(*LOGIN)
        loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "nginx"), [image]))
        docker("push", image)
        pull_afresh(docker, image)
        assert docker.image_id(image) == loaded
        docker("rmi", image)
        docker("logout", NAME)
        assert "trustedproxies" not in running.said
    assert shown_on(tmp_path, 443) == {"nothing", "basic", "other"}
    assert shown_on(tmp_path, 80) == set()


def test_a_proxy_that_is_not_trusted_is_warned_about(
    docker: DockerEngine, machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """Without `trustedproxies` a password does cross it, and the log has the line to add."""
    http = {key: value for key, value in registry_side().items() if key != "trustedproxies"}
    with site(machine, authority, tmp_path, {**http, "workers": 1}) as running:
        docker(*LOGIN)
        docker("logout", NAME)
        assert 'http: {trustedproxies: ["127.0.0.1"]}' in running.said.replace("\\", "")
    assert "basic" in shown_on(tmp_path, 80)
