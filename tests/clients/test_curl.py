"""What curl receives from the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.support.curl import CurlAnswer, curl
from tests.support.documents import config_for, image_index, image_manifest
from tests.support.layers import compressed, tar_of
from tests.support.servers import LiveServer
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live]

OCTETS = "Content-Type: application/octet-stream"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository holding one Docker schema 2 image as `v1`."""

    url: str
    layer: bytes
    manifest: bytes

    def blob(self, content: bytes) -> str:
        """Return the URL of a blob."""
        return f"{self.url}/blobs/{sha256(content)}"


@pytest.fixture
def pushed(server: LiveServer, repository: str) -> Repository:
    """Give a repository with one image, pushed with the raw client."""
    tar = tar_of({"digits": b"0123456789" * 10})
    layer, config = compressed(tar), config_for([tar])
    manifest = image_manifest(config, [layer], DOCKER_MANIFEST)
    for blob in (layer, config):
        server.wire.push_blob(repository, blob)
    server.wire.push_manifest(repository, "v1", manifest, DOCKER_MANIFEST)
    return Repository(f"{server.url}/v2/{repository}", layer, manifest)


def location(server: LiveServer, answer: CurlAnswer) -> str:
    """Return the absolute URL of the next step, whether Location is relative or not."""
    value = str(answer.headers["Location"])
    return value if value.startswith("http") else server.url + value


def joined(url: str, query: str) -> str:
    """Add a query to a URL that may have one."""
    return f"{url}{'&' if '?' in url else '?'}{query}"


def test_the_base_names_its_api_version(server: LiveServer) -> None:
    """`/v2/` answers 200 and names the protocol."""
    answer = curl(f"{server.url}/v2/")
    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert json.loads(answer.body) == {}


@pytest.mark.usefixtures("beyond_the_peer")
def test_a_manifest_without_an_accept_header(pushed: Repository) -> None:
    """curl's own `Accept: */*`, and no Accept at all, give the manifest as it was pushed."""
    for arguments in ([], ["-H", "Accept:"]):
        answer = curl(*arguments, f"{pushed.url}/manifests/v1")
        assert (answer.status, answer.body) == (200, pushed.manifest)
        assert answer.headers["Content-Type"] == DOCKER_MANIFEST


def test_a_manifest_with_its_type_in_accept(pushed: Repository) -> None:
    """The bytes hash to the digest in the header, by tag and by digest."""
    digest = sha256(pushed.manifest)
    for reference in ("v1", digest):
        answer = curl("-H", f"Accept: {DOCKER_MANIFEST}", f"{pushed.url}/manifests/{reference}")
        assert answer.status == 200
        assert sha256(answer.body) == answer.headers["Docker-Content-Digest"] == digest


def test_head_of_a_manifest_and_a_blob(pushed: Repository) -> None:
    """HEAD answers the length and digest of what GET would, and no body."""
    accept = ["-H", f"Accept: {DOCKER_MANIFEST}"]
    for url, content in (
        (f"{pushed.url}/manifests/v1", pushed.manifest),
        (pushed.blob(pushed.layer), pushed.layer),
    ):
        answer = curl("--head", *accept, url)
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Docker-Content-Digest"] == sha256(content)
        assert answer.body == b""


def test_a_conditional_get_of_a_manifest(pushed: Repository) -> None:
    """With the ETag of before, nothing is sent again."""
    url, accept = f"{pushed.url}/manifests/v1", ["-H", f"Accept: {DOCKER_MANIFEST}"]
    etag = curl(*accept, url).headers["ETag"]
    answer = curl(*accept, "-H", f"If-None-Match: {etag}", url)
    assert (answer.status, answer.body) == (304, b"")


def test_an_index_for_a_client_of_single_images(
    server: LiveServer, repository: str, pushed: Repository
) -> None:
    """A manifest list asked for as one image answers the linux/amd64 image and its digest."""
    document = image_index({"amd64": pushed.manifest}, DOCKER_LIST)
    server.wire.push_manifest(repository, "multi", document, DOCKER_LIST)
    answer = curl("-H", f"Accept: {DOCKER_MANIFEST}", f"{pushed.url}/manifests/multi")
    assert (answer.status, answer.body) == (200, pushed.manifest)
    assert answer.headers["Docker-Content-Digest"] == sha256(pushed.manifest)
    assert answer.headers["Content-Type"] == DOCKER_MANIFEST


