"""Certificates are renewed by others, who send no signal: each process notices by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.live.programs import Serving, serving
from tests.live.sockets import TIMEOUT, Connection
from tests.live.transfers import until
from tests.support.certificates import Authority

pytestmark = pytest.mark.live

# More connections than it takes to meet both of two workers.
MANY = 20
RENEWED = "TLS certificate reloaded"
NAMES = ("tls.crt", "tls.key", "ca.crt")

Renew: TypeAlias = Callable[[Path, Path], None]


def written_over(live: Path, new: Path) -> None:
    """As `cp` does: the files stay, and what is in them changes bit by bit."""
    for name in NAMES:
        (live / name).write_bytes((new / name).read_bytes())


def moved_over(live: Path, new: Path) -> None:
    """As careful programs do: one file after the other."""
    for name in NAMES:
        shutil.copy(new / name, live / f"{name}.new")
        os.replace(live / f"{name}.new", live / name)


def linked_one_by_one(live: Path, new: Path) -> None:
    """As certbot does: each name is a link to a file of this generation, then of the next."""
    for name in NAMES:
        (live / f".{name}").symlink_to(new / name)
        os.replace(live / f".{name}", live / name)


def linked_at_once(live: Path, new: Path) -> None:
    """As Kubernetes does: all names are links into a folder, which a link exchanges."""
    for name in NAMES:
        if not (live / name).is_symlink():
            (live / name).symlink_to(f"..data/{name}")
    (live / "..next").symlink_to(new)
    os.replace(live / "..next", live / "..data")


WAYS: list[Renew] = [written_over, moved_over, linked_one_by_one, linked_at_once]


@dataclass(frozen=True, slots=True)
class Site:
    """A server that speaks TLS, and the folders its certificates come from."""

    folder: Path
    authority: Authority
    running: Serving
    workers: int

    @property
    def live(self) -> Path:
        """Where the server reads its files."""
        return self.folder / "live"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.running.where.rpartition(":")[2])

    def connect(self, user: Path | None = None) -> Connection:
        """Connect and shake hands, as a user with a certificate perhaps."""
        return Connection.secure(self.port, self.context(user))

    def context(self, user: Path | None = None) -> ssl.SSLContext:
        """Trust the authority of the server's certificates, whatever user one is."""
        trusting = ssl.create_default_context(cafile=str(self.authority.folder / "ours.pem"))
        if user is not None:
            trusting.load_cert_chain(user)
        return trusting

    def shown(self) -> set[bytes]:
        """Return the certificates that many connections are shown; each is answered."""
        return {_shown(self.connect()) for _ in range(MANY)}

    def until_shown(self, new: Path) -> None:
        """Wait until every worker has read files anew, and all show the certificate of `new`."""
        expected = {ssl.PEM_cert_to_DER_cert((new / "tls.crt").read_text())}
        until(lambda: self.running.said.count(RENEWED) >= self.workers, "all workers noticed")
        until(lambda: self.shown() == expected, "the new certificate is shown")


def _shown(connection: Connection) -> bytes:
    with connection:
        assert connection.ask("GET /v2/ HTTP/1.1").status == 200
        assert isinstance(connection.socket, ssl.SSLSocket)
        return connection.socket.getpeercert(binary_form=True) or b""


def generation(folder: Path, server: Authority, clients: Authority) -> Path:
    """Make a new certificate of the server's, beside the authority that clients are to have."""
    made = folder / f"generation-{len(list(folder.glob('generation-*')))}"
    made.mkdir()
    certificate = server.issue("server").read_bytes()
    begin = certificate.index(b"-----BEGIN PRIVATE KEY-----")
    (made / "tls.crt").write_bytes(certificate[:begin])
    (made / "tls.key").write_bytes(certificate[begin:])
    authority = clients.certificate.subject.rfc4514_string().removeprefix("CN=")
    shutil.copy(clients.folder / f"{authority}.pem", made / "ca.crt")
    return made


def configure(folder: Path, workers: int, live: Path) -> None:
    """Write a configuration by which certificates are in `live`, and may be left out."""
    tls = {
        "certificate": str(live / "tls.crt"),
        "key": str(live / "tls.key"),
        "clientcas": [str(live / "ca.crt")],
        "clientauth": "verify-client-cert-if-given",
    }
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": "127.0.0.1:0", "workers": workers, "tls": tls},
    }
    (folder / "config.yml").write_text(json.dumps(settings))


