"""Manifests and their types: the document and its Content-Type must agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import httpx
import pytest

from tests.support.documents import image_index
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256
from tests.v2.pushes import (
    BASE,
    CONFIG,
    LAYER,
    MANIFEST,
    docker_image,
    error,
    push_image,
    push_manifest,
    refused,
)

TARGET = f"{BASE}/manifests/pushed"
VENDOR = "application/vnd."
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
Document: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Document], object]

DOCKER = docker_image()
INDEX = image_index({"amd64": MANIFEST})
LIST = image_index({"amd64": DOCKER}, DOCKER_LIST)
ALL = {DOCKER_MANIFEST: DOCKER, OCI_MANIFEST: MANIFEST, OCI_INDEX: INDEX, DOCKER_LIST: LIST}
IMAGE, CHILDREN = json.loads(MANIFEST), json.loads(INDEX)


async def fill(client: httpx.AsyncClient) -> None:
    """Push the content that the documents refer to."""
    await push_image(client, sha256(MANIFEST))
    await push_manifest(client, sha256(DOCKER), DOCKER, DOCKER_MANIFEST)


async def put(client: httpx.AsyncClient, raw: bytes, content_type: str | None) -> httpx.Response:
    """Push `raw` with a tag, with or without a Content-Type."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    return await client.put(TARGET, content=raw, headers=headers)


def with_(document: Document, **fields: object) -> bytes:
    """Return a document with some fields replaced; `...` removes one."""
    changed = {**document, **fields}
    return json.dumps({key: value for key, value in changed.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "form", ["{}", "{}; charset=utf-8", "{};a=b", "{} ", "application/json", "", None]
)
async def test_the_document_has_its_type(client: httpx.AsyncClient, form: str | None) -> None:
    """Its own type with or without parameters, `application/json` or none: stored unchanged."""
    await fill(client)
    for media_type, raw in ALL.items():
        declared = None if form is None else form.format(media_type)
        assert (await put(client, raw, declared)).status_code == 201, declared
        response = await client.get(TARGET)
        assert (response.content, response.headers["Content-Type"]) == (raw, media_type)


@pytest.mark.parametrize(("document", "media_type"), [(IMAGE, OCI_MANIFEST), (CHILDREN, OCI_INDEX)])
@pytest.mark.parametrize("declared", [True, False])
async def test_without_a_media_type_the_shape_decides(
    client: httpx.AsyncClient, document: Document, media_type: str, declared: bool
) -> None:
    """A config makes it an OCI manifest, a list of manifests an OCI index."""
    await fill(client)
    raw = with_(document, mediaType=...)
    assert (await put(client, raw, media_type if declared else None)).status_code == 201
    response = await client.get(TARGET)
    assert (response.content, response.headers["Content-Type"]) == (raw, media_type)


CONTRADICTIONS: list[tuple[bytes, str]] = [
    (MANIFEST, DOCKER_MANIFEST),
    (MANIFEST, OCI_INDEX),
    (DOCKER, OCI_MANIFEST),
    (INDEX, OCI_MANIFEST),
    (INDEX, DOCKER_LIST),
    (LIST, OCI_INDEX),
    (MANIFEST, "text/plain"),
    (MANIFEST, "application/octet-stream"),
    (MANIFEST, SCHEMA1),
    (with_(IMAGE, mediaType=...), OCI_INDEX),
    (with_(IMAGE, mediaType=...), DOCKER_MANIFEST),
    (with_(CHILDREN, mediaType=...), OCI_MANIFEST),
    (with_(CHILDREN, mediaType=OCI_MANIFEST), OCI_MANIFEST),
    (with_(IMAGE, mediaType=OCI_INDEX), OCI_INDEX),
    (with_(IMAGE, mediaType=SCHEMA1, schemaVersion=1), SCHEMA1),
    (with_(IMAGE, mediaType="application/vnd.example+json"), "application/vnd.example+json"),
    (with_(IMAGE, mediaType=""), DOCKER_MANIFEST),
]


async def test_a_contradictory_type_is_refused(client: httpx.AsyncClient) -> None:
    """Content-Type, `mediaType` and shape disagree, or the type is unknown."""
    await fill(client)
    for raw, content_type in CONTRADICTIONS:
        response = await put(client, raw, content_type)
        assert refused(response) == (400, "MANIFEST_INVALID"), (raw, content_type)
    assert (await client.get(TARGET)).status_code == 404


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX, None])
@pytest.mark.parametrize(
    ("document", "other"),
    [(IMAGE, "manifests"), (CHILDREN, "config"), (CHILDREN, "layers")],
)
async def test_a_document_of_two_shapes_is_refused(
    client: httpx.AsyncClient, document: Document, other: str, media_type: str | None
) -> None:
    """Both a manifest and an index, with any type (CVE-2021-41190)."""
    await fill(client)
    raw = with_(document, mediaType=media_type or ..., **{other: {**IMAGE, **CHILDREN}.get(other)})
    assert refused(await put(client, raw, media_type)) == (400, "MANIFEST_INVALID")


