"""Docker's health check follows what the server was started with, and commands beside it too."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.image.container import Container
from tests.support.certificates import Authority
from tests.support.engine import DockerEngine
from tests.support.processes import free_port

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(600)]

OFTEN = ("--health-interval=1s", "--health-start-period=0s", "--health-retries=1")
FOLDER = "/etc/ours"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder for configuration, which the container has as /etc/ours."""
    made = tmp_path / "etc"
    made.mkdir()
    return made


def served(
    docker: DockerEngine, tmp_path: Path, command: tuple[str, ...], *options: str
) -> Container:
    """Give a container with the folder of configurations, checked often."""
    (tmp_path / "root").mkdir(exist_ok=True)
    mount = f"--volume={tmp_path}/etc:{FOLDER}:ro"
    return Container(docker, tmp_path / "root", (*OFTEN, mount, *options), command)


def write(folder: Path, http: str, more: str = "") -> tuple[str, ...]:
    """Write a configuration that the image's own differs from; return how it is served."""
    text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\n"
    (folder / "other.yml").write_text(f"{text}http: {http}\n{more}")
    return ("serve", f"{FOLDER}/other.yml")


def test_it_follows_another_file_and_the_port_of_the_command(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """`serve FILE --port N`: the port is neither the file's nor the variable's."""
    command = write(folder, "{addr: '127.0.0.1:1'}")
    with served(docker, tmp_path, (*command, f"--port={free_port()}")) as container:
        container.wait_until_health_is("healthy")


def test_it_follows_tls_that_asks_for_client_certificates(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """The check needs no certificate, and no client authority is its own."""
    authority = Authority.make(folder, "ours")
    pem = authority.issue("server").name
    tls = f"{{certificate: {FOLDER}/{pem}, key: {FOLDER}/{pem}, clientcas: [{FOLDER}/ours.pem]}}"
    with served(docker, tmp_path, write(folder, f"{{tls: {tls}}}")) as container:
        container.wait_until_health_is("healthy")


def test_wget_asks_over_tls(docker: DockerEngine, image: str, folder: Path, tmp_path: Path) -> None:
    """Health checks that were written for the Alpine image work over TLS too."""
    pem = Authority.make(folder, "ours").issue("server").name
    tls = f"{{certificate: {FOLDER}/{pem}, key: {FOLDER}/{pem}}}"
    with served(docker, tmp_path, write(folder, f"{{tls: {tls}}}")) as container:
        container.wait_until_health_is("healthy")
        url = f"https://{container.address}/v2/"
        assert container.exec("wget", "-q", "--no-check-certificate", "-O-", url) == "{}"


def test_it_follows_a_unix_socket(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """A server without a port is asked at its socket."""
    command = write(folder, "{net: unix, addr: /var/lib/registry/socket}")
    environment = "--env=REGISTRY_HTTP_ADDR=/var/lib/registry/socket"
    with served(docker, tmp_path, command, environment) as container:
        container.wait_until_health_is("healthy")


def test_it_follows_a_prefix_and_counts_against_no_limit(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """With one request a second for all clients, checks take none of them away."""
    limits = "limits: {requests: {total: 1, burst: 1}}\n"
    command = write(folder, "{prefix: /registry/}", limits)
    with served(docker, tmp_path, command) as container:
        container.wait_until_health_is("healthy")
        check = json.loads(docker("inspect", "--format={{json .Config.Healthcheck.Test}}", image))
        for _ in range(3):
            container.exec(*check[1:])
        container.wire.expect(200, "GET", "/registry/v2/")


def test_a_server_that_does_not_answer_is_unhealthy(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """Processes that are stopped accept connections, by the kernel, and answer none."""
    with served(docker, tmp_path, ()) as container:
        container.wait_until_health_is("healthy")
        for signal_number, state in ((signal.SIGSTOP, "unhealthy"), (signal.SIGCONT, "healthy")):
            for pid in docker("top", container.id, "-o", "pid").split()[1:]:
                os.kill(int(pid), signal_number)
            container.wait_until_health_is(state)


def test_a_container_that_does_not_serve_is_not_unhealthy(
    docker: DockerEngine, image: str, tmp_path: Path
) -> None:
    """A long scrub or a shell is no server that fails."""
    (tmp_path / "etc").mkdir()
    with served(docker, tmp_path, ("sh", "-c", "trap 'exit 0' TERM; sleep 99 & wait")) as container:
        container.wait_until_health_is("healthy")


def test_commands_beside_the_server_use_its_file_and_root(
    docker: DockerEngine, image: str, folder: Path, tmp_path: Path
) -> None:
    """`docker exec X registry-server du` counts what the server of X serves."""
    command = (*write(folder, "{}"), "--root=/srv/images")
    (tmp_path / "images").mkdir()
    options = (f"--volume={tmp_path}/images:/srv/images",)
    with served(docker, tmp_path, command, *options) as container:
        container.wait_until_answering()
        container.wire.push_blob("served", b"layer")
        usage = json.loads(container.exec("registry-server", "du", "--json"))
        assert [row["name"] for row in usage["repositories"]] == ["served"]
        assert f"{FOLDER}/other.yml" in container.exec("registry-server", "check")


def test_wget_is_there_for_checks_of_ones_own(
    docker: DockerEngine, image: str, tmp_path: Path
) -> None:
    """The forms in which published compose files ask registry:2 whether it is alive."""
    (tmp_path / "etc").mkdir()
    with served(docker, tmp_path, ()) as container:
        container.wait_until_answering()
        for options in ("--no-verbose --tries=1 --spider", "-q --spider", "-nv -t1 --spider"):
            container.exec("wget", *options.split(), f"http://{container.address}/v2/")
