"""Vulnerabilities of other registries or their libraries: one test for each.

Each docstring names the advisory, or the commit that fixed it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import bcrypt
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from registry_server.access.interfaces import Action, Grants
from registry_server.access.robots import RobotStore
from registry_server.access.tokens.bearer import LEEWAY, LIFETIME, TokenIssuer
from registry_server.access.tokens.signing_keys import VerificationKey, load_signing_key, to_jwk
from registry_server.access.users.htpasswd import HtpasswdUsers
from registry_server.access.users.htpasswd_file import watch_htpasswd
from storage.values.manifests import MANIFEST_LIMIT
from tests.access.conftest import DELETABLE, PASSWORDS, USERS, Files, Guarded, basic, bearer
from tests.support.app import lived
from tests.support.documents import image_manifest
from tests.support.drivers import AnyDriver
from tests.support.secrets import Heard, keep, nothing_told, private_lines
from tests.support.wire import OCI_INDEX, OCI_MANIFEST, path_of, sha256
from tests.v2.pushes import ABSENT, CONFIG, DIGEST, LAYER, MANIFEST, refused

BLOB = sha256(LAYER)
OTHER = image_manifest(CONFIG, [LAYER], note="another")
JSON = {"Content-Type": OCI_MANIFEST}
TOKENS = "/auth/token"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


async def push(
    client: httpx.AsyncClient,
    name: str,
    reference: str = "v1",
    raw: bytes = MANIFEST,
    shown: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Push an image, by default as the administrator; return the last response."""
    shown = basic("admin") if shown is None else shown
    for content in (LAYER, CONFIG):
        target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
        pushed = await client.post(target, content=content, headers=shown)
        assert pushed.status_code == 201, pushed.text
    return await put(client, name, reference, raw, shown)


async def put(
    client: httpx.AsyncClient, name: str, reference: str, raw: bytes, shown: Mapping[str, str]
) -> httpx.Response:
    """Push only a manifest."""
    target = f"/v2/{name}/manifests/{reference}"
    return await client.put(target, content=raw, headers={**JSON, **shown})


async def leads_to(client: httpx.AsyncClient, name: str, tag: str) -> str:
    """Return the digest of a tag, or ""."""
    answer = await client.head(f"/v2/{name}/manifests/{tag}", headers=basic("admin"))
    return str(answer.headers.get("docker-content-digest", ""))


async def token(
    client: httpx.AsyncClient, scope: str, shown: Mapping[str, str], **more: str
) -> dict[str, Any]:
    """Request a token; return the whole response."""
    answer = await client.get(TOKENS, params={"scope": scope, **more}, headers=shown)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def told(answer: httpx.Response) -> tuple[object, ...]:
    """Return a response without its random parts and the requested digest."""
    fields = sorted((key, _same(value)) for key, value in answer.headers.items())
    return answer.status_code, tuple(fields), _same(answer.text)


def _same(text: str) -> str:
    return _DIGEST.sub("<digest>", _UUID.sub("<uuid>", text))


HOSTS = (
    "registry/v2/?",
    "registry/v2/public/app/tags/list?",
    "registry/v2/home/other/x/tags/list?",
    "registry/auth/jwks?",
    "registry/auth/jwks#",
    "registry\\v2\\?",
    "registry@elsewhere/",
    "registry:5000/?",
    "[",
    "",
)


async def test_access_depends_on_the_path_and_not_on_the_host(guarded: Guarded) -> None:
    """CVE-2026-48710: a Host that changes the path of the URL changes nothing but the realm."""
    client = await guarded(DELETABLE)
    await push(client, "team/app")
    for host in HOSTS:
        await decided_by_the_path(client, {"Host": host})


