"""Manifests: pull, check, push and delete, by tag and by digest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from storage.values.manifests import MANIFEST_LIMIT
from tests.support.documents import image_manifest
from tests.support.wire import DOCKER_MANIFEST, OCI_MANIFEST, sha256
from tests.v2.pushes import (
    ABSENT,
    BASE,
    CONFIG,
    DIGEST,
    LAYER,
    MANIFEST,
    ORIGIN,
    artifact,
    digest_of,
    push_blob,
    push_image,
    push_manifest,
    refused,
)

OTHER = image_manifest(CONFIG, [LAYER], note="other")
BY_TAG, BY_DIGEST = f"{BASE}/manifests/v1", f"{BASE}/manifests/{DIGEST}"


@pytest.mark.parametrize("target", [BY_TAG, BY_DIGEST])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_manifest_is_pulled_as_pushed(
    client: httpx.AsyncClient, method: str, target: str
) -> None:
    """The exact bytes, or their length, with type, digest and ETag."""
    await push_image(client, "v1")
    response = await client.request(method, target)
    assert response.status_code == 200
    assert response.content == (MANIFEST if method == "GET" else b"")
    assert response.headers["Content-Length"] == str(len(MANIFEST))
    assert response.headers["Content-Type"] == OCI_MANIFEST
    assert response.headers["Docker-Content-Digest"] == DIGEST
    assert response.headers["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (f"{BASE}/manifests/v2", 404, "MANIFEST_UNKNOWN"),
        (f"{BASE}/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/nowhere/manifests/{DIGEST}", 404, "MANIFEST_UNKNOWN"),
        (f"{BASE}/manifests/{sha256(LAYER)}", 404, "MANIFEST_UNKNOWN"),
        (f"{BASE}/manifests/sha256:{DIGEST[7:].upper()}", 400, "DIGEST_INVALID"),
        (f"{BASE}/manifests/sha256:12", 400, "DIGEST_INVALID"),
        (f"{BASE}/manifests/md5:{'0' * 32}", 400, "DIGEST_INVALID"),
        (f"{BASE}/manifests/-v1", 400, "TAG_INVALID"),
        (f"{BASE}/manifests/{'t' * 129}", 400, "TAG_INVALID"),
        ("/v2/Upper/manifests/v1", 400, "NAME_INVALID"),
        (f"/v2/{'n' * 256}/manifests/v1", 400, "NAME_INVALID"),
    ],
)
async def test_an_unknown_manifest_and_an_invalid_reference(
    client: httpx.AsyncClient, target: str, status: int, code: str
) -> None:
    """Unknown is 404, malformed 400; blobs and manifests of other repositories are unknown."""
    await push_image(client, "v1")
    assert refused(await client.get(target)) == (status, code)
    assert refused(await client.delete(target)) == (status, code)
    assert (await client.head(target)).status_code == status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "condition",
    [f'"{DIGEST}"', DIGEST, f'W/"{DIGEST}"', f'"other", "{DIGEST}"', f'"x",W/"{DIGEST}" , "y"',
     "*"],
)  # fmt: skip
async def test_if_none_match_with_the_digest_is_304(
    client: httpx.AsyncClient, method: str, condition: str
) -> None:
    """With the digest quoted, bare, weak, in a list, or `*`."""
    await push_image(client, "v1")
    response = await client.request(method, BY_TAG, headers={"If-None-Match": condition})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == f'"{DIGEST}"'
    assert response.headers["Docker-Content-Digest"] == DIGEST


@pytest.mark.parametrize("condition", [f'"{ABSENT}"', DIGEST[:-1], f'"{DIGEST[7:]}"', "", '""'])
async def test_if_none_match_with_another_tag_is_200(
    client: httpx.AsyncClient, condition: str
) -> None:
    """Including a malformed one."""
    await push_image(client, "v1")
    response = await client.get(BY_TAG, headers={"If-None-Match": condition})
    assert (response.status_code, response.content) == (200, MANIFEST)


async def test_if_none_match_in_two_headers(client: httpx.AsyncClient) -> None:
    """Several headers are one list."""
    await push_image(client, "v1")
    headers = [("If-None-Match", f'"{ABSENT}"'), ("If-None-Match", f'"{DIGEST}"')]
    assert (await client.get(BY_TAG, headers=headers)).status_code == 304


async def test_if_none_match_of_an_unknown_manifest_is_404(client: httpx.AsyncClient) -> None:
    """Also with `If-None-Match: *`."""
    response = await client.get(BY_TAG, headers={"If-None-Match": "*"})
    assert refused(response) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("reference", ["v1", DIGEST])
async def test_a_push_answers_location_and_digest(
    client: httpx.AsyncClient, reference: str
) -> None:
    """201 with a Location by digest, which can be pulled."""
    await push_blob(client, LAYER)
    await push_blob(client, CONFIG)
    response = await push_manifest(client, reference, MANIFEST)
    assert response.headers["Location"] == f"{ORIGIN}{BY_DIGEST}"
    assert response.headers["Docker-Content-Digest"] == DIGEST
    assert response.headers["Content-Length"] == "0"
    assert "OCI-Subject" not in response.headers
    assert "OCI-Tag" not in response.headers
    assert (await client.get(response.headers["Location"])).content == MANIFEST


async def test_a_repeated_push_changes_nothing(client: httpx.AsyncClient) -> None:
    """The same manifest may be pushed any number of times."""
    await push_image(client, "v1", "v1")
    assert (await client.get(BY_TAG)).content == MANIFEST


async def test_a_tag_moves_and_the_old_manifest_stays(client: httpx.AsyncClient) -> None:
    """After a push of another manifest with the tag, the first one remains by digest."""
    await push_image(client, "v1")
    await push_manifest(client, "v1", OTHER)
    assert (await client.get(BY_TAG)).content == OTHER
    assert (await client.get(BY_DIGEST)).content == MANIFEST


async def test_many_tags_in_one_push(client: httpx.AsyncClient) -> None:
    """A push by digest may have tags; repeated ones count once, and OCI-Tag lists them."""
    await push_image(client, "first")
    tags = [f"t{number}" for number in range(12)]
    query = "&".join(f"tag={tag}" for tag in [*tags, "t3"])
    response = await push_manifest(client, f"{DIGEST}?{query}", MANIFEST)
    assert response.headers["OCI-Tag"].split(", ") == tags
    for tag in tags:
        assert (await client.get(f"{BASE}/manifests/{tag}")).content == MANIFEST


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("tag=good&tag=-bad", 400, "TAG_INVALID"),
        ("tag=good&tag=", 400, "TAG_INVALID"),
        ("&".join(f"tag=t{number}" for number in range(101)), 414, "TAG_INVALID"),
    ],
)
async def test_an_invalid_tag_refuses_the_push(
    client: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    """One invalid tag, or too many, and nothing is stored."""
    await push_blob(client, LAYER)
    await push_blob(client, CONFIG)
    response = await client.put(f"{BY_DIGEST}?{query}", content=MANIFEST)
    assert refused(response) == (status, code)
    for reference in ("good", "t1", DIGEST):
        assert (await client.get(f"{BASE}/manifests/{reference}")).status_code == 404


async def test_a_tag_in_the_path_ignores_tags_in_the_query(client: httpx.AsyncClient) -> None:
    """`?tag=` is for a push by digest."""
    await push_image(client, "v1")
    response = await push_manifest(client, "v2?tag=v3", MANIFEST)
    assert "OCI-Tag" not in response.headers
    assert (await client.get(f"{BASE}/manifests/v3")).status_code == 404


async def test_a_manifest_by_its_sha512(client: httpx.AsyncClient) -> None:
    """Pushed with a sha512 digest, it is pulled, tagged and deleted by that digest."""
    await push_blob(client, LAYER)
    await push_blob(client, CONFIG)
    digest = digest_of(MANIFEST, "sha512")
    response = await push_manifest(client, f"{digest}?tag=v1", MANIFEST)
    assert response.headers["Docker-Content-Digest"] == digest
    for reference in (digest, "v1"):
        pulled = await client.get(f"{BASE}/manifests/{reference}")
        assert (pulled.content, pulled.headers["Docker-Content-Digest"]) == (MANIFEST, digest)
    assert (await client.delete(f"{BASE}/manifests/{digest}")).status_code == 202
    assert (await client.get(BY_TAG)).status_code == 404


async def test_a_push_with_another_digest(client: httpx.AsyncClient) -> None:
    """Bytes that do not hash to the digest of the path are refused."""
    await push_image(client, "v1")
    response = await client.put(f"{BASE}/manifests/{ABSENT}", content=MANIFEST)
    assert refused(response) == (400, "DIGEST_INVALID")
    assert (await client.get(f"{BASE}/manifests/{ABSENT}")).status_code == 404


@pytest.mark.parametrize("subject", [MANIFEST, b"not there yet"])
async def test_a_subject_is_confirmed(client: httpx.AsyncClient, subject: bytes) -> None:
    """OCI-Subject has the subject, whether or not it exists."""
    await push_image(client, "v1")
    response = await push_manifest(client, "signature", artifact(subject))
    assert response.headers["OCI-Subject"] == sha256(subject)


def padded(size: int) -> bytes:
    """Return a manifest of exactly `size` bytes."""
    return image_manifest(CONFIG, [LAYER], note="x" * (size - len(OTHER) + len("other")))


async def streamed(content: bytes) -> AsyncIterator[bytes]:
    """Yield a body whose length is not declared."""
    for start in range(0, len(content), 1 << 18):
        yield content[start : start + (1 << 18)]


async def test_four_mebibytes_are_accepted(client: httpx.AsyncClient) -> None:
    """A manifest of exactly the limit is stored and can be pulled."""
    await push_image(client, "v1")
    raw = padded(MANIFEST_LIMIT)
    assert len(raw) == 4 * 1024 * 1024
    await push_manifest(client, "large", raw)
    assert (await client.get(f"{BASE}/manifests/large")).content == raw


@pytest.mark.parametrize("declared", [True, False])
async def test_more_than_four_mebibytes_are_refused(
    client: httpx.AsyncClient, declared: bool
) -> None:
    """One byte over the limit is 413, declared or streamed."""
    await push_image(client, "v1")
    raw = padded(MANIFEST_LIMIT + 1)
    content = raw if declared else streamed(raw)
    headers = {"Content-Type": OCI_MANIFEST}
    response = await client.put(f"{BASE}/manifests/large", content=content, headers=headers)
    assert refused(response) == (413, "SIZE_INVALID")
    assert (await client.get(f"{BASE}/manifests/large")).status_code == 404


async def test_each_missing_reference_is_named(client: httpx.AsyncClient) -> None:
    """MANIFEST_BLOB_UNKNOWN for each blob that is not in the repository; nothing is stored."""
    await push_blob(client, LAYER, name="elsewhere")
    response = await client.put(BY_TAG, content=MANIFEST)
    assert response.status_code == 400
    errors = response.json()["errors"]
    assert [one["code"] for one in errors] == ["MANIFEST_BLOB_UNKNOWN"] * 2
    missing = [one["detail"]["digest"] for one in errors]
    assert missing == [sha256(CONFIG), sha256(LAYER)]
    assert (await client.get(BY_TAG)).status_code == 404


async def test_delete_of_a_tag(client: httpx.AsyncClient) -> None:
    """Only the tag is deleted: its digest and other tags remain."""
    await push_image(client, "v1", "v2")
    assert (await client.delete(BY_TAG)).status_code == 202
    assert refused(await client.get(BY_TAG)) == (404, "MANIFEST_UNKNOWN")
    for reference in ("v2", DIGEST):
        assert (await client.get(f"{BASE}/manifests/{reference}")).status_code == 200
    assert refused(await client.delete(BY_TAG)) == (404, "MANIFEST_UNKNOWN")


async def test_delete_of_a_digest(client: httpx.AsyncClient) -> None:
    """The manifest and every tag that points to it are deleted, and no others."""
    await push_image(client, "v1", "v2")
    await push_manifest(client, "kept", OTHER)
    assert (await client.delete(BY_DIGEST)).status_code == 202
    for reference in (DIGEST, "v1", "v2"):
        assert (await client.get(f"{BASE}/manifests/{reference}")).status_code == 404
    tags = (await client.get(f"{BASE}/tags/list")).json()["tags"]
    assert tags == ["kept"]
    assert refused(await client.delete(BY_DIGEST)) == (404, "MANIFEST_UNKNOWN")


async def test_a_deleted_manifest_can_be_pushed_again(client: httpx.AsyncClient) -> None:
    """It can be pulled again."""
    await push_image(client, "v1")
    await client.delete(BY_DIGEST)
    await push_manifest(client, "v1", MANIFEST)
    assert (await client.get(BY_TAG)).content == MANIFEST


async def test_a_docker_manifest_keeps_its_type(client: httpx.AsyncClient) -> None:
    """Docker schema 2 is stored and served with its type."""
    raw = image_manifest(CONFIG, [LAYER], DOCKER_MANIFEST)
    await push_image(client, "v1", raw=raw)
    response = await client.get(BY_TAG)
    assert (response.content, response.headers["Content-Type"]) == (raw, DOCKER_MANIFEST)
