"""Users by client certificate: the name that rules go by is the one the certificate proves."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.live.programs import Serving, serving
from tests.live.transfers import until
from tests.support.certificates import Authority

pytestmark = pytest.mark.live


@dataclass(frozen=True, slots=True)
class Site:
    """A server that believes one authority, and where it is."""

    ours: Authority
    other: Authority
    url: str
    running: Serving

    def client(self, certificate: Path | None) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.ours.folder / "ours.pem"))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return httpx.Client(base_url=self.url, verify=context)


def trusting(folder: Path, authority: str) -> None:
    """Write a configuration by which one process believes an authority: ann may do everything."""
    rules = [
        {"users": ["ann"], "actions": ["*"]},
        {"users": ["*"], "actions": ["pull"]},
    ]
    server = str(folder / "server-of-ours.pem")
    tls = {
        "certificate": server,
        "key": server,
        "clientcas": [str(folder / f"{authority}.pem")],
        "clientauth": "verify-client-cert-if-given",
    }
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "root")}},
        "http": {"addr": "127.0.0.1:0", "tls": tls, "workers": 1},
        "access": {
            "rules": rules,
            "certificates": "true",
            "administrators": {"users": ["ann", "robot:ci"]},
        },
    }
    (folder / "config.yml").write_text(json.dumps(settings))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serve over TLS: ann may do everything, every other user may pull."""
    ours, other = Authority.make(tmp_path, "ours"), Authority.make(tmp_path, "other")
    ours.issue("server")
    (tmp_path / "root").mkdir()
    trusting(tmp_path, "ours")
    with serving(["config.yml"], tmp_path) as running:
        yield Site(ours, other, f"https://{running.where}", running)


def test_a_certificate_is_its_user(site: Site) -> None:
    """Rules go by the common name; without a certificate the client is asked for credentials."""
    with site.client(site.ours.issue("ann")) as ann:
        assert ann.get("/v2/").status_code == 200
        assert ann.post("/v2/app/blobs/uploads/").status_code == 202
        assert ann.post("/api/v1/robots", json={"name": "ci"}).status_code == 201
    with site.client(site.ours.issue("bob")) as bob:
        assert bob.get("/api/v1/robots").status_code == 403
        assert bob.get("/v2/app/tags/list").status_code == 404
        assert bob.post("/v2/app/blobs/uploads/").status_code == 403
    with site.client(site.ours.issue("robot:ci")) as no_robot:
        assert no_robot.get("/v2/app/tags/list").status_code == 401
        assert no_robot.get("/api/v1/robots").status_code == 401
    with site.client(None) as nobody:
        refused = nobody.get("/v2/app/tags/list")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer realm=")


def test_a_certificate_of_another_authority_ends_the_connection(site: Site) -> None:
    """A client with a self-signed certificate for ann is anonymous."""
    with site.client(site.other.issue("ann")) as stranger, pytest.raises(httpx.HTTPError):
        stranger.get("/v2/")


def test_an_authority_that_was_taken_out_is_believed_no_more(site: Site) -> None:
    """A connection that was opened before answers once more, and then has to be opened anew."""
    with site.client(site.ours.issue("ann")) as ann:
        assert ann.post("/v2/app/blobs/uploads/").status_code == 202
        trusting(site.ours.folder, "other")
        site.running.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration reloaded" in site.running.said, "the reload was through")
        assert ann.get("/v2/").headers["connection"] == "close"
        with pytest.raises(httpx.HTTPError):
            ann.post("/v2/app/blobs/uploads/")
    with site.client(site.other.issue("ann")) as ann:
        assert ann.post("/v2/app/blobs/uploads/").status_code == 202