async def decided_by_the_path(client: httpx.AsyncClient, odd: Mapping[str, str]) -> None:
    """Check that access depends on the caller alone, whatever Host is sent."""
    path = "/v2/team/app/manifests/v1"
    asked = await client.get(path, headers=odd)
    assert refused(asked) == (401, "UNAUTHORIZED")
    assert asked.headers["www-authenticate"].startswith('Bearer realm="/auth/token",')
    assert refused(await client.get("/v2/", headers=odd)) == (401, "UNAUTHORIZED")
    for shown in (basic("other"), basic("carol")):
        assert refused(await client.get(path, headers={**odd, **shown})) == (403, "DENIED")
    deleting = await client.delete(path, headers={**odd, **basic("reader")})
    assert refused(deleting) == (403, "DENIED")
    assert (await client.get(path, headers={**odd, **basic("reader")})).content == MANIFEST


async def test_a_key_in_a_token_grants_nothing(guarded: Guarded, files: Files) -> None:
    """CVE-2025-24976: also not under the id of the registry's own key."""
    client = await guarded({})
    await push(client, "team/app")
    ours = (await client.get("/auth/jwks")).json()["keys"][0]["kid"]
    grants = Grants({"team/app": frozenset(Action)}, catalog=True)
    key = await to_thread(load_signing_key, files.key)
    good = TokenIssuer(key, "registry-server").sign("admin", grants, "registry").text
    claims = jwt.decode(good, options={"verify_signature": False})
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = to_jwk(VerificationKey.of(private.public_key()).key)
    path = "/v2/team/app/tags/list"
    assert (await client.get(path, headers=bearer(good))).status_code == 200
    for header in ({"jwk": jwk}, {"jwk": {**jwk, "kid": ours}, "kid": ours}, {"kid": ours}):
        forged = jwt.encode(claims, private, "ES256", header)
        answer = await client.get(path, headers=bearer(forged))
        assert refused(answer) == (401, "UNAUTHORIZED")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_deleted_content_is_gone_although_another_repository_has_it(guarded: Guarded) -> None:
    """CVE-2026-35172: a deletion ends the membership in the repository, in every process."""
    client, second = await guarded(DELETABLE), await guarded(DELETABLE)
    for name in ("team/app", "home/other/x"):
        assert (await push(client, name)).status_code == 201
    paths = [f"/v2/team/app/{each}" for each in (f"blobs/{BLOB}", f"manifests/{DIGEST}")]
    shown = basic("reader")
    for path in paths:
        # Fill all caches.
        for each in (client, second):
            assert (await each.get(path, headers=shown)).status_code == 200
        assert (await client.delete(path, headers=basic("admin"))).status_code == 202
        for each in (client, second):
            for method in ("GET", "HEAD"):
                answer = await each.request(method, path, headers=shown)
                assert answer.status_code == 404
    assert await leads_to(client, "team/app", "v1") == ""
    assert await leads_to(client, "home/other/x", "v1") == DIGEST
    mounting = f"/v2/team/new/blobs/uploads/?mount={BLOB}"
    for source in ("", "&from=team/app"):
        begun = await client.post(mounting + source, headers=basic("writer"))
        assert begun.status_code == 202


@pytest.mark.parametrize("reference", ["manifests/v1", f"manifests/{DIGEST}", f"blobs/{BLOB}"])
async def test_where_deletion_is_disabled_no_tag_is_deleted(
    guarded: Guarded, reference: str
) -> None:
    """CVE-2026-41888: for every caller and all credentials."""
    client = await guarded({})
    await push(client, "team/app")
    path = f"/v2/team/app/{reference}"
    granted = await token(client, "repository:team/app:delete", basic("admin"))
    for shown in (basic("admin"), bearer(granted["token"])):
        assert refused(await client.delete(path, headers=shown)) == (405, "UNSUPPORTED")
    assert refused(await client.delete(path, headers=basic("reader"))) == (403, "DENIED")
    assert (await client.get(path, headers=basic("reader"))).status_code == 200
    assert await leads_to(client, "team/app", "v1") == DIGEST


