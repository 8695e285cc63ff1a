"""`storage.delete.enabled: false` applies to every method of every route (CVE-2026-41888).

The routes come from the table that is served, so a new route fails until it is listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import httpx
import pytest

from registry_server.access.interfaces import OpenAccess
from registry_server.config import Settings
from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.dispatch import Route
from registry_server.v2.gate import Gate
from registry_server.v2.routes import routes
from registry_server.v2.urls import Urls
from registry_server.wiring.app import open_registry
from storage.drivers.memory import MemoryDriver
from tests.v2.conftest import Serve
from tests.v2.pushes import (
    BASE,
    CONFIG,
    DIGEST,
    LAYER,
    NAME,
    artifact,
    begin,
    code,
    digest_of,
    push_image,
    push_manifest,
)

MANIFEST_PATH = "/v2/<name>/manifests/<reference>"
BLOB_PATH = "/v2/<name>/blobs/<digest>"
UPLOAD_PATH = "/v2/<name>/blobs/uploads/<upload>"
# The routes with a handler for DELETE, and the status while deletion is disabled.
DELETING = {MANIFEST_PATH: 405, BLOB_PATH: 405, UPLOAD_PATH: 204}
# Other routes are 405 as well. This path is that of a blob with an invalid digest.
ODD = {"/v2/<name>/blobs/uploads": 400}
METHODS = ("DELETE", "delete", "POST", "PUT", "PATCH", "GET", "HEAD", "OPTIONS", "TRACE", "MOVE")
DISGUISES: tuple[dict[str, str], ...] = (
    {},
    {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"},
)
REFERRER = artifact(b"%s" % LAYER, "test/signature")


def table() -> tuple[Route, ...]:
    """Return the routes that are served."""
    settings = Settings()
    gate = Gate(open_registry(settings, MemoryDriver()), OpenAccess())
    urls = Urls()
    accel_redirect = AccelRedirect(settings.http.accelredirect)
    return routes(gate, urls, accel_redirect, most_tags=None, most_names=10)


def targets(route: str, upload: str) -> Iterator[str]:
    """Yield paths of a route to existing content."""
    values = {
        "<name>": [NAME],
        "<reference>": ["v1", "v2", DIGEST, digest_of(REFERRER)],
        "<digest>": [digest_of(LAYER), digest_of(CONFIG), DIGEST],
        "<upload>": [upload.rpartition("/")[2]],
    }
    segments = [values.get(segment, [segment]) for segment in route.split("/")]
    yield from map("/".join, product(*segments))


async def contents(client: httpx.AsyncClient) -> list[tuple[int, bytes]]:
    """Return all pushed content, as it is pulled now."""
    references = ["v1", "v2", DIGEST, digest_of(REFERRER)]
    paths = [f"{BASE}/manifests/{reference}" for reference in references]
    paths += [f"{BASE}/blobs/{digest_of(blob)}" for blob in (LAYER, CONFIG)]
    paths += [f"{BASE}/tags/list", "/v2/_catalog", f"{BASE}/referrers/{digest_of(LAYER)}"]
    answers = [await client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    return [(answer.status_code, answer.content) for answer in answers]


async def prepared(client: httpx.AsyncClient) -> str:
    """Push an image with two tags and a referrer; start an upload and return its path."""
    await push_image(client, "v1", "v2")
    await push_manifest(client, digest_of(REFERRER), REFERRER)
    return await begin(client)


def test_every_route_that_deletes_is_known() -> None:
    """No other route has a handler for DELETE."""
    assert {one.path for one in table() if "DELETE" in one.handlers} == set(DELETING)


@pytest.mark.parametrize("route", [one.path for one in table()])
async def test_no_method_of_a_route_deletes(serve: Serve, route: str) -> None:
    """Whatever is sent, in any disguise, the pushed content can be pulled as before."""
    client = await serve({})
    await prepared(client)
    before = await contents(client)
    for method, headers in product(METHODS, DISGUISES):
        upload = await begin(client)
        for path in targets(route, upload):
            request = client.build_request("GET", path, headers=headers)
            request.method = method  # as it is, unlike build_request, which makes capitals of it
            response = await client.send(request)
            if method == "DELETE":
                assert response.status_code == {**DELETING, **ODD}.get(route, 405), path
                assert response.status_code != 405 or code(response) == "UNSUPPORTED"
            assert await contents(client) == before, (method, path)


@pytest.mark.parametrize("route", [MANIFEST_PATH, BLOB_PATH])
async def test_with_deleting_enabled_the_same_requests_delete(serve: Serve, route: str) -> None:
    """The setting is the only reason for the refusals above."""
    for path in targets(route, ""):
        client = await serve({"storage": {"delete": {"enabled": True}}})
        await prepared(client)
        if path.endswith(DIGEST) and route == BLOB_PATH:
            continue  # a manifest is no blob
        assert (await client.delete(path)).status_code == 202
        assert (await client.get(path)).status_code == 404


async def test_a_repository_without_manifests_leaves_the_catalog(serve: Serve) -> None:
    """After the last manifest is deleted by digest; deleting a tag only is not enough."""
    client = await serve({"storage": {"delete": {"enabled": True}}})
    await prepared(client)

    async def catalog() -> list[str]:
        names: list[str] = (await client.get("/v2/_catalog")).json()["repositories"]
        return names

    for reference in ("v1", "v2", DIGEST):
        assert (await client.delete(f"{BASE}/manifests/{reference}")).status_code == 202
        assert await catalog() == [NAME]
    assert (await client.delete(f"{BASE}/manifests/{digest_of(REFERRER)}")).status_code == 202
    assert await catalog() == []
