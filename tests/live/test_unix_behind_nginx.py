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
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve rules behind nginx, which has nothing of the tree but a copy of its `blobs`."""
    folder = tmp_path_factory.mktemp("unix")
    registry, mounted = OnSocket(folder / "root", folder / "socket"), folder / "blobs"
    registry.root.mkdir()
    made = certificate(folder)
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
        Nginx(folder / "nginx", registry, certificate=made, changes=alias) as nginx,
    ):
        base = f"https://{nginx.address}"
        context = ssl.create_default_context(cafile=str(made))
        with httpx.Client(base_url=base, verify=context, auth=("ann", ANN)) as client:
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


def test_nginx_needs_the_folder_of_blobs_alone(site: httpx.Client) -> None:
    """A blob is sent from where that folder is mounted, and no other path leads there."""
    answer = site.get(f"/v2/public/a/blobs/{sha256(BLOB)}")
    assert answer.content == BLOB
    assert answer.headers["docker-content-digest"] == sha256(BLOB)
    hexadecimal = sha256(BLOB).removeprefix("sha256:")
    path = f"/blobs-internal/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
    assert site.get(path).status_code == 404
