"""Any request gets a response below 500, and the layout on disk stays valid.

OpenAPI cannot describe the paths of the wire, so the requests are not generated from a document:
they are built here from the words of the endpoints and from arbitrary texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.wiring.app import build
from tests.support.drivers import AnyDriver
from tests.support.wire import OCI_MANIFEST, path_of, sha256
from tests.v2.asgi import Answer, Request, ask
from tests.v2.layout import strangers
from tests.v2.pushes import ABSENT, BASE, CONFIG, DIGEST, LAYER, MANIFEST, UPLOADS

fuzzed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

ID = "01234567-89ab-4def-8123-456789abcdef"
# A parser decodes paths with "replace", so they have no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
words = st.sampled_from(
    ["v2", "library", "app", "blobs", "uploads", "manifests", "tags", "list", "referrers",
     "_catalog", "_uploads", "_manifests", "..", ".", "", "\0", "a\0b", "\n", "é", "…", "a" * 256,
     "a" * 5000, "v1", DIGEST, ABSENT, f"sha512:{'0' * 128}", "sha256:", "md5:0", ID, ID.upper(),
     "%2e%2e", "..\\..", "C:", "a/../../b", "con", "-", "a b", "+", "?", "#", "startedat"]
)  # fmt: skip
segments = words | texts
paths = st.lists(segments, max_size=9).map(lambda parts: "/" + "/".join(parts))
endpoints = st.sampled_from(
    ["/v2/{}", "/v2/{}/manifests/{}", "/v2/{}/blobs/{}", "/v2/{}/blobs/uploads/",
     "/v2/{}/blobs/uploads/{}", "/v2/{}/tags/list", "/v2/{}/referrers/{}", "/v2/_catalog",
     f"{BASE}/manifests/{{}}", f"{BASE}/blobs/{{}}", f"{UPLOADS}{{}}", f"{BASE}/referrers/{{}}"]
)  # fmt: skip
targets = paths | st.builds(lambda form, a, b: form.format(a, b), endpoints, segments, segments)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) | texts
keys = st.sampled_from([b"n", b"last", b"digest", b"mount", b"from", b"tag", b"artifactType",
                        b"digest-algorithm", b"_state", b"ns"])  # fmt: skip
values = st.binary(max_size=30) | segments.map(str.encode)
queries = st.binary(max_size=60) | st.lists(st.tuples(keys, values), max_size=4).map(
    lambda pairs: b"&".join(key + b"=" + value for key, value in pairs)
)
names = st.sampled_from(
    [b"range", b"if-range", b"if-none-match", b"accept", b"content-type", b"content-length",
     b"content-range", b"host", b"x-forwarded-host", b"x-forwarded-proto", b"authorization",
     b"transfer-encoding", b"expect", b"cookie", b"user-agent", b"accept-encoding"]
)  # fmt: skip
fields = st.sampled_from(
    [b"bytes=0-", b"bytes=-5", b"bytes=1-2,4-5", b"bytes=9-1", b"0-9", b"bytes 0-9/10", b"5-5",
     b"*/*", b"*/*;q=0", OCI_MANIFEST.encode(), b'"' + DIGEST.encode() + b'"', b"*", b"W/", b"-1",
     b"1" * 30, b",,;;==", b"\xff\xfe", b"\xc3\xa9", b"", b"q=", b"a/b;q=\xb2"]
) | st.binary(max_size=30)  # fmt: skip
headers = st.lists(st.tuples(names, fields), max_size=5)
bodies = st.sampled_from([b"", LAYER, CONFIG, MANIFEST, b"{", b"null"]) | st.binary(max_size=50)
requests = st.builds(Request, methods, targets, queries, headers, bodies)


@pytest.fixture
async def app(driver: AnyDriver) -> ASGIApp:
    """Serve each driver in turn, with an image in it."""
    made = build(validated(Settings, {"storage": {"delete": {"enabled": True}}}), driver)
    for blob in (LAYER, CONFIG):
        await ask(made, Request("POST", UPLOADS, f"digest={sha256(blob)}".encode(), (), blob))
    answer = await ask(made, Request("PUT", f"{BASE}/manifests/v1", body=MANIFEST))
    assert answer.status == 201
    return made


def is_proper(request: Request, answer: Answer) -> None:
    """Check a response to any request: no server error, and errors in the envelope."""
    assert 200 <= answer.status < 500, answer
    if answer.status >= 400:
        document = json.loads(answer.body)
        assert all({"code", "message"} <= set(one) for one in document["errors"])
    for name, value in answer.headers.items():
        assert b"\r" not in name + value
        assert b"\n" not in name + value


@given(request=requests)
@fuzzed
async def test_any_request_is_answered(app: ASGIApp, tmp_path: Path, request: Request) -> None:
    """No method, path, query, header or body causes a server error or writes outside the layout."""
    is_proper(request, await ask(app, request))
    assert strangers(tmp_path) == []


@given(text=texts, method=st.sampled_from(["POST", "PUT", "GET", "DELETE", "PATCH"]))
@fuzzed
async def test_a_refused_name_leaves_no_trace(
    app: ASGIApp, tmp_path: Path, text: str, method: str
) -> None:
    """An invalid name, tag, digest or id creates no file and no folder."""
    before = sorted(tmp_path.rglob("*"))
    for path in (f"/v2/{text}/Ä/blobs/uploads/", f"{BASE}/manifests/-{text}",
                 f"{BASE}/blobs/-{text}", f"{UPLOADS}-{text}", f"{BASE}/referrers/-{text}",
                 f"/v2/../{text}/manifests/v1"):  # fmt: skip
        answer = await ask(app, Request(method, path, b"digest=" + DIGEST.encode(), (), MANIFEST))
        # Distribution redirects a path that has `//` or `..`.
        assert answer.status == 301 or 400 <= answer.status < 500
    assert sorted(tmp_path.rglob("*")) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([DIGEST, ABSENT, sha256(LAYER), OCI_MANIFEST, 2, 2**64, "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
places = st.sampled_from(
    [(), ("config",), ("layers",), ("layers", 0), ("subject",), ("annotations",)]
)
field_names = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType",
     "annotations", "size", "digest", "urls", "platform", "data", "fsLayers", "x"]
)  # fmt: skip


def planted(place: tuple[str | int, ...], field: str, value: object) -> bytes:
    """Return MANIFEST with a value somewhere in it."""
    document: Any = json.loads(MANIFEST)
    document["subject"] = dict(document["config"])
    document["annotations"] = {"a": "b"}
    inner = document
    for step in place:
        inner = inner[step]
    inner.append(value) if isinstance(inner, list) else inner.update({field: value})
    return json.dumps(document).encode()


manifests = st.builds(planted, places, field_names, json_values) | json_values.map(
    lambda value: json.dumps(value).encode()
)


@given(raw=manifests, content_type=st.sampled_from([b"", OCI_MANIFEST.encode()]))
@fuzzed
async def test_any_json_is_stored_as_it_is_or_refused(
    app: ASGIApp, raw: bytes, content_type: bytes
) -> None:
    """A value anywhere in a manifest: 201 and the same bytes, or 400; and listings still work."""
    path = f"{BASE}/manifests/{sha256(raw)}"
    kind = [(b"content-type", content_type)]
    answer = await ask(app, Request("PUT", path, headers=kind, body=raw))
    assert answer.status in {201, 400}, answer
    stored = await ask(app, Request("GET", path))
    assert stored.status == (200 if answer.status == 201 else 404)
    if stored.status == 200:
        assert stored.body == raw
    for subject in (DIGEST, sha256(CONFIG)):
        listed = await ask(app, Request("GET", f"{BASE}/referrers/{subject}"))
        assert listed.status == 200
        json.loads(listed.body)


@given(
    bounds=st.lists(st.binary(max_size=12) | fields, min_size=1, max_size=3),
    sent=st.lists(st.binary(max_size=20), max_size=3),
)
@fuzzed
async def test_an_upload_survives_any_content_range(
    app: ASGIApp, bounds: list[bytes], sent: list[bytes]
) -> None:
    """Whatever the header says, the session has the accepted bytes, and can be finished."""
    begun = await ask(app, Request("POST", UPLOADS))
    location = path_of(begun.headers[b"location"].decode())
    held = b""
    for said, body in zip(bounds, sent, strict=False):
        chunk = Request("PATCH", location, headers=[(b"content-range", said)], body=body)
        answer = await ask(app, chunk)
        assert answer.status in {202, 400, 416}
        held += body if answer.status == 202 else b""
    done = await ask(app, Request("PUT", location, f"digest={sha256(held)}".encode()))
    assert done.status == 201
    pulled = await ask(app, Request("GET", f"{BASE}/blobs/{sha256(held)}"))
    assert pulled.body == held


def test_the_check_of_the_layout_finds_strangers(tmp_path: Path) -> None:
    """A stray file, an invalid name and one that is too long are found."""
    repositories = tmp_path / "docker/registry/v2/repositories"
    for folder in ("Upper", "a/..b", "/".join(["n" * 200] * 2), "fine/_uploads"):
        (repositories / folder).mkdir(parents=True)
    (repositories / "fine/_uploads/data").touch()
    (tmp_path / "outside").touch()
    found = {path.rpartition("/")[2] for path in strangers(tmp_path)}
    assert found == {"Upper", "..b", "n" * 200, "data", "outside"}
