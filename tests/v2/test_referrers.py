"""Referrers: manifests with a given subject (spec, "Listing Referrers")."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.documents import image_index
from tests.support.wire import OCI_INDEX, OCI_MANIFEST, sha256
from tests.v2.pushes import (
    ABSENT,
    BASE,
    DIGEST,
    MANIFEST,
    artifact,
    digest_of,
    push_image,
    push_manifest,
    refused,
)
from tests.v2.test_listings import next_page

REFERRERS = f"{BASE}/referrers/{DIGEST}"
SBOM, SIGNATURE = "application/vnd.example.sbom.v1", "application/vnd.example.signature.v1"
NOTES = {"org.opencontainers.image.created": "2020-01-01T00:00:00Z", "z": "Zoë"}


async def listed(client: httpx.AsyncClient, target: str = REFERRERS) -> list[dict[str, Any]]:
    """Return the descriptors of one page."""
    response = await client.get(target)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == OCI_INDEX
    document = response.json()
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    return list(document["manifests"])


async def refer(client: httpx.AsyncClient, raw: bytes, media_type: str = OCI_MANIFEST) -> str:
    """Push a referrer by digest only; return its digest."""
    await push_manifest(client, sha256(raw), raw, media_type)
    return sha256(raw)


@pytest.mark.parametrize("target", [REFERRERS, f"{BASE}/referrers/{ABSENT}",
                                    f"/v2/nowhere/referrers/{DIGEST}",
                                    f"{BASE}/referrers/{digest_of(b'', 'sha512')}"])  # fmt: skip
async def test_no_referrers_is_an_empty_index(client: httpx.AsyncClient, target: str) -> None:
    """Never a 404: for a manifest without referrers, an unknown one, or an unknown repository."""
    await push_image(client)
    assert await listed(client, target) == []


@pytest.mark.parametrize(
    "digest", ["v1", "sha256:12", f"md5:{'0' * 32}", "sha256", f"sha256:{'G' * 64}"]
)
async def test_an_invalid_digest_is_refused(client: httpx.AsyncClient, digest: str) -> None:
    """A malformed or unsupported digest is 400."""
    await push_image(client)
    response = await client.get(f"{BASE}/referrers/{digest}")
    assert refused(response) == (400, "DIGEST_INVALID")


async def test_a_referrer_is_described(client: httpx.AsyncClient) -> None:
    """Type, size, digest, artifact type and all annotations."""
    await push_image(client)
    raw = artifact(MANIFEST, SBOM, NOTES)
    digest = await refer(client, raw)
    assert await listed(client) == [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(raw),
            "artifactType": SBOM,
            "annotations": NOTES,
        }
    ]


async def test_the_artifact_type_defaults_to_that_of_the_config(client: httpx.AsyncClient) -> None:
    """An image without `artifactType` is listed with its configuration's media type."""
    await push_image(client)
    raw = artifact(MANIFEST)
    await refer(client, raw)
    (entry,) = await listed(client)
    assert entry["artifactType"] == json.loads(raw)["config"]["mediaType"]
    assert "annotations" not in entry


@pytest.mark.parametrize("artifact_type", ["", SBOM])
async def test_an_index_is_a_referrer_too(client: httpx.AsyncClient, artifact_type: str) -> None:
    """It has no artifact type unless it sets one."""
    await push_image(client)
    document = json.loads(image_index({"amd64": MANIFEST}))
    document["subject"] = json.loads(artifact(MANIFEST))["subject"]
    if artifact_type:
        document["artifactType"] = artifact_type
    await refer(client, json.dumps(document).encode(), OCI_INDEX)
    (entry,) = await listed(client)
    assert entry["mediaType"] == OCI_INDEX
    assert entry.get("artifactType", "") == artifact_type


async def test_a_referrer_may_be_pushed_before_its_subject(client: httpx.AsyncClient) -> None:
    """In either order, it is listed."""
    late = artifact(None, SBOM, {"late": "subject"})
    await push_image(client)
    digest = await refer(client, artifact(late, SIGNATURE))
    target = f"{BASE}/referrers/{sha256(late)}"
    assert [entry["digest"] for entry in await listed(client, target)] == [digest]
    await push_manifest(client, "late", late)
    assert [entry["digest"] for entry in await listed(client, target)] == [digest]


async def test_a_deleted_referrer_is_not_listed(client: httpx.AsyncClient) -> None:
    """It is removed with its manifest; deleting the subject keeps its referrers."""
    await push_image(client)
    one = await refer(client, artifact(MANIFEST, SBOM))
    other = await refer(client, artifact(MANIFEST, SIGNATURE))
    assert (await client.delete(f"{BASE}/manifests/{one}")).status_code == 202
    assert [entry["digest"] for entry in await listed(client)] == [other]
    assert (await client.delete(f"{BASE}/manifests/{DIGEST}")).status_code == 202
    assert [entry["digest"] for entry in await listed(client)] == [other]


