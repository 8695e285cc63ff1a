"""Access control on the wire: challenges, refusals, and what a refused caller cannot learn."""

from __future__ import annotations

import base64
import json
import re
from asyncio import sleep, to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from registry_server.access.interfaces import Action, Grants
from registry_server.access.robots import RobotStore, robots_file
from registry_server.access.tokens.bearer import TokenIssuer
from registry_server.access.tokens.signing_keys import jwks, load_or_create_signing_key
from registry_server.config import Settings
from registry_server.config.load import load
from registry_server.config.validation import validated
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from tests.support import users
from tests.support.app import serve_in_process
from tests.support.documents import config_for, image_manifest
from tests.support.wire import OCI_MANIFEST, sha256

MANUAL = Path(__file__).parents[2] / "docs/access.md"
PASSWORDS = {"ann": "ann's password", "bob": "bob's password", "admin": "admin's password"}
LAYER = b"a layer"
CONFIG = config_for([LAYER])

Situation: TypeAlias = Callable[[str], Awaitable[httpx.AsyncClient]]
Redirecting: TypeAlias = Callable[[dict[str, str], list[str]], Awaitable[httpx.AsyncClient]]


def situations() -> dict[str, str]:
    """Return the configurations of the manual by their names."""
    blocks = re.findall(r"```yaml\n# situation: (.+?)\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    return dict(blocks)


def settings_of(text: str, folder: Path) -> Settings:
    """Load a configuration of the manual, with its files in `folder`."""
    text = text.replace("/var/lib/registry", str(folder / "root"))
    text = text.replace("/etc/registry", str(folder))
    (folder / "config.yml").write_text(text)
    return load(folder / "config.yml", {}).settings


@pytest.fixture
async def situation(tmp_path: Path) -> AsyncIterator[Situation]:
    """Serve a configuration of the manual."""
    (tmp_path / "root").mkdir()
    (tmp_path / "users").write_text(users.lines(PASSWORDS))
    async with AsyncExitStack() as stack:

        async def start(name: str) -> httpx.AsyncClient:
            settings = await to_thread(settings_of, situations()[name], tmp_path)
            root = tmp_path / "root"
            driver = await to_thread(FilesystemDriver, root, sync=False, threads=2)
            stack.push_async_callback(driver.close)
            return await stack.enter_async_context(serve_in_process(settings, driver))

        yield start


def as_user(name: str) -> httpx.BasicAuth:
    """Return the credentials of a user."""
    return httpx.BasicAuth(name, PASSWORDS[name])


async def push(
    client: httpx.AsyncClient, name: str, tag: str, who: httpx.Auth | None, note: str = ""
) -> int:
    """Push an image; return the status of the first refusal, or of the manifest."""
    auth = who or httpx.USE_CLIENT_DEFAULT
    for content in (CONFIG, LAYER):
        url = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
        pushed = await client.post(url, content=content, auth=auth)
        if pushed.status_code != 201:
            return pushed.status_code
    manifest = json.loads(image_manifest(CONFIG, [LAYER])) | {"annotations": {"note": note}}
    pushed = await client.put(
        f"/v2/{name}/manifests/{tag}",
        content=json.dumps(manifest),
        headers={"Content-Type": OCI_MANIFEST},
        auth=auth,
    )
    return pushed.status_code


async def pull(client: httpx.AsyncClient, name: str, tag: str, auth: httpx.Auth | None) -> int:
    """Pull a manifest; return the status."""
    return (await client.get(f"/v2/{name}/manifests/{tag}", auth=auth)).status_code


async def token(
    client: httpx.AsyncClient, scope: str, auth: httpx.Auth | None = None
) -> tuple[str, list[dict[str, object]]]:
    """Get a token; return it and the access that it grants."""
    answer = await client.get("/auth/token", params={"scope": scope}, auth=auth)
    text = str(answer.json()["token"])
    payload = text.split(".")[1]
    return text, json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["access"]


def test_the_manual_has_five_situations() -> None:
    """The tests cover each of them, and no others."""
    assert list(situations()) == [
        "just me",
        "a team",
        "public pull",
        "machines",
        "a token server that is there",
    ]


async def test_just_me(situation: Situation) -> None:
    """A user with a password may do everything, and other callers nothing."""
    client = await situation("just me")
    refused = await client.get("/v2/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Basic realm="my registry"'
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"
    assert await push(client, "app", "v1", None) == 401
    assert await push(client, "app", "v1", as_user("ann")) == 201
    assert await pull(client, "app", "v1", httpx.BasicAuth("ann", "not the one")) == 401
    assert await pull(client, "app", "v1", as_user("bob")) == 200


async def test_a_team(situation: Situation) -> None:
    """Developers add but cannot move tags, each user has a home, the administrator may do all."""
    client = await situation("a team")
    ann, bob, admin = map(as_user, ("ann", "bob", "admin"))
    assert await push(client, "team/app", "v1", ann) == 201
    assert await push(client, "team/app", "v1", bob) == 201  # the same again moves nothing
    assert await push(client, "team/app", "v1", bob, note="other") == 403
    assert await push(client, "team/app", "v2", bob, note="other") == 201
    assert await push(client, "team/app", "v1", admin, note="other") == 201
    assert await push(client, "home/bob/x", "v1", bob) == 201
    assert await push(client, "home/bob/x", "v1", bob, note="other") == 201
    assert await push(client, "home/bob/x", "v1", ann) == 403
    assert await pull(client, "home/bob/x", "v1", ann) == 403
    assert await pull(client, "home/bob/none", "v1", ann) == 403
    assert await pull(client, "home/bob/x", "v1", admin) == 200
    for auth, names in ((ann, ["team/app"]), (bob, ["home/bob/x", "team/app"])):
        listed = await client.get("/v2/_catalog", auth=auth)
        assert listed.json() == {"repositories": names}


async def test_a_blob_is_mounted_only_from_where_the_caller_may_pull(situation: Situation) -> None:
    """A source without access, named or not, is treated as one without the blob."""
    client = await situation("a team")
    assert await push(client, "home/bob/x", "v1", as_user("bob")) == 201
    uploads = f"/v2/home/ann/x/blobs/uploads/?mount={sha256(LAYER)}"
    for source in ("", "&from=home/bob/x", "&from=home/bob/none"):
        begun = await client.post(uploads + source, auth=as_user("ann"))
        assert begun.status_code == 202
    blob = f"/v2/home/ann/x/blobs/{sha256(LAYER)}"
    assert (await client.head(blob, auth=as_user("ann"))).status_code == 404
    assert (await client.post(uploads, auth=as_user("admin"))).status_code == 201


async def test_anonymous_clients_may_pull(situation: Situation) -> None:
    """Without a login pulls work and pushes are challenged; clients also get an anonymous token."""
    client = await situation("public pull")
    assert await push(client, "app", "v1", as_user("ann")) == 201
    asked = await client.get("/v2/")
    assert asked.headers["www-authenticate"] == (
        'Bearer realm="http://registry/auth/token",service="registry"'
    )
    assert await pull(client, "app", "v1", None) == 200
    assert await push(client, "app", "v2", None) == 401
    assert await push(client, "app", "v2", as_user("bob")) == 403
    text, granted = await token(client, "repository:app:pull,push")
    assert granted == [{"type": "repository", "name": "app", "actions": ["pull"]}]
    bearer = {"Authorization": f"Bearer {text}"}
    assert (await client.get("/v2/", headers=bearer)).status_code == 200
    assert (await client.get("/v2/app/tags/list", headers=bearer)).status_code == 200
    other = await client.get("/v2/other/tags/list", headers=bearer)
    assert other.status_code == 401
    assert (
        'scope="repository:other:pull",error="insufficient_scope"'
        in (other.headers["www-authenticate"])
    )


@pytest.mark.parametrize(
    ("query", "more"),
    [
        (f"?mount={sha256(LAYER)}&from=lib/b", " repository:lib/b:pull"),
        (f"?from=lib/b&mount={sha256(LAYER)}", " repository:lib/b:pull"),
        ("?from=lib/b", " repository:lib/b:pull"),
        (f"?mount={sha256(LAYER)}&from=app", ""),
        (f"?mount={sha256(LAYER)}", ""),
        (f"?mount={sha256(LAYER)}&from=B%22,c", ""),
    ],
)
async def test_the_challenge_of_a_mount_names_its_source(
    situation: Situation, query: str, more: str
) -> None:
    """As in registry:2: with one token a client may push, and mount from the source."""
    client = await situation("public pull")
    assert await push(client, "lib/b", "v1", as_user("ann")) == 201
    asked = await client.post(f"/v2/app/blobs/uploads/{query}")
    assert asked.status_code == 401
    scope = re.search('scope="([^"]*)"', asked.headers["www-authenticate"])
    assert scope is not None
    assert scope[1] == f"repository:app:pull,push{more}"
    text, _ = await token(client, scope[1], as_user("ann"))
    bearer = {"Authorization": f"Bearer {text}"}
    done = await client.post(f"/v2/app/blobs/uploads/{query}", headers=bearer)
    assert done.status_code == (201 if "mount" in query and more else 202)


async def test_a_token_without_the_source_of_a_mount_begins_an_upload(situation: Situation) -> None:
    """The client then sends the blob, as the specification allows; it is not challenged again."""
    client = await situation("public pull")
    assert await push(client, "lib/b", "v1", as_user("ann")) == 201
    text, _ = await token(client, "repository:app:pull,push", as_user("ann"))
    url = f"/v2/app/blobs/uploads/?mount={sha256(LAYER)}&from=lib/b"
    done = await client.post(url, headers={"Authorization": f"Bearer {text}"})
    assert done.status_code == 202


async def test_machines(situation: Situation, tmp_path: Path) -> None:
    """A robot account may do what the rules grant its name, until it is revoked."""
    settings = await to_thread(settings_of, situations()["machines"], tmp_path)
    store = RobotStore(robots_file(settings.storage.filesystem.rootdirectory))
    ci, node = [(await to_thread(store.create, name)).secret for name in ("ci", "node")]
    client = await situation("machines")
    assert await push(client, "team/app", "v1", httpx.BasicAuth("robot$ci", ci)) == 201
    assert await push(client, "team/app", "v1", httpx.BasicAuth("robot:ci", ci), "other") == 201
    reader = httpx.BasicAuth("robot$node", node)
    assert await pull(client, "team/app", "v1", reader) == 200
    assert await push(client, "team/app", "v2", reader) == 403
    assert await pull(client, "team/app", "v1", httpx.BasicAuth("robot$node", ci)) == 401
    _, granted = await token(client, "repository:team/app:pull,push", reader)
    assert granted == [{"type": "repository", "name": "team/app", "actions": ["pull"]}]


async def test_a_token_of_a_revoked_robot_is_refused(situation: Situation, tmp_path: Path) -> None:
    """So is its key."""
    settings = await to_thread(settings_of, situations()["machines"], tmp_path)
    store = RobotStore(robots_file(settings.storage.filesystem.rootdirectory))
    key = (await to_thread(store.create, "ci")).secret
    client = await situation("machines")
    text, _ = await token(client, "repository:team/app:pull", httpx.BasicAuth("robot$ci", key))
    client.headers["Authorization"] = f"Bearer {text}"
    assert (await client.get("/v2/team/app/tags/list")).status_code == 404
    await to_thread(store.revoke, "ci")
    await sleep(1.1)  # files are looked at once a second
    refused = await client.get("/v2/team/app/tags/list")
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


async def test_an_external_token_is_not_a_robots(situation: Situation, tmp_path: Path) -> None:
    """An external token server may use any subject, but not a robot account's name."""
    key = await to_thread(load_or_create_signing_key, tmp_path / "key.pem")
    (tmp_path / "token.jwks").write_text(json.dumps(jwks([key.public])))
    client = await situation("a token server that is there")
    grants = Grants({"app": frozenset({Action.PULL})})
    for name, status in (("ann", 404), ("robot:ci", 401), ("robot$ci", 401)):
        issued = TokenIssuer(key, "auth.example.com").sign(name, grants, "registry.example.com")
        bearer = {"Authorization": f"Bearer {issued.text}"}
        assert (await client.get("/v2/app/tags/list", headers=bearer)).status_code == status


async def test_an_external_token_server(situation: Situation, tmp_path: Path) -> None:
    """Its tokens grant what they contain, and no other credentials are accepted."""
    key = await to_thread(load_or_create_signing_key, tmp_path / "key.pem")
    (tmp_path / "token.jwks").write_text(json.dumps(jwks([key.public])))
    client = await situation("a token server that is there")
    asked = await client.get("/v2/")
    assert asked.headers["www-authenticate"] == (
        'Bearer realm="https://auth.example.com/token",service="registry.example.com"'
    )
    grants = Grants({"app": frozenset({Action.PULL, Action.PUSH})})
    issued = TokenIssuer(key, "auth.example.com").sign("ann", grants, "registry.example.com")
    client.headers["Authorization"] = f"Bearer {issued.text}"
    assert await push(client, "app", "v1", None) == 201
    assert await push(client, "app", "v1", None, note="other") == 201
    assert await push(client, "other", "v1", None) == 401
    assert (await client.get("/v2/_catalog")).status_code == 401
    assert (await client.get("/auth/token")).status_code == 404


@pytest.fixture
async def redirecting(tmp_path: Path) -> AsyncIterator[Redirecting]:
    """Serve with `auth.token.autoredirect`, other keys of that section, and trusted proxies."""
    key = await to_thread(load_or_create_signing_key, tmp_path / "key.pem")
    jwk_set = tmp_path / "token.jwks"
    jwk_set.write_text(json.dumps(jwks([key.public])))
    section = {"realm": "https://elsewhere", "service": "s", "issuer": "i", "jwks": str(jwk_set)}
    async with AsyncExitStack() as stack:

        async def start(more: dict[str, str], trusted: list[str]) -> httpx.AsyncClient:
            token = section | {"autoredirect": True} | more
            read = {"auth": {"token": token}, "http": {"trustedproxies": trusted}}
            return await stack.enter_async_context(
                serve_in_process(validated(Settings, read), MemoryDriver())
            )

        yield start


@pytest.mark.parametrize(
    ("more", "headers", "realm"),
    [
        ({}, {}, "https://registry/auth/token"),
        ({"autoredirectpath": "/token"}, {"X-Forwarded-Proto": "http"}, "https://registry/token"),
        ({"autoredirectpath": "token"}, {}, "https://registry/token"),
    ],
)
async def test_a_token_server_at_the_host_of_the_request(
    redirecting: Redirecting, more: dict[str, str], headers: dict[str, str], realm: str
) -> None:
    """With `autoredirect` the realm is an https URL of that host, whatever a client claims."""
    client = await redirecting(more, [])
    asked = await client.get("/v2/", headers=headers)
    assert asked.headers["www-authenticate"].startswith(f'Bearer realm="{realm}",')


async def test_a_trusted_proxy_names_the_host_of_the_token_server(
    redirecting: Redirecting,
) -> None:
    """Behind a proxy that changes Host, the realm is the host that the client reaches."""
    client = await redirecting({}, ["127.0.0.1"])
    headers = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "localhost:5000"}
    asked = await client.get("/v2/", headers=headers)
    assert 'realm="http://localhost:5000/auth/token",' in asked.headers["www-authenticate"]


async def test_keys_of_a_token_server_are_reloaded(situation: Situation, tmp_path: Path) -> None:
    """A valid token is refused once its key is removed from the file."""
    gone, there = [
        await to_thread(load_or_create_signing_key, tmp_path / name) for name in ("gone", "there")
    ]
    file = tmp_path / "token.jwks"
    await to_thread(file.write_text, json.dumps(jwks([gone.public])))
    client = await situation("a token server that is there")
    grants = Grants({"app": frozenset({Action.PULL})})
    old, new = (
        TokenIssuer(key, "auth.example.com").sign("ann", grants, "registry.example.com").text
        for key in (gone, there)
    )

    async def status(text: str) -> int:
        shown = {"Authorization": f"Bearer {text}"}
        return (await client.get("/v2/app/tags/list", headers=shown)).status_code

    assert [await status(old), await status(new)] == [404, 401]
    await to_thread(file.write_text, json.dumps(jwks([there.public])))
    await sleep(1.1)  # files are looked at once a second
    assert [await status(old), await status(new)] == [401, 404]


async def test_a_token_never_exceeds_the_rules(situation: Situation) -> None:
    """The rules are evaluated for each request, so a token only restricts them."""
    client = await situation("a team")
    text, granted = await token(
        client, "repository:home/bob/x:pull,push,delete registry:catalog:*", as_user("ann")
    )
    assert granted == [{"type": "registry", "name": "catalog", "actions": ["*"]}]
    bearer = {"Authorization": f"Bearer {text}"}
    assert (await client.get("/v2/_catalog", headers=bearer)).status_code == 200
    refused = await client.get("/v2/home/bob/x/tags/list", headers=bearer)
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["code"] == "DENIED"


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Basic",
        "Basic !",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Digest x",
        "Basic " + "A" * 9000,
    ],
)
async def test_invalid_credentials_are_challenged(situation: Situation, field: str) -> None:
    """They never count as anonymous."""
    client = await situation("public pull")
    answer = await client.get("/v2/app/tags/list", headers={"Authorization": field})
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