@pytest.mark.usefixtures("beyond_the_peer")
def test_a_404_caused_by_accept_names_the_type_to_send(server: LiveServer, repository: str) -> None:
    """The message names the stored type and the header that would have worked."""
    config = config_for([])
    server.wire.push_blob(repository, config)
    manifest = image_manifest(config, [], OCI_MANIFEST)
    server.wire.push_manifest(repository, "v1", manifest, OCI_MANIFEST)
    url = f"{server.url}/v2/{repository}/manifests/v1"
    answer = curl("-H", f"Accept: {OCI_INDEX}", url)
    error = json.loads(answer.body)["errors"][0]
    assert (answer.status, error["code"]) == (404, "MANIFEST_UNKNOWN")
    assert f"Accept: {OCI_MANIFEST}" in error["message"]


@pytest.mark.parametrize(
    ("wanted", "first", "last"), [("0-9", 0, 9), ("10-", 10, None), ("-7", -7, None)]
)
def test_ranges_of_a_blob(pushed: Repository, wanted: str, first: int, last: int | None) -> None:
    """`curl -r` gives the bytes asked for, and says where they lie."""
    answer = curl("-r", wanted, pushed.blob(pushed.layer))
    size = len(pushed.layer)
    begin = first % size
    end = last if last is not None else size - 1
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {begin}-{end}/{size}"
    assert answer.body == pushed.layer[begin : end + 1]


@pytest.mark.usefixtures("beyond_the_peer")
def test_a_range_behind_the_end(pushed: Repository) -> None:
    """416 names the size there is."""
    size = len(pushed.layer)
    answer = curl("-r", f"{size}-", pushed.blob(pushed.layer))
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"


def test_a_chunked_upload_by_hand(server: LiveServer, repository: str) -> None:
    """POST, PATCH, PATCH, PUT: the parts in order are the blob."""
    content = b"first part, " + b"second part"
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    assert begun.status == 202
    first = curl("-X", "PATCH", "-H", OCTETS, "--data-binary", "@-",
                 location(server, begun), body=content[:12])  # fmt: skip
    assert (first.status, first.headers["Range"]) == (202, "0-11")
    second = curl("-X", "PATCH", "-H", OCTETS, "-H", "Content-Range: 12-22", "--data-binary", "@-",
                  location(server, first), body=content[12:])  # fmt: skip
    assert (second.status, second.headers["Range"]) == (202, "0-22")
    finish = joined(location(server, second), f"digest={sha256(content)}")
    done = curl("-X", "PUT", "-H", "Content-Length: 0", finish)
    assert done.status == 201
    assert done.headers["Docker-Content-Digest"] == sha256(content)
    assert curl(location(server, done)).body == content


def test_a_streamed_chunk(server: LiveServer, repository: str) -> None:
    """A PATCH without a length, `curl -T -`, is taken as it comes."""
    content = b"streamed " * 100_000
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    patched = curl("-X", "PATCH", "-H", OCTETS, "-T", "-", location(server, begun), body=content)
    assert (patched.status, patched.headers["Range"]) == (202, f"0-{len(content) - 1}")
    finish = joined(location(server, patched), f"digest={sha256(content)}")
    assert curl("-X", "PUT", finish).status == 201
    got = curl(f"{server.url}/v2/{repository}/blobs/{sha256(content)}")
    assert got.body == content


def test_a_monolithic_upload(server: LiveServer, repository: str) -> None:
    """POST, then PUT of everything."""
    content = b"all at once"
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    finish = joined(location(server, begun), f"digest={sha256(content)}")
    done = curl("-X", "PUT", "-H", OCTETS, "--data-binary", "@-", finish, body=content)
    assert done.status == 201
    assert curl(f"{server.url}/v2/{repository}/blobs/{sha256(content)}").body == content


@pytest.mark.usefixtures("beyond_the_peer")
def test_a_single_post(server: LiveServer, repository: str) -> None:
    """POST with the digest and the bytes is enough."""
    content = b"in one request"
    url = f"{server.url}/v2/{repository}/blobs/uploads/?digest={sha256(content)}"
    done = curl("-X", "POST", "-H", OCTETS, "--data-binary", "@-", url, body=content)
    assert done.status == 201
    assert curl(location(server, done)).body == content


