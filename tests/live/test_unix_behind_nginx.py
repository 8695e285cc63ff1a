"""The real nginx before a registry on a unix socket, with the server block of docs/nginx.md."""

from __future__ import annotations

import re
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.live.programs import serving
from tests.live.sockets import Connection
from tests.support.certificates import certificate
from tests.support.guarded import ANN, guarded_config
from tests.support.nginx import NAME, Nginx
from tests.support.tree import LAYOUT
from tests.support.wire import sha256

pytestmark = pytest.mark.live

FORGED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-For": "unix:",
    "Forwarded": "for=unix;host=evil.example;proto=http",
}
BLOB = b"a blob that nginx sends"


@dataclass
class OnSocket:
    """A registry on a unix socket, as nginx is told of it."""

    root: Path
    path: Path

    @property
    def address(self) -> str:
        """Return what stands behind `server` in nginx's configuration."""
        return f"unix:{self.path}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the certificate of the site."""
    made = tmp_path_factory.mktemp("unix")
    certificate(made)
    return made


@pytest.fixture(scope="module")
def trusting(folder: Path) -> ssl.SSLContext:
    """Give the settings of a client that trusts that certificate."""
    return ssl.create_default_context(cafile=str(folder / "cert.pem"))


@pytest.fixture(scope="module")
def site(folder: Path, trusting: ssl.SSLContext) -> Iterator[httpx.Client]:
    """Serve rules behind nginx, which has nothing of the tree but a copy of its `blobs`."""
    registry, mounted = OnSocket(folder / "root", folder / "socket"), folder / "blobs"
    registry.root.mkdir()
    http = {
        "net": "unix",
        "addr": str(registry.path),
        "trustedproxies": ["unix"],
        "accelredirect": "/blobs-internal/",
        "workers": 1,
    }
    config = folder / "config.yml"
    config.write_text(guarded_config(folder, http))
    alias = {"docker/registry/v2/blobs/;": "/;", f"alias {registry.root}/": f"alias {mounted}"}
    with (
        serving([str(config), "--root", str(registry.root)], folder),
        Nginx(folder / "nginx", registry, certificate=folder / "cert.pem", changes=alias) as nginx,
    ):
        base = f"https://{nginx.address}"
        with httpx.Client(base_url=base, verify=trusting, auth=("ann", ANN)) as client:
            pushed = client.post(f"/v2/public/a/blobs/uploads/?digest={sha256(BLOB)}", content=BLOB)
            assert pushed.status_code == 201
            shutil.copytree(registry.root / LAYOUT / "blobs", mounted)
            yield client


@pytest.mark.parametrize("headers", [{}, FORGED], ids=["plain", "forged"])
def test_clients_are_sent_back_to_the_site_for_tokens(
    site: httpx.Client, headers: dict[str, str]
) -> None:
    """By https and to its own name, whatever the client says; so are uploads."""
    refused = site.get("/v2/", headers=headers, auth=httpx.Auth())
    assert refused.status_code == 401
    (realm,) = re.findall(r'realm="([^"]*)"', refused.headers["www-authenticate"])
    assert httpx.URL(realm) == site.base_url.join("/auth/token")
    assert site.get(realm, params={"service": "registry"}).status_code == 200
    begun = site.post("/v2/public/a/blobs/uploads/", headers=headers)
    assert begun.headers["location"].startswith(f"{site.base_url}".rstrip("/") + "/v2/public/a/")


def test_another_name_is_refused_by_nginx(site: httpx.Client) -> None:
    """The registry is not asked; the names of the site are served."""
    assert site.get("/v2/", headers={"Host": "evil.example"}).status_code == 421
    assert site.get("/v2/", headers={"Host": NAME}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1:1@evil.example"])
def test_the_name_that_nginx_chose_the_site_by_is_the_one_that_counts(
    site: httpx.Client, trusting: ssl.SSLContext, host: str
) -> None:
    """A URL in the first line chooses it, and Host says no other one (RFC 9112, 3.2.2)."""
    assert site.base_url.port is not None
    with Connection.secure(site.base_url.port, trusting) as connection:
        head = f"GET {site.base_url.join('/v2/')} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        connection.send(head.encode())
        answer = connection.answer("GET")
    assert answer.status == 401
    assert f'realm="{site.base_url.join("/auth/token")}"' in answer.header("WWW-Authenticate")


def test_nginx_needs_the_folder_of_blobs_alone(site: httpx.Client) -> None:
    """A blob is sent from where that folder is mounted, and no other path leads there."""
    answer = site.get(f"/v2/public/a/blobs/{sha256(BLOB)}")
    assert answer.content == BLOB
    assert answer.headers["docker-content-digest"] == sha256(BLOB)
    hexadecimal = sha256(BLOB).removeprefix("sha256:")
    path = f"/blobs-internal/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    assert site.get(path).status_code == 404