@contextmanager
def started(folder: Path, workers: int, renew: Renew) -> Iterator[Site]:
    """Serve with files that were put there by `renew`; certificates of `ours` are believed."""
    ours = Authority.make(folder, "ours")
    (folder / "live").mkdir()
    renew(folder / "live", generation(folder, ours, ours))
    configure(folder, workers, folder / "live")
    with serving(["config.yml"], folder) as running:
        yield Site(folder, ours, running, workers)


@pytest.fixture(params=[1, 2])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Serve alone, and with two workers."""
    with started(tmp_path, request.param, written_over) as made:
        yield made


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("renew", WAYS)
def test_a_renewal_is_noticed(tmp_path: Path, renew: Renew, workers: int) -> None:
    """However it is done; no client is refused meanwhile, and nothing is logged."""
    with started(tmp_path, workers, renew) as site:
        (before,) = site.shown()
        new = generation(tmp_path, site.authority, site.authority)
        renew(site.live, new)
        site.until_shown(new)
        assert before not in site.shown()
        assert "can't be used" not in site.running.said


def test_who_is_connected_goes_on(site: Site) -> None:
    """A certificate that is renewed ends no connection, and no request."""
    with site.connect() as kept:
        assert kept.ask("GET /v2/ HTTP/1.1").status == 200
        new = generation(site.folder, site.authority, site.authority)
        for name in NAMES[:2]:
            (site.live / name).write_bytes((new / name).read_bytes())
        site.until_shown(new)
        for _ in range(2):
            answer = kept.ask("GET /v2/ HTTP/1.1")
            assert answer.status == 200
            assert "Connection" not in answer.headers


def test_a_certificate_without_its_key_waits_for_it(site: Site) -> None:
    """The old one is shown until both are there; each worker says so once."""
    before = site.shown()
    new = generation(site.folder, site.authority, site.authority)
    (site.live / "tls.crt").write_bytes((new / "tls.crt").read_bytes())
    complaint = "TLS files can't be used, the old ones stay in use: http.tls.key: "
    until(lambda: site.running.said.count(complaint) >= site.workers, "it was complained of")
    assert site.shown() == before
    (site.live / "tls.key").write_bytes((new / "tls.key").read_bytes())
    site.until_shown(new)
    assert site.running.said.count(complaint) == site.workers


def test_an_authority_that_was_replaced_is_believed_no_more(site: Site) -> None:
    """Nor by connections that were opened, or had begun to be, while it was: they are refused."""
    other = Authority.make(site.folder, "other")
    ann = site.authority.issue("ann")
    plain = socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT)
    with site.connect(ann) as opened:
        assert "Connection" not in opened.ask("GET /v2/ HTTP/1.1").headers
        moved_over(site.live, generation(site.folder, site.authority, other))
        until(lambda: site.running.said.count(RENEWED) >= site.workers, "all workers noticed")
        until(lambda: all(_refuses(site, ann) for _ in range(MANY)), "ann is refused")
        began = Connection(site.context(ann).wrap_socket(plain, server_hostname="127.0.0.1"))
        with began:
            for connection in (opened, began):
                answer = connection.ask("GET /v2/ HTTP/1.1")
                assert (answer.status, answer.header("Connection")) == (403, "close")
                assert connection.is_closed()
    with site.connect(other.issue("ann")) as trusted:
        assert trusted.ask("GET /v2/ HTTP/1.1").status == 200


def _refuses(site: Site, user: Path) -> bool:
    try:
        with site.connect(user) as connection:
            return connection.ask("GET /v2/ HTTP/1.1").status != 200
    except (OSError, AssertionError):  # an end where an answer should begin is one of the two
        return True


def test_a_reload_moves_to_other_files(site: Site) -> None:
    """They are watched from then on, and those before no more."""
    before = site.shown()
    elsewhere = generation(site.folder, site.authority, site.authority)
    configure(site.folder, site.workers, elsewhere)
    site.running.process.send_signal(signal.SIGHUP)
    until(lambda: not site.shown() & before, "the certificate of the other folder is shown")
    written_over(site.live, generation(site.folder, site.authority, site.authority))
    new = generation(site.folder, site.authority, site.authority)
    written_over(elsewhere, new)
    site.until_shown(new)
