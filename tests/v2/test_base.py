"""`/v2/`, and paths outside every endpoint."""

from __future__ import annotations

import httpx
import pytest

from tests.v2.pushes import refused

VERSION = "Docker-Distribution-Api-Version"


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
async def test_the_base_answers_an_empty_object(client: httpx.AsyncClient, path: str) -> None:
    """GET shows that this is a registry, and its API version."""
    response = await client.get(path)
    assert (response.status_code, response.content) == (200, b"{}")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers[VERSION] == "registry/2.0"


async def test_head_of_the_base_has_no_body(client: httpx.AsyncClient) -> None:
    """HEAD has the headers of GET."""
    response = await client.head("/v2/")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == "2"
    assert response.headers[VERSION] == "registry/2.0"


async def test_the_root_is_healthy(client: httpx.AsyncClient) -> None:
    """Load balancers request `/`; HAProxy's check uses OPTIONS by default."""
    for method in ("GET", "HEAD", "OPTIONS"):
        assert (await client.request(method, "/")).status_code == 200


async def test_the_root_has_allow(client: httpx.AsyncClient) -> None:
    """405 has the envelope and Allow, as under `/v2`."""
    response = await client.post("/")
    assert refused(response) == (405, "UNSUPPORTED")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    "path",
    ["/v2/app", "/v2/app/tags", "/v2/app/manifests/", "/v2/app/blobs/", "/v2/tags/list",
     "/v1/_ping", "/v2/tags/list/", "/v2/app/tags/", "/docs", "/openapi.json",
     "/v2/app/tags/list%0A", "/v2/%0A", "/v2/_catalog%0A"],
)  # fmt: skip
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    """With the envelope."""
    assert refused(await client.get(path)) == (404, "NAME_UNKNOWN")
