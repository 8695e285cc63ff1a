"""Limits of one request: the size of a manifest, its references, the pace of its body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from registry_server.config import Settings
from registry_server.config.validation import Invalid, validated
from registry_server.http.extensions import SET_PACE, Pace
from registry_server.limits import BodyPace
from registry_server.serving.http1.pace import DEFAULT
from registry_server.wiring.app import build, manifest_rules
from storage.values.manifest_policy import MOST_REFERENCES
from storage.values.manifests import LARGEST_MANIFEST, MANIFEST_LIMIT, OCI_INDEX
from tests.limits.asking import ask, at_once
from tests.support.drivers import AnyDriver

MANIFEST = "/v2/app/manifests/v1"
HEADERS = {"Content-Type": OCI_INDEX}


@asynccontextmanager
async def _served(
    driver: AnyDriver, manifests: Mapping[str, Any], **sections: Any
) -> AsyncIterator[httpx.AsyncClient]:
    settings = validated(Settings, {"limits": {"manifests": manifests}, **sections})
    transport = httpx.ASGITransport(app=await asyncio.to_thread(build, settings, driver))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        yield client


def _index(children: int, padding: int = 0) -> bytes:
    """Return an index of that many images, none of which exists."""
    listed = [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
         "digest": f"sha256:{number:064x}"}
        for number in range(children)
    ]  # fmt: skip
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    return json.dumps(document | {"annotations": {"x": "x" * padding}}).encode()


def _said(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["errors"][0]
    return answer.status_code, error["code"], error["message"]


@pytest.mark.parametrize("disabled", [True, False])
async def test_the_references_of_a_manifest_are_limited(driver: AnyDriver, disabled: bool) -> None:
    """It is refused before any reference is looked up, whatever the other rules."""
    validation = {"disabled": disabled}
    async with _served(driver, {"references": 3}, validation=validation) as client:
        status, code, message = _said(
            await client.put(MANIFEST, content=_index(4), headers=HEADERS)
        )
        assert (status, code) == (400, "MANIFEST_INVALID")
        assert "refers to 4 blobs and manifests" in message
        assert "at most 3" in message
        answer = await client.put(MANIFEST, content=_index(3), headers=HEADERS)
        if disabled:
            assert answer.status_code == 201
        else:
            assert _said(answer)[:2] == (400, "MANIFEST_BLOB_UNKNOWN")


async def test_the_default_is_above_honest_manifests(driver: AnyDriver) -> None:
    """Ten thousand references are accepted, one more is not; without a limit the size counts."""
    validation = {"manifests": {"indexes": {"platforms": "none"}}}
    async with _served(driver, {}, validation=validation) as client:
        for count, expected in ((MOST_REFERENCES, 201), (MOST_REFERENCES + 1, 400)):
            answer = await client.put(MANIFEST, content=_index(count), headers=HEADERS)
            assert answer.status_code == expected
    async with _served(driver, {"references": 0}, validation=validation) as client:
        answer = await client.put(MANIFEST, content=_index(12_000), headers=HEADERS)
        assert answer.status_code == 201


@pytest.mark.parametrize(("size", "largest"), [("64KiB", 64 << 10), ("6MiB", 6 << 20)])
async def test_the_size_of_a_manifest_is_limited(
    driver: AnyDriver, size: str, largest: int
) -> None:
    """One byte more is 413; a stored manifest is served after the limit is lowered."""
    most = _index(0, largest - len(_index(0)))
    async with _served(driver, {"size": size}) as client:
        answer = await client.put(MANIFEST, content=most.replace(b"xx", b"xxx", 1), headers=HEADERS)
        assert _said(answer)[:2] == (413, "SIZE_INVALID")
        assert (await client.put(MANIFEST, content=most, headers=HEADERS)).status_code == 201
    async with _served(driver, {"size": "64KiB"}) as client:
        assert (await client.get(MANIFEST, headers={"Accept": OCI_INDEX})).content == most


def test_all_copies_of_the_defaults_are_equal() -> None:
    """The configuration imports neither the storage nor the server, so it has copies."""
    limits = Settings().limits
    assert Pace(limits.bodies.least, limits.bodies.within.total_seconds()) == DEFAULT
    assert limits.manifests.size == MANIFEST_LIMIT
    assert limits.manifests.references == MOST_REFERENCES
    validated(Settings, {"limits": {"manifests": {"size": LARGEST_MANIFEST}}})
    with pytest.raises(Invalid):
        validated(Settings, {"limits": {"manifests": {"size": LARGEST_MANIFEST + 1}}})


@pytest.mark.parametrize("validation", [{}, {"disabled": True}])
def test_references_are_limited_whatever_is_validated(validation: dict[str, Any]) -> None:
    """The limit does not depend on `validation`."""
    limits = {"manifests": {"references": 7}}
    settings = validated(Settings, {"limits": limits, "validation": validation})
    assert manifest_rules(settings).most_references == 7


async def test_the_server_gets_the_pace_of_bodies() -> None:
    """Another server is left alone."""
    told: list[Pace] = []
    app = at_once()
    wrapped = BodyPace(app, Pace(7, 5.0))

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await wrapped({**scope, SET_PACE: told.append}, receive, send)

    assert (await ask(serve)).status == 200
    assert told == [Pace(7, 5.0)]
    assert (await ask(wrapped)).status == 200
    assert (len(told), app.seen) == (1, 2)


@pytest.mark.parametrize(
    "limits",
    [
        {"bodies": {"least": -1}},
        {"bodies": {"least": "2MiB"}},
        {"bodies": {"least": "much"}},
        {"bodies": {"within": "500ms"}},
        {"bodies": {"within": "60"}},
        {"manifests": {"size": 4}},
        {"manifests": {"size": "4M"}},
        {"manifests": {"size": "1GiB"}},
        {"manifests": {"references": -1}},
    ],
)
def test_invalid_limits_are_refused(limits: dict[str, Any]) -> None:
    """Neither too small nor too large values are accepted."""
    with pytest.raises(Invalid):
        validated(Settings, {"limits": limits})
