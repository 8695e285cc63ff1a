"""Accept: which manifest a client gets."""

from __future__ import annotations

import httpx
import pytest

from registry_server.v2.negotiation import parse_accept
from tests.support.documents import image_index, image_manifest
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256
from tests.v2.pushes import (
    BASE,
    CONFIG,
    LAYER,
    docker_image,
    error,
    push_blob,
    push_manifest,
    refused,
)

DOCKER_AMD64, DOCKER_ARM64 = docker_image(), docker_image([LAYER, LAYER])
OCI_AMD64 = image_manifest(CONFIG, [LAYER])
OCI_ARM64 = image_manifest(CONFIG, [LAYER, LAYER])
LIST = image_index({"arm64": DOCKER_ARM64, "amd64": DOCKER_AMD64}, DOCKER_LIST)
INDEX = image_index({"arm64": OCI_ARM64, "amd64": OCI_AMD64}, OCI_INDEX)
ARM_ONLY = image_index({"arm64": DOCKER_ARM64}, DOCKER_LIST)
STORED = {
    "docker": (DOCKER_AMD64, DOCKER_MANIFEST),
    "oci": (OCI_AMD64, OCI_MANIFEST),
    "list": (LIST, DOCKER_LIST),
    "index": (INDEX, OCI_INDEX),
    "arm-only": (ARM_ONLY, DOCKER_LIST),
}
OLD = DOCKER_MANIFEST
EVERYTHING = f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}"


async def fill(client: httpx.AsyncClient) -> None:
    """Push each of STORED with its tag, children first."""
    for blob in (CONFIG, LAYER):
        await push_blob(client, blob)
    for raw, media_type in ((DOCKER_ARM64, DOCKER_MANIFEST), (OCI_ARM64, OCI_MANIFEST)):
        await push_manifest(client, sha256(raw), raw, media_type)
    for tag, (raw, media_type) in STORED.items():
        await push_manifest(client, tag, raw, media_type)


async def ask(client: httpx.AsyncClient, reference: str, *accept: str) -> httpx.Response:
    """Request with exactly these Accept headers."""
    request = client.build_request("GET", f"{BASE}/manifests/{reference}")
    del request.headers["Accept"]
    fields = [(b"accept", one.encode()) for one in accept]
    request.headers = httpx.Headers([*request.headers.raw, *fields])
    return await client.send(request)


def is_whole(response: httpx.Response, raw: bytes, media_type: str) -> None:
    """Check that a manifest is served with its own digest and type."""
    assert (response.status_code, response.content) == (200, raw)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Docker-Content-Digest"] == sha256(raw)
    assert response.headers["ETag"] == f'"{sha256(raw)}"'


@pytest.mark.parametrize(
    "accept",
    [
        (),
        ("",),
        ("*/*",),
        ("application/*",),
        (EVERYTHING,),
        ("text/html, */*;q=0.1",),
        ("text/html", "application/*"),
        (" , ,*/* ",),
    ],
)
async def test_an_unrestricted_client_gets_the_stored_manifest(
    client: httpx.AsyncClient, accept: tuple[str, ...]
) -> None:
    """No header, an empty one, wildcards, or every type; by tag and by digest."""
    await fill(client)
    for tag, (raw, media_type) in STORED.items():
        for reference in (tag, sha256(raw)):
            is_whole(await ask(client, reference, *accept), raw, media_type)


@pytest.mark.parametrize(
    "form", ["{0}", "{0};q=0.001", "text/html,{0}", "{0} ; charset=utf-8", "{0};q=", "*/*;q=0,{0}"]
)
async def test_the_type_itself_is_enough(client: httpx.AsyncClient, form: str) -> None:
    """With parameters, among others, or as the exception from an exclusion."""
    await fill(client)
    for tag, (raw, media_type) in STORED.items():
        is_whole(await ask(client, tag, form.format(media_type)), raw, media_type)


async def test_types_are_compared_without_case(client: httpx.AsyncClient) -> None:
    """Media types are case-insensitive (RFC 9110 section 8.3.1)."""
    await fill(client)
    is_whole(await ask(client, "index", OCI_INDEX.upper()), INDEX, OCI_INDEX)


async def test_several_headers_are_one_list(client: httpx.AsyncClient) -> None:
    """The type may be in any of them."""
    await fill(client)
    headers = (DOCKER_MANIFEST, OCI_MANIFEST, f"{DOCKER_LIST}, {OCI_INDEX}")
    is_whole(await ask(client, "index", *headers), INDEX, OCI_INDEX)


@pytest.mark.parametrize(
    ("tag", "accept", "child", "media_type"),
    [
        ("list", (OLD,), DOCKER_AMD64, DOCKER_MANIFEST),
        ("list", (f"{OLD}, application/vnd.docker.distribution.manifest.v1+prettyjws",),
         DOCKER_AMD64, DOCKER_MANIFEST),
        ("list", (OLD, OCI_MANIFEST), DOCKER_AMD64, DOCKER_MANIFEST),
        ("list", (f"{OLD}, {OCI_INDEX}",), DOCKER_AMD64, DOCKER_MANIFEST),
        ("list", (f"*/*, {DOCKER_LIST};q=0",), DOCKER_AMD64, DOCKER_MANIFEST),
        ("list", (f"application/*, {DOCKER_LIST};q=0.000",), DOCKER_AMD64, DOCKER_MANIFEST),
        ("index", (OCI_MANIFEST,), OCI_AMD64, OCI_MANIFEST),
        ("index", (OLD, OCI_MANIFEST), OCI_AMD64, OCI_MANIFEST),
        ("index", (f"{OCI_INDEX};q=0,{OCI_MANIFEST};q=1",), OCI_AMD64, OCI_MANIFEST),
    ],
)  # fmt: skip
async def test_a_client_of_single_images_gets_linux_amd64(
    client: httpx.AsyncClient, tag: str, accept: tuple[str, ...], child: bytes, media_type: str
) -> None:
    """For a list or index requested by tag, it gets the image of the default platform."""
    await fill(client)
    is_whole(await ask(client, tag, *accept), child, media_type)


