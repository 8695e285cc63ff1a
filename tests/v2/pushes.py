"""Pushes that the tests of the wire need, and helpers for responses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx

from tests.support.documents import config_for, image_manifest
from tests.support.wire import DOCKER_MANIFEST, OCI_MANIFEST, path_of, sha256, with_query

NAME = "library/app"
BASE = f"/v2/{NAME}"
ORIGIN = "http://registry"  # where clients of the tests ask
UPLOADS = f"{BASE}/blobs/uploads/"
ABSENT = sha256(b"never pushed")

LAYER = b"0123456789"
CONFIG = config_for([LAYER])
MANIFEST = image_manifest(CONFIG, [LAYER])
DIGEST = sha256(MANIFEST)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest text of `content` with any algorithm."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def error(response: httpx.Response) -> dict[str, Any]:
    """Return the only error of an envelope."""
    errors = response.json()["errors"]
    assert len(errors) == 1, errors
    return cast("dict[str, Any]", errors[0])


def code(response: httpx.Response) -> str:
    """Return the code of the only error of an envelope."""
    return str(error(response)["code"])


def refused(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a response with one error."""
    assert response.is_client_error, (response.status_code, response.content)
    return response.status_code, code(response)


async def push_blob(
    client: httpx.AsyncClient, content: bytes, name: str = NAME, algorithm: str = "sha256"
) -> str:
    """Push a blob with one request; return its digest."""
    digest = digest_of(content, algorithm)
    target = f"/v2/{name}/blobs/uploads/?digest={digest}"
    response = await client.post(target, content=content)
    assert response.status_code == 201, response.text
    return digest


async def push_manifest(
    client: httpx.AsyncClient,
    reference: str,
    raw: bytes,
    media_type: str = OCI_MANIFEST,
    name: str = NAME,
) -> httpx.Response:
    """Push a manifest whose blobs exist; return the response."""
    target = f"/v2/{name}/manifests/{reference}"
    response = await client.put(target, content=raw, headers={"Content-Type": media_type})
    assert response.status_code == 201, response.text
    return response


async def push_image(
    client: httpx.AsyncClient, *tags: str, raw: bytes = MANIFEST, name: str = NAME
) -> None:
    """Push the layer, the configuration and their manifest, with each of `tags`."""
    await push_blob(client, LAYER, name)
    await push_blob(client, CONFIG, name)
    media_type = str(json.loads(raw)["mediaType"])
    for tag in tags or ("v1",):
        await push_manifest(client, tag, raw, media_type, name)


async def begin(client: httpx.AsyncClient, query: str = "", name: str = NAME) -> str:
    """Start an upload session; return its path, which stays valid."""
    response = await client.post(f"/v2/{name}/blobs/uploads/{query}")
    assert response.status_code == 202, response.text
    return path_of(response.headers["Location"])


def finishing(location: str, content: bytes, algorithm: str = "sha256") -> str:
    """Return the URL that finishes an upload of `content`."""
    return with_query(location, f"digest={digest_of(content, algorithm)}")


def artifact(
    subject: bytes | None,
    artifact_type: str = "",
    annotations: Mapping[str, str] | None = None,
    layers: Sequence[bytes] = (),
) -> bytes:
    """Return an OCI manifest that refers to `subject`; its configuration is CONFIG."""
    document = json.loads(image_manifest(CONFIG, layers))
    if subject is not None:
        document["subject"] = {
            "mediaType": OCI_MANIFEST,
            "size": len(subject),
            "digest": sha256(subject),
        }
    if artifact_type:
        document["artifactType"] = artifact_type
    if annotations is not None:
        document["annotations"] = dict(annotations)
    return json.dumps(document).encode()


def docker_image(layers: Sequence[bytes] = (LAYER,)) -> bytes:
    """Return a Docker schema 2 manifest of CONFIG and `layers`."""
    return image_manifest(CONFIG, layers, DOCKER_MANIFEST)