HERE = "/v2/home/writer/x"
LOOKS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "mount, from where it is": ("POST", "/blobs/uploads/?mount={}&from=home/other/x", {}),
    "mount, from where it is not": ("POST", "/blobs/uploads/?mount={}&from=home/other/y", {}),
    "mount, from anywhere": ("POST", "/blobs/uploads/?mount={}", {}),
    "mount, from nowhere": ("POST", "/blobs/uploads/?mount={}&from=", {}),
    "look": ("HEAD", "/blobs/{}", {}),
    "pull": ("GET", "/blobs/{}", {}),
    "pull a part": ("GET", "/blobs/{}", {"Range": "bytes=0-0"}),
    "pull if it changed": ("GET", "/blobs/{}", {"If-None-Match": "*"}),
    "delete": ("DELETE", "/blobs/{}", {}),
    "pull a manifest": ("GET", "/manifests/{}", {"Accept": "*/*"}),
    "look at a manifest": ("HEAD", "/manifests/{}", {"Accept": "*/*"}),
    "what refers to it": ("GET", "/referrers/{}", {}),
}


@pytest.mark.parametrize("look", LOOKS)
async def test_content_of_an_unreadable_repository_is_never_confirmed(
    guarded: Guarded, look: str
) -> None:
    """GHSA-55r9-5mx9-qq7r: the response is the same as if no repository had it."""
    client = await guarded(DELETABLE)
    await push(client, "home/other/x")
    method, target, headers = LOOKS[look]
    shown = {**headers, **basic("writer")}
    blob, manifest, missed = [
        await client.request(method, HERE + target.format(each), headers=shown)
        for each in (BLOB, DIGEST, ABSENT)
    ]
    assert told(blob) == told(manifest) == told(missed)
    assert missed.status_code == {"POST": 202}.get(method, 200 if "refers" in look else 404)


async def test_a_manifest_does_not_confirm_content_of_an_unreadable_repository(
    guarded: Guarded,
) -> None:
    """GHSA-55r9-5mx9-qq7r: its references must be in its own repository."""
    client = await guarded({})
    await push(client, "home/other/x")
    pushed = await put(client, "home/writer/x", "v1", MANIFEST, basic("writer"))
    assert pushed.status_code == 400
    errors = pushed.json()["errors"]
    assert [each["code"] for each in errors] == ["MANIFEST_BLOB_UNKNOWN"] * 2
    never = await put(
        client,
        "home/writer/x",
        "v1",
        image_manifest(CONFIG + b" ", [LAYER + b" "]),
        basic("writer"),
    )
    assert told(pushed) == told(never)


async def test_a_mount_needs_a_token_for_pulling_from_the_source(guarded: Guarded) -> None:
    """GHSA-55r9-5mx9-qq7r: the user may read the source, but the token does not grant it."""
    client = await guarded(DELETABLE)
    await push(client, "team/app")
    push_here = "repository:home/writer/x:pull,push"
    narrow = await token(client, push_here, basic("writer"))
    wide = await token(client, f"{push_here} repository:team/app:pull", basic("writer"))
    anywhere = f"{HERE}/blobs/uploads/?mount={BLOB}"
    for each, status in ((narrow, 202), (wide, 201)):
        for mounting in (f"{anywhere}&from=team/app", anywhere):
            begun = await client.post(mounting, headers=bearer(each["token"]))
            assert begun.status_code == status
            await client.delete(f"{HERE}/blobs/{BLOB}", headers=basic("writer"))


@pytest.mark.parametrize("tag", ["latest", "v1"])
async def test_a_caller_that_may_only_add_moves_no_tag(guarded: Guarded, tag: str) -> None:
    """CVE-2026-31801: not `latest` either, by no form of a push, with no kind of credentials."""
    client = await guarded(DELETABLE)
    assert (await push(client, "team/app", tag, shown=basic("writer"))).status_code == 201
    granted = await token(client, "repository:team/app:pull,push,delete", basic("writer"))
    digest = sha256(OTHER)
    for shown in (basic("writer"), bearer(granted["token"])):
        for reference in (tag, f"{digest}?tag={tag}", f"{digest}?tag=new&tag={tag}"):
            moved = await put(client, "team/app", reference, OTHER, shown)
            assert refused(moved) == (403, "DENIED")
        assert (await put(client, "team/app", digest, OTHER, shown)).status_code == 201
        assert (await put(client, "team/app", tag, MANIFEST, shown)).status_code == 201
        deleted = await client.delete(f"/v2/team/app/manifests/{tag}", headers=shown)
        assert refused(deleted) == (403, "DENIED")
    assert await leads_to(client, "team/app", tag) == DIGEST
    assert await leads_to(client, "team/app", "new") == ""


