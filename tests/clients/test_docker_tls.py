"""The real Docker Engine over TLS, on an address where it takes nothing on trust."""

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
from tests.support.layers import write_big_tar
from tests.support.machine import ADDRESS, Machine

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]

SECURE, PLAIN = f"{ADDRESS}:5000", f"{ADDRESS}:5001"
RENEWED = "TLS certificate reloaded"
ENOUGH = 3  # renewals
MOST_PUSHES = 50
MIB_PUSHED = 20


@pytest.fixture(scope="module")
def machine(client_folder: Path) -> Iterator[Machine]:
    """Give a machine with an address that is not this one's."""
    with Machine(client_folder / "machine") as made:
        yield made


@pytest.fixture(scope="module")
def strict(client_folder: Path, machine: Machine) -> Iterator[DockerEngine]:
    """Give an engine as it is installed."""
    engine = DockerEngine(client_folder / "strict", machine).start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def lax(client_folder: Path, machine: Machine) -> Iterator[DockerEngine]:
    """Give an engine that accepts any certificate, and plain HTTP."""
    engine = DockerEngine(client_folder / "lax", machine, [SECURE, PLAIN]).start()
    yield engine
    engine.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Give an authority that is not trusted yet and has certified the server."""
    made = Authority.make(tmp_path, "ours")
    shutil.copy(made.issue("server", ADDRESS), tmp_path / "server.pem")
    (tmp_path / "root").mkdir()
    return made


@pytest.fixture
def trust(machine: Machine) -> Iterator[Path]:
    """Give the folder in which engines look for what they need to talk to the server."""
    folder = machine.etc / "docker/certs.d" / SECURE
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def secured(
    machine: Machine, authority: Authority, more: Mapping[str, object] | None = None
) -> Iterator[Serving]:
    """Serve over TLS; `more` is what else is configured for it."""
    certificate = str(authority.folder / "server.pem")
    tls = {"certificate": certificate, "key": certificate, **(more or {})}
    with on(machine, authority.folder, {"addr": SECURE, "tls": tls}) as running:
        yield running


@contextmanager
def on(machine: Machine, folder: Path, http: Mapping[str, object]) -> Iterator[Serving]:
    """Serve on the machine: bob may push below home/bob."""
    config = folder / "config.yml"
    config.write_text(guarded_config(folder, {"workers": 2, **http}))
    arguments = [str(config), "--root", str(folder / "root")]
    with serving(arguments, folder, machine=machine) as running:
        yield running


@contextmanager
def logged_in(docker: DockerEngine, address: str) -> Iterator[None]:
    """Be bob."""
    docker("login", address, "--username=bob", f"--password={BOB}")
    try:
        yield
    finally:
        docker("logout", address)


def push(docker: DockerEngine, folder: Path, tag: str) -> str:
    """Load an image of two layers and push it; return its ID."""
    seed = tag.rpartition(":")[2]
    loaded = load(docker, folder, LoadableImage(two_layers(folder, seed), [tag]))
    docker("push", tag)
    return loaded


def go_there_and_back(docker: DockerEngine, folder: Path, address: str) -> None:
    """Push an image to bob's home and pull it: what comes back is what left."""
    tag = f"{address}/home/bob/app:v1"
    with logged_in(docker, address):
        loaded = push(docker, folder, tag)
        pull_afresh(docker, tag)
    assert docker.image_id(tag) == loaded
    docker("rmi", tag)


def test_an_authority_that_is_not_trusted(
    strict: DockerEngine, machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """Docker reports an unknown signer of the certificate, for logins and pushes alike."""
    with secured(machine, authority):
        with pytest.raises(AssertionError, match="x509: certificate signed by unknown authority"):
            strict("login", SECURE, "--username=bob", f"--password={BOB}")
        with pytest.raises(AssertionError, match="x509: certificate signed by unknown authority"):
            push(strict, tmp_path, f"{SECURE}/home/bob/app:v1")


def test_an_authority_of_ones_own(
    strict: DockerEngine, machine: Machine, authority: Authority, trust: Path, tmp_path: Path
) -> None:
    """With its certificate as ca.crt, bob logs in, pushes and pulls; both need the login."""
    shutil.copy(tmp_path / "ours.pem", trust / "ca.crt")
    with secured(machine, authority):
        with pytest.raises(AssertionError, match="denied"):
            push(strict, tmp_path, f"{SECURE}/home/bob/app:v1")
        go_there_and_back(strict, tmp_path, SECURE)


# With TLS 1.3 a client learns of the refusal after its own handshake. The instant decides which of
# these Docker prints: what Go calls an alert, or a connection that the server closed.
_CLOSED = "certificate required|EOF|reset by peer|broken pipe|server closed idle connection"


def test_a_certificate_of_the_client(
    strict: DockerEngine, machine: Machine, authority: Authority, trust: Path, tmp_path: Path
) -> None:
    """Where clients must show one, Docker gets in with client.cert and client.key, and only so."""
    shutil.copy(tmp_path / "ours.pem", trust / "ca.crt")
    with secured(machine, authority, {"clientcas": [str(tmp_path / "ours.pem")]}):
        with pytest.raises(AssertionError, match=_CLOSED):
            strict("login", SECURE, "--username=bob", f"--password={BOB}")
        shown = authority.issue("laptop")
        for name in ("client.cert", "client.key"):
            shutil.copy(shown, trust / name)
        go_there_and_back(strict, tmp_path, SECURE)


def test_an_engine_that_takes_any_certificate(
    lax: DockerEngine, machine: Machine, authority: Authority, tmp_path: Path
) -> None:
    """An insecure registry with an unknown authority is used over TLS as well."""
    with secured(machine, authority):
        go_there_and_back(lax, tmp_path, SECURE)


def test_plain_http(
    strict: DockerEngine, lax: DockerEngine, machine: Machine, tmp_path: Path
) -> None:
    """Docker refuses it, unless it was told that this registry is an insecure one."""
    (tmp_path / "root").mkdir()
    with on(machine, tmp_path, {"addr": PLAIN}):
        with pytest.raises(AssertionError, match="server gave HTTP response to HTTPS client"):
            push(strict, tmp_path, f"{PLAIN}/home/bob/app:v1")
        go_there_and_back(lax, tmp_path, PLAIN)


def push_large(docker: DockerEngine, folder: Path, tag: str, seed: int) -> None:
    """Push a layer that was not there before and takes its time."""
    layer = write_big_tar(folder / "large.tar", MIB_PUSHED, seed)
    load(docker, folder, LoadableImage([layer], [tag]))
    docker("push", tag)
    docker("rmi", tag)


def test_certificates_are_renewed_while_docker_pushes(
    strict: DockerEngine, machine: Machine, authority: Authority, trust: Path, tmp_path: Path
) -> None:
    """Every push succeeds, while both workers take one new certificate after the other."""
    shutil.copy(tmp_path / "ours.pem", trust / "ca.crt")
    renewals = 0
    with secured(machine, authority) as running, logged_in(strict, SECURE):
        for number in range(MOST_PUSHES):
            noticed = running.said.count(RENEWED) // 2
            if noticed == ENOUGH:
                break
            if noticed == renewals:
                renewals += 1
                shutil.copy(authority.issue("server", ADDRESS), tmp_path / "server.pem")
            push_large(strict, tmp_path, f"{SECURE}/home/bob/app:v{number}", number)
        else:
            pytest.fail(f"only {noticed} renewals were noticed")
