"""The requests to both servers, in order, and the facts of each response that are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.documents import config_for, image_manifest
from tests.support.layers import compressed, tar_of
from tests.support.wire import DOCKER_MANIFEST, Answer, Wire, sha256, with_query

TAR = tar_of({"hello": b"world"})
LAYER = compressed(TAR)
CONFIG = config_for([TAR])
MANIFEST = image_manifest(CONFIG, [LAYER], DOCKER_MANIFEST)
NEWER = image_manifest(CONFIG, [LAYER], DOCKER_MANIFEST, note="newer")
UNKNOWN = sha256(b"never pushed")
HELD = "old/app"
"""An image that the original wrote to the volume before."""

_COMPARED = frozenset(
    (
        "allow",
        "content-type",
        "docker-content-digest",
        "docker-distribution-api-version",
        "link",
        "location",
        "accept-ranges",
        "oci-subject",
        "range",
        "strict-transport-security",
        "www-authenticate",
        "x-content-type-options",
        "x-frame-options",
        "content-security-policy",
    )
)

Facts = Mapping[str, str]


@dataclass(slots=True)
class Asking:
    """A running server, and a client's credentials for it."""

    wire: Wire
    prefix: str
    shown: Mapping[str, str]
    uploads: dict[str, Answer] = field(default_factory=dict)

    def is_answered(self) -> bool:
        """Tell whether the server answers; during its start, connections may be closed again."""
        try:
            self.wire.request("GET", "/")
        except OSError:
            return False
        return True

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Request a path below the prefix, as a user with access."""
        target = self.prefix + path
        return self.wire.request(method, target, body, {**self.shown, **(headers or {})})

    def ask_at(self, location: str, method: str, query: str = "", body: bytes = b"") -> Answer:
        """Request the path of a Location."""
        target = with_query(location, query) if query else location
        return self.wire.request(method, target, body, self.shown)

    def begin(self) -> Answer:
        """Start an upload."""
        return self.ask("POST", "/v2/new/app/blobs/uploads/", b"")

    def put_blob(self, content: bytes) -> Answer:
        """Upload a blob, as far as the server allows."""
        begun = self.begin()
        if begun.status != 202:
            return begun
        return self.ask_at(begun.header("Location"), "PUT", f"digest={sha256(content)}", content)


def facts(answer: Answer) -> Facts:
    """Return the facts of a response: the status with its error codes, and headers."""
    found = {"status": f"{answer.status} {_codes(answer.body)}".strip()}
    for name in sorted({each.title() for each in answer.headers}):
        if name.lower() in _COMPARED or name.startswith("Access-Control-"):
            found[name] = ", ".join(answer.headers.get_all(name, []))
    return found


def _codes(body: bytes) -> str:
    try:
        errors = json.loads(body)["errors"]
        return " ".join(error["code"] for error in errors)
    except (ValueError, KeyError, TypeError):
        return ""


def _with_body(answer: Answer) -> Facts:
    if answer.status != 200:
        # The codes of errors are compared, but not their messages.
        return facts(answer)
    return {**facts(answer), "body": answer.body.decode(errors="replace").strip()[:400]}


def _without_credentials(asking: Asking) -> Facts:
    return facts(asking.wire.request("GET", f"{asking.prefix}/v2/"))


def _wrong_credentials(asking: Asking) -> Facts:
    # ann:wrong
    headers = {"Authorization": "Basic YW5uOndyb25n"}
    return facts(asking.wire.request("GET", f"{asking.prefix}/v2/", None, headers))


def _options(asking: Asking) -> Facts:
    headers = {"Origin": "http://ui.example.com", "Access-Control-Request-Method": "DELETE"}
    target = f"{asking.prefix}/v2/old/app/manifests/v1"
    return facts(asking.wire.request("OPTIONS", target, None, headers))


def _upload(asking: Asking) -> Facts:
    asking.uploads["kept"] = asking.begin()
    return facts(asking.uploads["kept"])


def _behind_proxy(asking: Asking) -> Facts:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.example.com"}
    return facts(asking.ask("POST", "/v2/new/app/blobs/uploads/", b"", told))


def _chunk(asking: Asking) -> Facts:
    begun = asking.uploads["kept"]
    if begun.status != 202:
        return {"status": "no upload"}
    asking.uploads["kept"] = asking.ask_at(begun.header("Location"), "PATCH", body=LAYER[:9])
    return facts(asking.uploads["kept"])


def _upload_status(asking: Asking) -> Facts:
    at = asking.uploads["kept"]
    if at.status != 202:
        return {"status": "no upload"}
    return facts(asking.ask_at(at.header("Location"), "GET"))


def _cancel(asking: Asking) -> Facts:
    at = asking.uploads["kept"]
    if at.status != 202:
        return {"status": "no upload"}
    return facts(asking.ask_at(at.header("Location"), "DELETE"))


def _blobs(asking: Asking) -> Facts:
    asking.put_blob(CONFIG)
    return facts(asking.put_blob(LAYER))


def _push(asking: Asking, reference: str, content: bytes) -> Facts:
    path = f"/v2/new/app/manifests/{reference}"
    return facts(asking.ask("PUT", path, content, {"Content-Type": DOCKER_MANIFEST}))


def _mount(asking: Asking) -> Facts:
    path = f"/v2/new/app/blobs/uploads/?mount={sha256(LAYER)}&from={HELD}"
    return facts(asking.ask("POST", path, b""))


def _ranged(asking: Asking) -> Facts:
    return facts(
        asking.ask("GET", f"/v2/{HELD}/blobs/{sha256(LAYER)}", headers={"Range": "bytes=2-5"})
    )


def _get(path: str, accept: str = "") -> Callable[[Asking], Facts]:
    headers = {"Accept": accept} if accept else {}
    return lambda asking: facts(asking.ask("GET", path, headers=headers))


def _read(path: str) -> Callable[[Asking], Facts]:
    return lambda asking: _with_body(asking.ask("GET", path))


def _ask(method: str, path: str) -> Callable[[Asking], Facts]:
    return lambda asking: facts(asking.ask(method, path))


_OLD = f"/v2/{HELD}"

QUESTIONS: Mapping[str, Callable[[Asking], Facts]] = {
    "without credentials": _without_credentials,
    "wrong credentials": _wrong_credentials,
    "base": _read("/v2/"),
    "root": lambda asking: facts(asking.wire.request("GET", "/", None, asking.shown)),
    "no final slash": _get("/v2"),
    "two slashes": _get("//v2/"),
    "options": _options,
    "catalog": _read("/v2/_catalog"),
    "catalog page": _get("/v2/_catalog?n=1"),
    "tags": _read(f"{_OLD}/tags/list"),
    "tags of an unknown repository": _get("/v2/unknown/app/tags/list"),
    "manifest by tag": _get(f"{_OLD}/manifests/v1", DOCKER_MANIFEST),
    "manifest without Accept": _get(f"{_OLD}/manifests/v1"),
    "head of a manifest": _ask("HEAD", f"{_OLD}/manifests/{sha256(MANIFEST)}"),
    "unknown manifest": _get(f"{_OLD}/manifests/v9"),
    "blob": _get(f"{_OLD}/blobs/{sha256(LAYER)}"),
    "part of a blob": _ranged,
    "unknown blob": _get(f"{_OLD}/blobs/{UNKNOWN}"),
    "name in capitals": _get("/v2/Old/App/manifests/v1"),
    "wrong digest": _get(f"{_OLD}/blobs/sha256:12"),
    "wrong method": _ask("PUT", "/v2/_catalog"),
    "unknown path": _get(f"{_OLD}/nothing"),
    "upload": _upload,
    "upload, told of a proxy": _behind_proxy,
    "chunk": _chunk,
    "status of an upload": _upload_status,
    "cancel of an upload": _cancel,
    "blobs": _blobs,
    "mount": _mount,
    "push": lambda asking: _push(asking, "v1", MANIFEST),
    "push by digest": lambda asking: _push(asking, sha256(NEWER), NEWER),
    "push of nonsense": lambda asking: _push(asking, "v2", b"{}"),
    "pushed": _read("/v2/new/app/tags/list"),
    "delete of a tag": _ask("DELETE", f"{_OLD}/manifests/v1"),
    "delete of a manifest": _ask("DELETE", f"{_OLD}/manifests/{sha256(MANIFEST)}"),
    "delete of a blob": _ask("DELETE", f"{_OLD}/blobs/{sha256(CONFIG)}"),
    "deleted": _get(f"{_OLD}/manifests/{sha256(MANIFEST)}"),
}