async def test_of_concurrent_pushes_of_a_new_tag_one_succeeds(guarded: Guarded) -> None:
    """CVE-2026-31801: checking and creating the tag is one step."""
    clients = [await guarded({}), await guarded({})]
    await push(clients[0], "team/app")
    raws = [image_manifest(CONFIG, [LAYER], note=f"number {each}") for each in range(8)]
    answers = await asyncio.gather(
        *(
            put(clients[at % 2], "team/app", "latest", raw, basic("writer"))
            for at, raw in enumerate(raws)
        )
    )
    statuses = [each.status_code for each in answers]
    assert sorted(statuses) == [201] + [403] * 7
    winner = sha256(raws[statuses.index(201)])
    assert await leads_to(clients[1], "team/app", "latest") == winner


async def test_an_upload_belongs_to_one_repository(guarded: Guarded) -> None:
    """CVE-2026-32589: its id does not allow reading, writing, ending or cancelling it elsewhere."""
    client = await guarded(DELETABLE)
    theirs = basic("other")
    begun = await client.post("/v2/home/other/x/blobs/uploads/", headers=theirs)
    location = path_of(begun.headers["Location"])
    assert (await client.patch(location, content=b"half", headers=theirs)).status_code == 202
    id = location.rpartition("/")[2]
    for target in (f"{HERE}/blobs/uploads/{id}", location):
        refusal = (403, "DENIED") if target == location else (404, "BLOB_UPLOAD_UNKNOWN")
        for method, query in (
            ("GET", ""),
            ("PATCH", ""),
            ("PUT", f"?digest={sha256(b'half')}"),
            ("PUT", f"?digest={sha256(b'halfmore')}"),
            ("DELETE", ""),
        ):
            content = b"more" if query.endswith(sha256(b"halfmore")) or method == "PATCH" else b""
            answer = await client.request(
                method, target + query, content=content, headers=basic("writer")
            )
            assert refused(answer) == refusal
    held = await client.get(location, headers=theirs)
    assert (held.status_code, held.headers["Range"]) == (204, "0-3")
    digest = sha256(b"half")
    assert (await client.put(f"{location}?digest={digest}", headers=theirs)).status_code == 201
    found = await client.get(f"{HERE}/blobs/{digest}", headers=basic("writer"))
    assert found.status_code == 404


async def test_an_upload_belongs_to_one_user(guarded: Guarded) -> None:
    """CVE-2026-32589: an administrator with its id gets the answer for an unknown upload."""
    client = await guarded(DELETABLE)
    where = "/v2/team/app/blobs/uploads/"
    begun = await client.post(where, headers=basic("writer"))
    location = path_of(begun.headers["Location"])
    shown = await token(client, "repository:team/app:pull,push", basic("admin"))
    for headers in (basic("admin"), bearer(shown["token"])):
        for method, query in (
            ("GET", ""),
            ("PATCH", ""),
            ("PUT", f"?digest={sha256(b'theirs')}"),
            ("DELETE", ""),
        ):
            answer = await client.request(
                method, location + query, content=b"theirs"[:-1], headers=headers
            )
            assert refused(answer) == (404, "BLOB_UPLOAD_UNKNOWN")
    granted = await token(client, "repository:team/app:pull,push", basic("writer"))
    for headers, piece in ((basic("writer"), b"ha"), (bearer(granted["token"]), b"lf")):
        assert (await client.patch(location, content=piece, headers=headers)).status_code == 202
    committed = f"{location}?digest={sha256(b'half')}"
    assert (await client.put(committed, headers=basic("writer"))).status_code == 201


