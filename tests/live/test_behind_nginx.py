"""The real nginx terminates TLS, on another port and under a path, before a registry with rules."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import certificate
from tests.support.documents import config_for, image_manifest
from tests.support.guarded import ANN, guarded_config
from tests.support.nginx import Nginx
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_MANIFEST, sha256

pytestmark = pytest.mark.live

NAME = "public/behind"
LAYER = os.urandom(20 << 20)
CONFIG = config_for([LAYER])


@dataclass(frozen=True, slots=True)
class Site:
    """An nginx with a certificate, and the path that the registry has there."""

    nginx: Nginx
    certificate: Path
    prefix: str

    @property
    def base(self) -> str:
        """The URL that clients are given."""
        return f"https://{self.nginx.address}{self.prefix}"

    def client(self) -> httpx.Client:
        """Return a client that trusts the certificate, and nothing else."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=f"https://{self.nginx.address}", verify=context)

    def token(
        self,
        client: httpx.Client,
        refusal: httpx.Response,
        auth: httpx.Auth | None,
        scope: str = "",
    ) -> str:
        """Get the token that a refusal asks for, or one for `scope`, where it says."""
        asked = dict(re.findall(r'(\w+)="([^"]*)"', refusal.headers["www-authenticate"]))
        assert asked["realm"] == f"{self.base}/auth/token"
        query = {"service": asked["service"], "scope": scope or asked.get("scope", "")}
        answer = client.get(asked["realm"], params=query, auth=auth or httpx.Auth())
        assert answer.status_code == 200
        return str(answer.json()["token"])


@pytest.fixture(params=["", "/registry"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Give a site at the root of its name, and one below a path."""
    prefix: str = request.param
    made = certificate(tmp_path)
    http = {"prefix": f"{prefix}/", "relativeurls": False, "trustedproxies": ["127.0.0.1"]}
    config = guarded_config(tmp_path, http)
    with (
        RegistryServer(tmp_path / "server", config=config) as server,
        Nginx(tmp_path / "nginx", server, certificate=made, prefix=f"{prefix}/") as nginx,
    ):
        yield Site(nginx, made, prefix)


def test_a_layer_is_pushed_and_pulled_by_tokens(site: Site) -> None:
    """Every URL that a client is given is one it can reach: for tokens, uploads and blobs."""
    with site.client() as client:
        uploads = f"{site.prefix}/v2/{NAME}/blobs/uploads/"
        refused = client.post(uploads)
        assert refused.status_code == 401
        token = site.token(client, refused, httpx.BasicAuth("ann", ANN))
        client.headers["Authorization"] = f"Bearer {token}"
        for content in (LAYER, CONFIG):
            begun = client.post(uploads)
            assert begun.status_code == 202
            assert begun.headers["location"].startswith(site.base)
            sent = client.patch(begun.headers["location"], content=_pieces(content))
            assert sent.status_code == 202
            url = httpx.URL(sent.headers["location"]).copy_add_param("digest", sha256(content))
            assert client.put(url).status_code == 201
        manifest = image_manifest(CONFIG, [LAYER])
        target = f"{site.prefix}/v2/{NAME}/manifests/v1"
        headers = {"Content-Type": OCI_MANIFEST}
        assert client.put(target, content=manifest, headers=headers).status_code == 201
    with site.client() as nobody:
        blob = f"{site.prefix}/v2/{NAME}/blobs/{sha256(LAYER)}"
        assert nobody.get(blob).content == LAYER
        refused = nobody.get(f"{site.prefix}/v2/")
        token = site.token(nobody, refused, None, scope=f"repository:{NAME}:pull")
        assert nobody.get(blob, headers={"Authorization": f"Bearer {token}"}).content == LAYER


def test_a_large_token_reaches_the_registry(site: Site) -> None:
    """nginx refuses header lines of more than 8 KiB unless it is told otherwise."""
    with site.client() as client:
        shown = {"Authorization": f"Bearer {'a' * 40_000}"}
        answer = client.get(f"{site.prefix}/v2/", headers=shown)
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_a_proxy_that_is_not_trusted_decides_nothing(tmp_path: Path) -> None:
    """What a client says of proxies is not believed: the realm is what it connected to."""
    with RegistryServer(tmp_path / "server", config=guarded_config(tmp_path)) as server:
        forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "elsewhere.example"}
        answer = server.wire.request("GET", "/v2/", headers=forged)
        assert f'realm="{server.url}/auth/token"' in (answer.header("WWW-Authenticate") or "")


NO_HEADERS = {
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;": "",
    "proxy_set_header X-Forwarded-Proto $scheme;": "",
    "proxy_set_header X-Forwarded-Host $host:$server_port;": "",
}
HTTP_1_0 = {"proxy_http_version 1.1;": "", 'proxy_set_header Connection "";': ""}
TRUSTED = {"trustedproxies": ["127.0.0.1"]}
AT_NGINX, RELATIVE = "{scheme}://{address}", ""


@pytest.mark.parametrize(
    ("is_encrypted", "changes", "http", "base"),
    [
        (True, {}, TRUSTED, AT_NGINX),
        (True, {}, {}, RELATIVE),
        (True, {}, {"relativeurls": True}, RELATIVE),
        (True, {}, {"relativeurls": False}, AT_NGINX),
        (True, {**NO_HEADERS, **HTTP_1_0}, {}, RELATIVE),
        (True, {**NO_HEADERS, **HTTP_1_0}, TRUSTED, RELATIVE),
        (True, HTTP_1_0, TRUSTED, AT_NGINX),
        (False, NO_HEADERS, {}, AT_NGINX),
        (False, {}, {}, RELATIVE),
    ],
)
def test_where_a_client_is_sent(
    tmp_path: Path,
    is_encrypted: bool,
    changes: dict[str, str],
    http: dict[str, object],
    base: str,
) -> None:
    """With headers of nginx and without, trusted and not: a push that follows Location succeeds."""
    made = certificate(tmp_path)
    config = json.dumps({"version": "0.1", "http": http})
    with (
        RegistryServer(tmp_path / "server", config=config, workers=1) as server,
        Nginx(
            tmp_path / "nginx",
            server,
            certificate=made if is_encrypted else None,
            changes=changes,
        ) as nginx,
        Site(nginx, made, "").client() as client,
    ):
        scheme = "https" if is_encrypted else "http"
        wanted = base.format(scheme=scheme, address=nginx.address)
        uploads = f"{scheme}://{nginx.address}/v2/{NAME}/blobs/uploads/"
        begun = client.post(uploads)
        assert begun.headers["location"].startswith(f"{wanted}/v2/{NAME}/blobs/uploads/")
        sent = client.patch(resolved(begun), content=_pieces(CONFIG))
        assert sent.headers["location"].startswith(f"{wanted}/v2/{NAME}/blobs/uploads/")
        done = client.put(resolved(sent).copy_add_param("digest", sha256(CONFIG)))
        assert done.status_code == 201
        assert done.headers["location"] == f"{wanted}/v2/{NAME}/blobs/{sha256(CONFIG)}"
        assert client.get(resolved(done)).content == CONFIG


def resolved(answer: httpx.Response) -> httpx.URL:
    """Return the URL that a Location means."""
    return answer.url.join(answer.headers["location"])


def _pieces(content: bytes) -> Iterator[bytes]:
    """Send without a length, as docker does."""
    for at in range(0, len(content), 1 << 16):
        yield content[at : at + (1 << 16)]
