"""Real clients over TLS, with a certificate of a private authority."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.live.programs import serving
from tests.support.certificates import certificate
from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine
from tests.support.guarded import ANN, BOB, guarded_config
from tests.support.images import LoadableImage, oci_layout
from tests.support.nginx import Nginx
from tests.support.servers import RegistryServer

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]

TRUSTING = {"trustedproxies": ["127.0.0.1"]}


def test_docker_works_through_a_proxy_that_terminates_tls(
    docker: DockerEngine, tmp_path: Path
) -> None:
    """The token server is where the proxy is; docker takes any certificate of 127.0.0.0/8."""
    with (
        RegistryServer(tmp_path / "server", config=guarded_config(tmp_path, TRUSTING)) as server,
        Nginx(tmp_path / "nginx", server, certificate=certificate(tmp_path)) as nginx,
    ):
        tag = f"{nginx.address}/home/bob/app:v1"
        loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "tls"), [tag]))
        docker("login", nginx.address, "--username=bob", f"--password={BOB}")
        docker("push", tag)
        pull_afresh(docker, tag)
        assert docker.image_id(tag) == loaded
        docker("logout", nginx.address)
        docker("rmi", tag)


@contextmanager
def directly(folder: Path, certificate: Path) -> Iterator[str]:
    """Serve TLS ourselves; give the address."""
    tls = {"certificate": str(certificate), "key": str(certificate.with_name("key.pem"))}
    config = guarded_config(folder, {"addr": "127.0.0.1:0", "tls": tls})
    (folder / "config.yml").write_text(config)
    (folder / "root").mkdir()
    with serving(["config.yml", "--root", "root"], folder) as running:
        yield running.where


@contextmanager
def through_nginx(folder: Path, certificate: Path) -> Iterator[str]:
    """Have nginx speak TLS; give its address."""
    with (
        RegistryServer(folder / "server", config=guarded_config(folder, TRUSTING)) as server,
        Nginx(folder / "nginx", server, certificate=certificate) as nginx,
    ):
        yield nginx.address


WAYS = {"directly": directly, "through nginx": through_nginx}


@pytest.mark.parametrize("way", WAYS)
def test_skopeo_trusts_a_private_authority(
    containers: ContainersTools, tmp_path: Path, way: str
) -> None:
    """It verifies the certificate, of the registry itself or of the proxy, and gets its token."""
    made = certificate(tmp_path)
    (tmp_path / "trusted").mkdir()
    shutil.copy(made, tmp_path / "trusted/ca.crt")
    oci_layout(tmp_path / "layout", "v1")
    with WAYS[way](tmp_path, made) as address:
        target = f"docker://{address}/team/app:v1"
        trust = f"--dest-cert-dir={tmp_path}/trusted"
        source = f"oci:{tmp_path}/layout:v1"
        containers.skopeo("copy", trust, f"--dest-creds=ann:{ANN}", source, target)
        read = (f"--cert-dir={tmp_path}/trusted", f"--creds=ann:{ANN}")
        assert json.loads(containers.skopeo("inspect", *read, target))["Name"] == (
            f"{address}/team/app"
        )
        with pytest.raises(AssertionError, match="certificate"):
            containers.skopeo("inspect", f"--creds=ann:{ANN}", target)