async def test_a_token_that_expires_during_an_upload_was_valid_at_its_start(
    guarded: Guarded, files: Files
) -> None:
    """A request is authorized when it begins, so a large layer on a slow line succeeds."""
    client = await guarded({})
    age = LIFETIME + LEEWAY - 3  # it has three seconds left, less a part of one
    issuer = TokenIssuer(
        await to_thread(load_signing_key, files.key),
        "registry-server",
        clock=lambda: time.time() - age,
    )
    begun = await client.post("/v2/team/app/blobs/uploads/", headers=basic("writer"))
    location = path_of(begun.headers["Location"])
    granted = Grants({"team/app": frozenset({Action.PULL, Action.PUSH})})
    shown = bearer(issuer.sign("writer", granted, "registry").text)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"be"
        while (await client.get(location, headers=shown)).status_code != 401:  # noqa: ASYNC110 (time)
            await asyncio.sleep(0.1)
        yield b"gun"

    sent = await client.patch(location, content=pieces(), headers=shown)
    assert (sent.status_code, sent.headers["Range"]) == (202, "0-4")
    assert (await client.patch(location, content=b"x", headers=shown)).status_code == 401


async def test_an_upload_without_an_owner_belongs_to_every_user(guarded: Guarded) -> None:
    """One that was started before there were users, or by registry:2, can be continued."""
    everybody = {"access": {"rules": [{"anonymous": True, "actions": ["*"]}]}}
    client = await guarded(everybody)
    granted = await token(client, "repository:team/app:pull,push", {})
    begun = await client.post("/v2/team/app/blobs/uploads/", headers=bearer(granted["token"]))
    location = path_of(begun.headers["Location"])
    client = await guarded({})
    assert (await client.patch(location, content=b"x", headers=basic("writer"))).status_code == 202


async def test_an_unknown_name_costs_a_whole_check(files: Files) -> None:
    """7ed654e0: a guessed name costs one bcrypt hash, as a known one does."""
    asked: list[bytes] = []

    def check(password: bytes, hash: bytes) -> bool:
        asked.append(hash)
        return bcrypt.checkpw(password, hash)

    users = HtpasswdUsers(await to_thread(watch_htpasswd, files.users), check=check)
    for name in ("writer", "nobody", "Writer", "writer ", "robot$ci", "robot", "é" * 400):
        asked.clear()
        assert await users.verify(name, "not the one") is None
        assert [hash[:7] for hash in asked] == [b"$2b$04$"], name


async def test_an_unknown_name_gets_the_response_of_a_wrong_password(guarded: Guarded) -> None:
    """7ed654e0: the response does not reveal which accounts exist."""
    client = await guarded({})

    async def answers(name: str) -> list[tuple[object, ...]]:
        shown = basic(name, "not the one")
        form = {"grant_type": "password", "username": name, "password": "not the one"}
        return [
            told(await client.get("/v2/", headers=shown)),
            told(await client.get("/v2/public/app/tags/list", headers=shown)),
            told(await client.get(TOKENS, headers=shown)),
            told(await client.post(TOKENS, data=form)),
        ]

    known = await answers("writer")
    assert [each[0] for each in known] == [401] * 4
    for name in ("nobody", "robot$ci", "robot:ci"):
        assert await answers(name) == known


@pytest.mark.parametrize("n", ["1000000000", "9" * 4000, "3"], ids=len)
async def test_a_page_of_the_catalog_is_limited_to_readable_repositories(
    guarded: Guarded, n: str
) -> None:
    """CVE-2023-2253: whatever number is requested; pages continue without revealing others."""
    client = await guarded({"catalog": {"maxentries": 3}})
    mine = [f"team/{letter}" for letter in "abcde"]
    for name in (*mine, *(f"home/other/{letter}" for letter in "abcde"), "zzz"):
        await push(client, name)
    shown, seen = basic("reader"), list[str]()
    target = f"/v2/_catalog?n={n}"
    for _ in range(10):
        page = await client.get(target, headers=shown)
        names = page.json()["repositories"]
        assert len(names) <= 3
        seen += names
        assert not re.search("home|zzz", str(page.headers.raw))
        if "next" not in page.links:
            break
        target = page.links["next"]["url"]
    assert seen == mine