NO_MANIFESTS: list[bytes] = [
    b"", b"{", b"null", b"[]", b'"text"', b"1", b"{}", b"\xff\xfe", b"\x00",
    b'{"schemaVersion": 2}', b"[" * 100_000, b'{"a":' * 100_000,
    MANIFEST + b"x", MANIFEST + MANIFEST, b"\xef\xbb\xbf" + MANIFEST,
    MANIFEST.decode().encode("utf-16"),
    MANIFEST.replace(b"{", b'{"schemaVersion": 2,', 1),
    MANIFEST.replace(b'"size"', b'"size": 1, "size"', 1),
    with_(IMAGE, schemaVersion=2).replace(b"2", b"NaN", 1),
    with_(IMAGE, schemaVersion=2).replace(b"2", b"9" * 5000, 1),
    b'{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[],"signatures":[]}',
]  # fmt: skip


async def test_an_invalid_document_is_refused(client: httpx.AsyncClient) -> None:
    """Empty, not JSON, nested too deeply, duplicate keys, huge numbers, schema 1."""
    await fill(client)
    for raw in NO_MANIFESTS:
        assert refused(await put(client, raw, None)) == (400, "MANIFEST_INVALID"), raw[:200]


WRONG: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e300,
    2**70,
    "",
    "x",
    [],
    {},
    [None],
    [[]],
    {"a": None},
]
FIELDS: dict[str, tuple[Change, tuple[object, ...]]] = {
    # Each field with the path to it, and the values of WRONG that are valid there.
    "schemaVersion": (lambda d: d, ()),
    "mediaType": (lambda d: d, (None, "")),
    "config": (lambda d: d, ()),
    "layers": (lambda d: d, (None, [])),
    "subject": (lambda d: d, tuple(WRONG)),
    "artifactType": (lambda d: d, tuple(WRONG)),
    "annotations": (lambda d: d, (None, {}, {"a": None})),
    "config.mediaType": (lambda d: d["config"], (None, "", "x")),
    "config.digest": (lambda d: d["config"], ()),
    "config.size": (lambda d: d["config"], (None, 0, -1)),
    "config.urls": (lambda d: d["config"], (None, [], [None])),
    "config.annotations": (lambda d: d["config"], (None, {}, {"a": None})),
    "config.platform": (lambda d: d["config"], (None, {}, {"a": None})),
    "layers.0.mediaType": (lambda d: d["layers"][0], (None, "", "x")),
    "layers.0.digest": (lambda d: d["layers"][0], ()),
    "layers.0.size": (lambda d: d["layers"][0], (None, 0, -1)),
    "layers.0.urls": (lambda d: d["layers"][0], (None, [])),
    "subject.digest": (lambda d: d["subject"], tuple(WRONG)),
    "subject.size": (lambda d: d["subject"], tuple(WRONG)),
    "subject.mediaType": (lambda d: d["subject"], tuple(WRONG)),
}


@pytest.mark.parametrize("path", FIELDS)
async def test_a_field_of_the_wrong_type(client: httpx.AsyncClient, path: str) -> None:
    """Every field with every wrong type: 400 with the name of the field, never a server error."""
    await fill(client)
    reach, right = FIELDS[path]
    for value in WRONG:
        document = json.loads(MANIFEST)
        document["subject"] = dict(document["config"])
        reach(document)[path.rpartition(".")[2]] = value  # type: ignore[index]
        response = await put(client, json.dumps(document).encode(), None)
        if any(value == one and type(value) is type(one) for one in right):
            assert response.status_code == 201, (path, value, response.text)
        else:
            assert refused(response) == (400, "MANIFEST_INVALID"), (path, value)
            named = "type" if path == "mediaType" else path.partition(".")[0].lower()
            message = error(response)["message"].lower()
            assert named in message or "the url ''" in message, (path, value)


