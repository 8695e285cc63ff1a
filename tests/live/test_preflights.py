"""What a browser asks before a page of another origin may push or delete, as Chromium sends it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import users
from tests.support.secrets import keep
from tests.support.servers import DistributionServer, RegistryServer
from tests.support.wire import Answer, Wire

pytestmark = pytest.mark.live

PASSWORD = keep("correct horse 4")
ORIGIN = "https://ui.example.com"
DIGEST = f"sha256:{'0' * 64}"
# Numbers and booleans as people write them.
HEADERS = {
    "Access-Control-Allow-Origin": [ORIGIN],
    "Access-Control-Allow-Methods": ["HEAD", "GET", "OPTIONS", "DELETE"],
    "Access-Control-Allow-Headers": ["Authorization", "Accept", "Cache-Control"],
    "Access-Control-Max-Age": [1728000],
    "Access-Control-Allow-Credentials": [True],
    "Access-Control-Expose-Headers": ["Docker-Content-Digest"],
}
PREFLIGHT = {
    "Accept": "*/*",
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "accept,authorization",
    "Origin": ORIGIN,
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Dest": "empty",
    "Referer": f"{ORIGIN}/",
}
ASKED = ("/v2/", "/v2/app/manifests/v1", f"/v2/app/manifests/{DIGEST}", f"/v2/app/blobs/{DIGEST}",
         "/v2/app/tags/list", "/v2/_catalog", "/v2/app/blobs/uploads/")  # fmt: skip


def sections(folder: Path, http: Mapping[str, object], **more: object) -> dict[str, object]:
    """Return a configuration with one user, and what is `http`."""
    path = folder / "users"
    path.write_text(users.lines({"ann": PASSWORD}))
    auth = {"htpasswd": {"realm": "tests", "path": str(path)}}
    return {"version": "0.1", "auth": auth, "http": dict(http), **more}


def allows(answer: Answer, method: str) -> bool:
    """Decide as a browser does (Fetch, "CORS-preflight fetch"), for a request with credentials."""

    def listed(name: str) -> set[str]:
        lines = answer.headers.get_all(f"Access-Control-Allow-{name}") or []
        return {each.strip().lower() for line in lines for each in line.split(",")}

    return (
        200 <= answer.status < 300
        and answer.headers.get_all("Access-Control-Allow-Origin") == [ORIGIN]
        and answer.headers["Access-Control-Allow-Credentials"] == "true"
        and method.lower() in listed("Methods")
        and {"accept", "authorization"} <= listed("Headers")
    )


def logged_in() -> dict[str, str]:
    """Return the header that shows the user's password."""
    return {"Authorization": f"Basic {base64.b64encode(f'ann:{PASSWORD}'.encode()).decode()}"}


class DistributionWithHeaders(DistributionServer):
    """registry:2 with the same headers and user."""

    def _config(self) -> dict[str, object]:
        http = {"addr": self.address, "secret": self.secret, "headers": HEADERS}
        return {**super()._config(), **sections(self.folder, http)}


@pytest.mark.parametrize("prefix", ["", "/registry"])
def test_a_page_may_delete_where_headers_say_so(tmp_path: Path, prefix: str) -> None:
    """The preflight shows no credentials, and is answered before they are asked for."""
    more = {
        "audit": {"enabled": True, "file": str(tmp_path / "audit.log")},
        "limits": {"requests": {"perclient": 1000, "burst": 1000}},
    }
    config = sections(tmp_path, {"headers": HEADERS, "prefix": f"{prefix}/"}, **more)
    with RegistryServer(tmp_path / "ours", config=json.dumps(config)) as server:
        for path in ASKED:
            answer = server.wire.expect(200, "OPTIONS", prefix + path, headers=PREFLIGHT)
            assert allows(answer, "DELETE"), path
            assert answer.body == b""
            assert answer.header("Allow")
        path = f"{prefix}/v2/app/tags/list"
        refused = server.wire.expect(401, "GET", path, headers={"Origin": ORIGIN})
        assert refused.header("Access-Control-Allow-Origin") == ORIGIN
        page = {"Origin": ORIGIN, "Accept": "application/json, " + "a/b, " * 60, **logged_in()}
        server.wire.expect(404, "GET", path, headers=page)
        assert server.wire.request("OPTIONS", "/elsewhere", headers=PREFLIGHT).status == 404
    assert not (tmp_path / "audit.log").exists()


def test_answers_are_those_of_registry_2(tmp_path: Path) -> None:
    """With credentials both answer OPTIONS alike; without, a browser could not ask theirs."""
    (tmp_path / "theirs").mkdir()
    config = json.dumps(sections(tmp_path, {"headers": HEADERS}))
    theirs = DistributionWithHeaders(tmp_path / "theirs")
    with theirs, RegistryServer(tmp_path / "ours", config=config) as ours:
        for path in ASKED:
            shown = {**PREFLIGHT, **logged_in()}
            expected = theirs.wire.request("OPTIONS", path, headers=shown)
            answer = ours.wire.request("OPTIONS", path, headers=shown)
            assert (answer.status, _cors(answer)) == (expected.status, _cors(expected)), path
            assert theirs.wire.request("OPTIONS", path, headers=PREFLIGHT).status == 401


def _cors(answer: Answer) -> list[tuple[str, str]]:
    named = ((name.lower(), value) for name, value in answer.headers.items())
    return sorted(line for line in named if line[0].startswith("access-control-"))


def test_without_such_headers_options_asks_for_credentials(tmp_path: Path) -> None:
    """As registry:2 does; with `http.cors` its own preflight comes first."""
    with RegistryServer(tmp_path / "ours", config=json.dumps(sections(tmp_path, {}))) as server:
        server.wire.expect(401, "OPTIONS", "/v2/app/tags/list", headers=PREFLIGHT)
        answer = server.wire.expect(200, "OPTIONS", "/v2/app/tags/list", headers=logged_in())
        assert answer.header("Allow") == "GET, HEAD"
    http = {"headers": HEADERS, "cors": {"origins": [ORIGIN], "credentials": True}}
    with RegistryServer(tmp_path / "cors", config=json.dumps(sections(tmp_path, http))) as server:
        answer = server.wire.expect(204, "OPTIONS", "/v2/app/tags/list", headers=PREFLIGHT)
        assert allows(answer, "PUT")
        assert _options(server.wire, "https://other.example.com").status == 200


def _options(wire: Wire, origin: str) -> Answer:
    return wire.request("OPTIONS", "/v2/", headers={**PREFLIGHT, "Origin": origin})