@pytest.mark.parametrize("n", ["-1", "x", "1e3", "9" * 4000, "0"], ids=len)
async def test_the_catalog_is_refused_before_its_parameters_are_read(
    guarded: Guarded, n: str
) -> None:
    """CVE-2023-2253: the number is parsed only for callers that may list."""
    client = await guarded({})
    target = f"/v2/_catalog?n={n}"
    assert refused(await client.get(target)) == (401, "UNAUTHORIZED")
    assert refused(await client.get(target, headers=basic("writer"))) == (403, "DENIED")


@pytest.mark.parametrize("content_type", [OCI_MANIFEST, OCI_INDEX])
async def test_an_ambiguous_document_is_refused(guarded: Guarded, content_type: str) -> None:
    """CVE-2021-41190: a manifest that is an index too, or that names another type than is sent."""
    client = await guarded({})
    await push(client, "team/app")
    both = {**json.loads(MANIFEST), "manifests": [], "mediaType": content_type}
    nameless = {key: value for key, value in both.items() if key != "mediaType"}
    renamed = {
        **json.loads(MANIFEST),
        "mediaType": OCI_INDEX if content_type == OCI_MANIFEST else OCI_MANIFEST,
    }
    for document in (both, nameless, renamed):
        pushed = await client.put(
            "/v2/team/app/manifests/two",
            content=json.dumps(document),
            headers={**basic("writer"), "Content-Type": content_type},
        )
        assert refused(pushed) == (400, "MANIFEST_INVALID")
    assert await leads_to(client, "team/app", "two") == ""


class Endless:
    """A body without an end that counts the bytes read."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        piece = b" " * (64 << 10)
        while True:
            self.taken += len(piece)
            yield piece


async def test_a_body_without_an_end_is_not_read_to_it(guarded: Guarded) -> None:
    """CVE-2017-11468: manifests and forms are limited, and bodies of refused requests not read."""
    client = await guarded({})
    target, piece = "/v2/team/app/manifests/v1", 64 << 10

    async def send(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, int]:
        body = Endless()
        answer = await client.request(method, path, content=body, headers={**JSON, **headers})
        return answer.status_code, body.taken

    assert await send("PUT", target, {}) == (401, 0)
    assert await send("PUT", target, basic("writer", "not the one")) == (401, 0)
    assert await send("PUT", target, basic("reader")) == (403, 0)
    assert await send("POST", "/v2/team/app/blobs/uploads/", basic("reader")) == (403, 0)
    status, taken = await send("PUT", target, basic("writer"))
    assert (status, taken <= MANIFEST_LIMIT + 2 * piece) == (413, True)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, taken = await send("POST", TOKENS, form)
    assert (status, taken <= 2 * piece) == (413, True)


def new_users() -> str:
    """Return the file of users with another password of `carol` and without `reader`."""
    kept = [line for line in USERS.splitlines() if not line.startswith(("carol:", "reader:"))]
    hash = bcrypt.hashpw(b"something new", bcrypt.gensalt(4)).decode()
    return "\n".join((*kept, f"carol:{hash}"))


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition is true: a watched file is checked once a second."""
    for _ in range(200):
        if await holds():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it never held")