async def test_a_head_request_is_negotiated_too(client: httpx.AsyncClient) -> None:
    """HEAD has the digest of the manifest that GET would send."""
    await fill(client)
    response = await client.head(f"{BASE}/manifests/list", headers={"Accept": OLD})
    assert response.headers["Docker-Content-Digest"] == sha256(DOCKER_AMD64)
    assert response.headers["Content-Length"] == str(len(DOCKER_AMD64))


async def test_a_condition_applies_to_the_negotiated_manifest(client: httpx.AsyncClient) -> None:
    """An old client that has the child gets 304; one that has the list does not."""
    await fill(client)
    for held, status in ((DOCKER_AMD64, 304), (LIST, 200)):
        headers = {"Accept": OLD, "If-None-Match": f'"{sha256(held)}"'}
        response = await client.get(f"{BASE}/manifests/list", headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize("accept", ["text/html", OCI_INDEX, "*/*;q=0", f"{OLD};q=0", "nonsense"])
async def test_a_docker_manifest_is_always_served(client: httpx.AsyncClient, accept: str) -> None:
    """Every client reads schema 2, and distribution always serves it."""
    await fill(client)
    for reference in ("docker", sha256(DOCKER_AMD64)):
        is_whole(await ask(client, reference, accept), DOCKER_AMD64, DOCKER_MANIFEST)


@pytest.mark.parametrize(
    ("reference", "accept", "media_type"),
    [
        ("oci", (OLD,), OCI_MANIFEST),
        ("oci", (OCI_INDEX,), OCI_MANIFEST),
        ("oci", ("text/html",), OCI_MANIFEST),
        ("oci", ("text/*", "*/*;q=0"), OCI_MANIFEST),
        ("oci", (f"*/*, {OCI_MANIFEST};q=0",), OCI_MANIFEST),
        (sha256(OCI_AMD64), (OLD,), OCI_MANIFEST),
        ("index", (OLD,), OCI_INDEX),
        ("index", (DOCKER_LIST,), OCI_INDEX),
        ("index", ("text/html",), OCI_INDEX),
        ("index", ("application/*;q=0", "text/html"), OCI_INDEX),
        (sha256(INDEX), (OCI_MANIFEST,), OCI_INDEX),
        ("list", (OCI_INDEX,), DOCKER_LIST),
        ("list", ("*/*;q=0",), DOCKER_LIST),
        (sha256(LIST), (OLD,), DOCKER_LIST),
        (sha256(LIST), (OLD, OCI_MANIFEST, OCI_INDEX), DOCKER_LIST),
        ("arm-only", (OLD,), DOCKER_LIST),
    ],
)
async def test_a_404_names_the_type_to_accept(
    client: httpx.AsyncClient, reference: str, accept: tuple[str, ...], media_type: str
) -> None:
    """A manifest that is not acceptable is 404; the message has the type and the header."""
    await fill(client)
    response = await ask(client, reference, *accept)
    assert refused(response) == (404, "MANIFEST_UNKNOWN")
    message = error(response)["message"]
    assert f"stored as {media_type}" in message
    assert f"Accept: {media_type}" in message
    again = await client.get(f"{BASE}/manifests/{reference}", headers={"Accept": media_type})
    assert again.status_code == 200


async def test_a_missing_child_is_not_served(client: httpx.AsyncClient) -> None:
    """If the default platform's image was deleted, an old client gets that 404."""
    await fill(client)
    assert (await client.delete(f"{BASE}/manifests/docker")).status_code == 202
    assert (await client.delete(f"{BASE}/manifests/{sha256(DOCKER_AMD64)}")).status_code == 202
    response = await client.get(f"{BASE}/manifests/list", headers={"Accept": OLD})
    assert refused(response) == (404, "MANIFEST_UNKNOWN")
    response = await client.get(f"{BASE}/manifests/list")
    assert response.content == LIST


@pytest.mark.parametrize("filler", ["a/b,", ";,", f"a/b{';q=1' * 100},"])
def test_the_number_of_media_ranges_is_limited(filler: str) -> None:
    """Clients accept a few types; parsing 32,000 would take as long as a thousand requests."""
    before = parse_accept((filler * 100 + OCI_INDEX,))
    behind = parse_accept((filler * 20_000 + OCI_INDEX,))
    assert before.allows(OCI_INDEX)
    assert not behind.ranges.get(OCI_INDEX)


async def test_responses_vary_by_accept(client: httpx.AsyncClient) -> None:
    """A cache must not serve one client's form to another."""
    await fill(client)
    response = await ask(client, "list", OLD)
    assert "accept" in response.headers["Vary"].lower()