def test_a_script_adds_the_digest_with_an_ampersand(server: LiveServer, repository: str) -> None:
    """`"$location&digest=…"`, as published scripts have it, without resolving the Location."""
    content = b"by a script"
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    sent = curl("-X", "PATCH", "-H", OCTETS, "--data-binary", "@-",
                begun.headers["Location"], body=content)  # fmt: skip
    done = curl("-X", "PUT", f"{sent.headers['Location']}&digest={sha256(content)}")
    assert done.status == 201
    assert curl(done.headers["Location"]).body == content


def test_a_chunk_that_curl_sends_twice(server: LiveServer, repository: str) -> None:
    """Refused the second time, at the same URL; what is held is what was sent once."""
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    chunk = ("-X", "PATCH", "-H", OCTETS, "--data-binary", "@-", begun.headers["Location"])
    first, second = curl(*chunk, body=b"once"), curl(*chunk, body=b"once")
    assert (first.status, second.status) in {(202, 416), (202, 404)}
    assert curl(first.headers["Location"]).headers["Range"] == "0-3"
    done = curl("-X", "PUT", f"{first.headers['Location']}&digest={sha256(b'once')}")
    assert done.status == 201


def test_double_slashes_are_followed(pushed: Repository, server: LiveServer) -> None:
    """A URL with an empty segment, or one slash too many, leads to the plain one."""
    for url in (f"{server.url}//v2/", f"{server.url}/v2//_catalog", f"{pushed.url}/tags/list/"):
        moved = curl(url)
        assert moved.status == 301
        assert curl(f"{server.url}{moved.headers['Location']}").status == 200


@pytest.mark.usefixtures("beyond_the_peer")
def test_http_1_0_has_a_relative_location(server: LiveServer, repository: str) -> None:
    """Proxies speak it that say nothing of themselves."""
    begun = curl("--http1.0", "-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    assert begun.headers["Location"].startswith(f"/v2/{repository}/blobs/uploads/")


def test_a_wrong_digest_is_refused(server: LiveServer, repository: str) -> None:
    """Bytes that do not hash to what was said are not stored."""
    begun = curl("-X", "POST", f"{server.url}/v2/{repository}/blobs/uploads/")
    finish = joined(location(server, begun), f"digest={sha256(b'promised')}")
    answer = curl("-X", "PUT", "-H", OCTETS, "--data-binary", "@-", finish, body=b"sent")
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert curl(f"{server.url}/v2/{repository}/blobs/{sha256(b'promised')}").status == 404


def test_delete_of_a_manifest_and_a_blob(pushed: Repository) -> None:
    """What was deleted is unknown afterwards, and the tag with it."""
    manifest = f"{pushed.url}/manifests/{sha256(pushed.manifest)}"
    assert curl("-X", "DELETE", manifest).status == 202
    for url in (manifest, f"{pushed.url}/manifests/v1"):
        answer = curl("-H", f"Accept: {DOCKER_MANIFEST}", url)
        assert (answer.status, code(answer)) == (404, "MANIFEST_UNKNOWN")
    blob = pushed.blob(pushed.layer)
    assert curl("-X", "DELETE", blob).status == 202
    answer = curl(blob)
    assert (answer.status, code(answer)) == (404, "BLOB_UNKNOWN")


@pytest.mark.usefixtures("beyond_the_peer")
def test_delete_of_a_tag_keeps_the_image(pushed: Repository) -> None:
    """Without its tag the image is still there by its digest."""
    assert curl("-X", "DELETE", f"{pushed.url}/manifests/v1").status == 202
    assert curl(f"{pushed.url}/manifests/v1").status == 404
    answer = curl(f"{pushed.url}/manifests/{sha256(pushed.manifest)}")
    assert (answer.status, answer.body) == (200, pushed.manifest)


def test_tags_and_catalog(server: LiveServer, repository: str, pushed: Repository) -> None:
    """The lists name the tag and the repository."""
    assert json.loads(curl(f"{pushed.url}/tags/list").body) == {"name": repository, "tags": ["v1"]}
    catalog = json.loads(curl(f"{server.url}/v2/_catalog?n=1000").body)
    assert repository in catalog["repositories"]


def code(answer: CurlAnswer) -> str:
    """Return the error code of an answer."""
    return str(json.loads(answer.body)["errors"][0]["code"])