@pytest.mark.parametrize("key", ["config", "layers", "manifests"])
async def test_a_missing_part(client: httpx.AsyncClient, key: str) -> None:
    """An image needs its config, but no layers; an index needs no list."""
    await fill(client)
    document = CHILDREN if key == "manifests" else IMAGE
    response = await put(client, with_(document, **{key: ...}), str(document["mediaType"]))
    assert response.status_code == (400 if key == "config" else 201)


async def test_unknown_fields_survive(client: httpx.AsyncClient) -> None:
    """The bytes are stored unchanged."""
    await fill(client)
    raw = with_(IMAGE, future={"deep": [1, {"er": None}]}, data=" " * 3) + b"\n\n "
    assert (await put(client, raw, OCI_MANIFEST)).status_code == 201
    assert (await client.get(TARGET)).content == raw


@pytest.mark.parametrize(
    ("config_type", "layer_type"),
    [
        (f"{VENDOR}cncf.helm.config.v1+json", f"{VENDOR}cncf.helm.chart.content.v1.tar+gzip"),
        (f"{VENDOR}docker.plugin.v1+json", f"{VENDOR}docker.image.rootfs.diff.tar.gzip"),
        (f"{VENDOR}wasm.config.v0+json", "application/wasm"),
        (f"{VENDOR}oci.empty.v1+json", "application/spdx+json"),
        ("anything at all", ""),
    ],
)  # fmt: skip
async def test_config_and_layer_types_are_free(
    client: httpx.AsyncClient, config_type: str, layer_type: str
) -> None:
    """Charts, plugins, WASM, SBOMs: any media type is stored."""
    await fill(client)
    document = json.loads(MANIFEST)
    document["config"]["mediaType"] = config_type
    document["layers"][0]["mediaType"] = layer_type
    assert (await put(client, json.dumps(document).encode(), OCI_MANIFEST)).status_code == 201


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
@pytest.mark.parametrize("urls", [["https://example.com/layer"], []])
async def test_a_foreign_layer_need_not_be_a_member(
    client: httpx.AsyncClient, media_type: str, urls: list[str]
) -> None:
    """Clients fetch it from its URLs; a layer without URLs must be a member."""
    await fill(client)
    document = json.loads(DOCKER)
    layer = {"mediaType": media_type, "size": 7, "digest": sha256(b"foreign"), "urls": urls}
    document["layers"].append(layer)
    response = await put(client, json.dumps(document).encode(), DOCKER_MANIFEST)
    if urls:
        assert response.status_code == 201
    else:
        assert refused(response) == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_an_index_needs_its_children(client: httpx.AsyncClient) -> None:
    """A missing child is named; one in another repository does not count."""
    await push_image(client, "v1", name="elsewhere")
    response = await put(client, INDEX, OCI_INDEX)
    assert refused(response) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert error(response)["detail"] == {"digest": sha256(MANIFEST)}


async def test_nested_and_empty_indexes_are_stored(client: httpx.AsyncClient) -> None:
    """Neither needs an image."""
    await fill(client)
    empty = image_index({})
    assert (await put(client, empty, OCI_INDEX)).status_code == 201
    nested = json.loads(INDEX)
    entry = {"mediaType": OCI_INDEX, "size": len(empty), "digest": sha256(empty)}
    nested["manifests"].append(entry)
    assert (await put(client, json.dumps(nested).encode(), OCI_INDEX)).status_code == 201


async def test_a_blob_is_no_child_and_a_manifest_no_layer(client: httpx.AsyncClient) -> None:
    """An index lists manifests of the repository, an image its blobs."""
    await fill(client)
    child = json.loads(INDEX)
    child["manifests"][0]["digest"] = sha256(LAYER)
    layer = json.loads(MANIFEST)
    layer["layers"][0]["digest"] = sha256(DOCKER)
    for document in (child, layer):
        response = await put(client, json.dumps(document).encode(), None)
        assert refused(response) == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_a_layer_named_twice_is_missing_once(client: httpx.AsyncClient) -> None:
    """Each missing digest is reported once."""
    document = json.loads(MANIFEST)
    document["layers"] *= 3
    response = await put(client, json.dumps(document).encode(), None)
    named = [one["detail"]["digest"] for one in response.json()["errors"]]
    assert named == [sha256(CONFIG), sha256(LAYER)]