async def test_referrers_belong_to_a_repository(client: httpx.AsyncClient) -> None:
    """A referrer in one repository is none in another."""
    await push_image(client)
    await push_image(client, name="other")
    await refer(client, artifact(MANIFEST, SBOM))
    assert await listed(client, f"/v2/other/referrers/{DIGEST}") == []


@pytest.mark.parametrize(
    ("wanted", "count"),
    [(SBOM, 2), (SIGNATURE, 1), ("application/vnd.example.none", 0), ("%00%ff", 0),
     ("application/vnd.oci.image.config.v1%2Bjson", 1)],
)  # fmt: skip
async def test_a_filter(client: httpx.AsyncClient, wanted: str, count: int) -> None:
    """`artifactType` selects one type, possibly the configuration's, and a header says so."""
    await push_image(client)
    for raw in (
        artifact(MANIFEST, SBOM),
        artifact(MANIFEST, SBOM, NOTES),
        artifact(MANIFEST, SIGNATURE),
        artifact(MANIFEST),
    ):
        await refer(client, raw)
    target = f"{REFERRERS}?artifactType={wanted}"
    assert len(await listed(client, target)) == count
    assert (await client.get(target)).headers["OCI-Filters-Applied"] == "artifactType"


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
async def test_a_plus_in_the_type_need_not_be_escaped(client: httpx.AsyncClient, plus: str) -> None:
    """`application/vnd.x+json` is found with an escaped or plain plus, on every page."""
    await push_image(client)
    for note in "ab":
        await refer(client, artifact(MANIFEST, "application/vnd.x+json", {"n": note}))
    await refer(client, artifact(MANIFEST, SBOM))
    target: str | None = f"{REFERRERS}?artifactType=application/vnd.x{plus}json&n=1"
    found = []
    while target is not None:
        found += await listed(client, target)
        target = next_page(await client.get(target))
    assert [one["artifactType"] for one in found] == ["application/vnd.x+json"] * 2


@pytest.mark.parametrize("query", ["", "?artifactType="])
async def test_without_a_filter_no_header_says_so(client: httpx.AsyncClient, query: str) -> None:
    """OCI-Filters-Applied is absent."""
    await push_image(client)
    await refer(client, artifact(MANIFEST, SBOM))
    response = await client.get(f"{REFERRERS}{query}")
    assert "OCI-Filters-Applied" not in response.headers
    assert len(response.json()["manifests"]) == 1


@pytest.mark.parametrize("query", ["n=3", f"n=3&artifactType={SBOM}"])
async def test_following_the_links_gives_every_referrer_once(
    client: httpx.AsyncClient, query: str
) -> None:
    """Pages are indexes, and the links keep the filter."""
    await push_image(client)
    wanted = {await refer(client, artifact(MANIFEST, SBOM, {"n": str(n)})) for n in range(7)}
    await refer(client, artifact(MANIFEST, "" if "artifactType" in query else SBOM, {"n": "7"}))
    following: str | None = f"{REFERRERS}?{query}"
    found: list[str] = []
    while following is not None:
        response = await client.get(following)
        assert ("OCI-Filters-Applied" in response.headers) == ("artifactType" in query)
        page = [entry["digest"] for entry in response.json()["manifests"]]
        assert 0 < len(page) <= 3
        found += page
        following = next_page(response)
    assert len(found) == len(set(found)) == (7 if "artifactType" in query else 8)
    assert wanted <= set(found)


async def test_a_page_stays_small_enough_for_clients(client: httpx.AsyncClient) -> None:
    """Annotations in any script are spread over pages: clients accept an index of 4 MiB."""
    await push_image(client)
    wanted = set()
    for number in range(60):
        notes = {f"{number} {key}": "字" * 1000 for key in range(20)}
        wanted.add(await refer(client, artifact(MANIFEST, SBOM, notes)))
    following: str | None = REFERRERS
    found = []
    while following is not None:
        response = await client.get(following)
        assert len(response.content) <= (3 << 20) + 1000
        found += [entry["digest"] for entry in response.json()["manifests"]]
        following = next_page(response)
    assert sorted(found) == sorted(wanted)


async def test_listed_referrers_can_be_pulled(client: httpx.AsyncClient) -> None:
    """The descriptors have the digests and sizes of manifests in the repository."""
    await push_image(client)
    await refer(client, artifact(MANIFEST, SBOM))
    (entry,) = await listed(client)
    pulled = await client.get(f"{BASE}/manifests/{entry['digest']}")
    assert len(pulled.content) == entry["size"]
    assert pulled.headers["Content-Type"] == entry["mediaType"]