async def test_tokens_end_with_the_password(guarded: Guarded, files: Files) -> None:
    """Old credentials get no token; access tokens end with their subject or their lifetime."""
    store = RobotStore(files.robots)
    robot = basic("robot$ci", (await to_thread(store.create, "ci")).secret)
    client, changed, removed = await guarded({}), basic("carol"), basic("reader")
    tokens, logins = list[str](), list[dict[str, str]]()
    for shown in (changed, removed, robot):
        granted = await token(client, "repository:public/x:pull", shown, offline_token="true")
        tokens.append(granted["token"])
        kept = granted.get("refresh_token", "")
        logins.append({"grant_type": "refresh_token", "refresh_token": kept})

    async def statuses() -> list[int]:
        answers = [
            *[await client.get("/v2/", headers=each) for each in (changed, removed, robot)],
            *[await client.get(TOKENS, headers=each) for each in (changed, removed, robot)],
            *[await client.post(TOKENS, data=each) for each in logins],
            *[await client.get("/v2/", headers=bearer(each)) for each in tokens],
        ]
        return [each.status_code for each in answers]

    # Robots get no refresh token.
    assert await statuses() == [200] * 8 + [401] + [200] * 3
    await to_thread(files.users.write_text, new_users())
    await to_thread(store.revoke, "ci")

    async def is_over() -> bool:
        return (await statuses())[:3] == [401] * 3

    await eventually(is_over)
    assert await statuses() == [401] * 9 + [200, 401, 401]
    new = await client.get("/v2/", headers=basic("carol", "something new"))
    assert new.status_code == 200
    claims = jwt.decode(tokens[0], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == LIFETIME


GROUP = """
groups: {{team: [{members}]}}
rules:
  - {{repositories: [team/**], groups: [team], actions: ["*"]}}
"""


async def test_a_user_removed_from_a_group_loses_its_rights(guarded: Guarded, files: Files) -> None:
    """GHSA-c9p4-xwr9-rfhx: also with tokens that were issued before."""
    rules = files.folder / "rules.yml"
    rules.write_text(GROUP.format(members="writer, carol"))
    client = await guarded({"access": {"file": rules}})
    scope, path = "repository:team/app:pull,push", "/v2/team/app/tags/list"
    had = await token(client, f"{scope} registry:catalog:*", basic("carol"), offline_token="true")
    ways = (basic("carol"), bearer(had["token"]))
    login = {"grant_type": "refresh_token", "refresh_token": had["refresh_token"], "scope": scope}
    for shown in ways:
        assert refused(await client.get(path, headers=shown)) == (404, "NAME_UNKNOWN")
    await to_thread(rules.write_text, GROUP.format(members="writer"))

    async def is_over() -> bool:
        return (await client.get(path, headers=basic("carol"))).status_code == 403

    await eventually(is_over)
    for shown in ways:
        for asked in (path, "/v2/_catalog"):
            assert refused(await client.get(asked, headers=shown)) == (403, "DENIED")
        begun = await client.post("/v2/team/app/blobs/uploads/", headers=shown)
        assert refused(begun) == (403, "DENIED")
    assert (await client.post(TOKENS, data=login)).json()["scope"] == ""
    assert (await token(client, scope, basic("writer")))["token"]


MACHINES = {
    "rules": [{"repositories": ["team/**"], "users": ["robot:ci"], "actions": ["pull"]}],
}


async def test_a_robot_that_is_created_again_is_another(guarded: Guarded, files: Files) -> None:
    """89e1c4ba: a token ends with its robot, also if another one gets the same name."""
    client = await guarded({"access": MACHINES})
    store, path = RobotStore(files.robots), "/v2/team/app/tags/list"
    had: list[str] = []
    # Within one second, so that all tokens and robots have the same time.
    for _ in range(3):
        shown = basic("robot$ci", (await to_thread(store.create, "ci")).secret)
        had.append((await token(client, "repository:team/app:pull", shown))["token"])
        for each in had[:-1]:
            answer = await client.get(path, headers=bearer(each))
            assert refused(answer) == (401, "UNAUTHORIZED")
        answer = await client.get(path, headers=bearer(had[-1]))
        assert refused(answer) == (404, "NAME_UNKNOWN")
        await to_thread(store.revoke, "ci")


WRONG, MISPLACED, PLAIN = map(
    keep, ("a wrong password", "a password for a name", "a password in plain text")
)


async def use_everything(client: httpx.AsyncClient, robot: str) -> set[str]:
    """Log in, push, pull, delete and be refused in every way; return the secrets."""
    scope = "repository:team/app:pull,push,delete"
    first = await token(client, scope, basic("admin"), offline_token="true")
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    password = {
        "grant_type": "password", "username": "writer", "password": PASSWORDS["writer"],
        "access_type": "offline", "scope": scope,
    }  # fmt: skip
    second, third = [(await client.post(TOKENS, data=each)).json() for each in (form, password)]
    tokens = {
        first["token"], first["refresh_token"], second["access_token"],
        third["access_token"], third["refresh_token"],
    }  # fmt: skip
    good = [basic("writer"), basic("robot$ci", robot), *map(bearer, sorted(tokens))]
    bad = [
        basic("writer", WRONG), basic("nobody", WRONG), basic(MISPLACED, WRONG),
        basic("robot$ci", WRONG), basic("robot$none", robot), basic("robot", f"ci:{robot}"),
        {"Authorization": f"Basic {PASSWORDS['writer']}"},
        {"Authorization": PASSWORDS["writer"]},
        {"Authorization": f'Digest username="writer", response="{robot}"'},
        *(bearer(f"{each}x") for each in sorted(tokens)),
    ]  # fmt: skip
    await push(client, "team/app")
    for shown in (*good, *bad, {}):
        await client.get("/v2/", headers=shown)
        await client.get("/v2/_catalog", headers=shown)
        await client.get("/v2/team/app/manifests/v1", headers=shown)
        await put(client, "team/app", "v1", OTHER, shown)
        await client.delete(f"/v2/team/app/blobs/{BLOB}", headers=shown)
        await client.get(TOKENS, params={"scope": scope}, headers=shown)
        await client.patch("/v2/team/app/blobs/uploads/nothing", headers=shown)
    for each in (*sorted(tokens), WRONG, robot, PASSWORDS["writer"]):
        await ask_in_the_wrong_place(client, each)
    return tokens


async def ask_in_the_wrong_place(client: httpx.AsyncClient, secret: str) -> None:
    """Send a secret in a place where none belongs."""
    shown = quote(secret)
    await client.get(f"/v2/?access_token={shown}&password={shown}")
    await client.get(f"/v2/team/app/manifests/v1?token={shown}")
    await client.put(f"/v2/team/app/manifests/{DIGEST}?tag={shown}", content=MANIFEST)
    await client.post(f"/v2/team/app/blobs/uploads/?mount={shown}&from={shown}")
    await client.get(TOKENS, params={"password": secret, "service": secret})
    await client.get(TOKENS, params={"scope": secret, "account": secret})
    for form in (
        {"grant_type": "refresh_token", "refresh_token": secret},
        {"grant_type": "password", "username": "writer", "password": f"{secret}x"},
        {"grant_type": "password", "username": secret, "password": secret},
        {"grant_type": secret, "scope": secret, "service": secret},
    ):
        await client.post(TOKENS, data=form)
    await client.get("/v2/", headers=[*basic("writer", secret).items(), *bearer(secret).items()])


async def test_no_secret_is_in_any_line(files: Files, driver: AnyDriver) -> None:
    """8a99a3ed: no password, token or key of a robot, valid or invalid."""
    robot = keep((await to_thread(RobotStore(files.robots).create, "ci")).secret)
    log = files.folder / "audit.log"
    more = {**DELETABLE, "log": {"level": "debug"}, "audit": {"enabled": True, "file": log}}
    settings = await to_thread(files.settings, more)
    with Heard() as heard:
        async with lived(settings, driver) as client:
            tokens = await use_everything(client, robot)
            await to_thread(files.users.write_text, f"{USERS}dora:{PLAIN}\n")
            await to_thread(files.robots.write_text, json.dumps({"ci": robot}))

            async def complained() -> bool:
                await client.get("/v2/", headers=basic("robot$ci", robot))
                await client.get("/v2/", headers=basic("writer", WRONG))
                said = "\n".join(heard.lines)
                return "could not reload" in said and "the line is skipped" in said

            await eventually(complained)
    audited = await to_thread(log.read_text)
    assert any("/v2/team/app/manifests/v1" in line for line in heard.lines)
    assert {"login", "push", "delete"} <= {
        json.loads(each)["action"] for each in audited.splitlines()
    }
    secrets = {part for each in tokens for part in each.split(".")[1:]}
    secrets |= await to_thread(private_lines, files.root)
    nothing_told("\n".join((*heard.lines, audited)), "a line", secrets)


def test_different_responses_are_distinguished() -> None:
    """Except for their random parts."""
    first, second = (httpx.Response(404, headers={"x": each}) for each in (BLOB, "sha256:1"))
    assert told(first) != told(second)
    assert told(first) == told(httpx.Response(404, headers={"x": ABSENT}))
