"""No URL of a client makes the operator's expressions block the server."""

from __future__ import annotations

import asyncio
import json
import random
import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import Settings
from registry_server.config.expression import Expression
from registry_server.config.validation import validated
from storage.drivers.memory import MemoryDriver
from storage.errors import ManifestInvalid
from storage.values.manifest_policy import ManifestPolicy
from storage.values.manifests import parse_manifest
from storage.values.url_policy import MOST_STEPS, UrlPolicy
from tests.support.app import serve_in_process
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.pushes import BASE, CONFIG, push_blob, refused

DOCUMENTED = r"^https?://([^/]+\.)*example\.com/"
# Each byte of a text of a and b is a new state for it.
SLOW = r"(a|b)*a(a|b){20}c"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def settings(*expressions: str) -> Settings:
    """Return settings with an `allow` list."""
    urls = {"allow": list(expressions)}
    return validated(Settings, {"validation": {"manifests": {"urls": urls}}})


def naming(*urls: str) -> bytes:
    """Return a manifest with a layer that has URLs."""
    layer = {"mediaType": FOREIGN, "digest": sha256(b"x"), "size": 1, "urls": urls}
    config = {"mediaType": "application/json", "digest": sha256(CONFIG), "size": len(CONFIG)}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return json.dumps(document).encode()


async def push(client: httpx.AsyncClient, raw: bytes) -> httpx.Response:
    """Push a manifest."""
    headers = {"Content-Type": OCI_MANIFEST}
    return await client.put(f"{BASE}/manifests/v2", content=raw, headers=headers)


def slow_urls(count: int, length: int) -> list[str]:
    """Return URLs that take the most steps for their length."""
    choose = random.Random(7).choices
    return ["http://" + "".join(choose("ab", k=length)) for _ in range(count)]


@pytest.mark.parametrize("repeats", [26, 40, 20_000])
async def test_the_documented_expression_decides_every_url(repeats: int) -> None:
    """A URL of many labels takes a backtracking engine seconds, and a longer one a day."""
    async with serve_in_process(settings(DOCUMENTED), MemoryDriver()) as client:
        await push_blob(client, CONFIG)
        answer = await push(client, naming("http://" + "a." * repeats + "b/"))
        assert refused(answer) == (400, "MANIFEST_INVALID")
        answer = await push(client, naming("http://" + "a." * repeats + "example.com/"))
        assert answer.status_code == 201


async def test_other_requests_are_answered_while_urls_are_checked() -> None:
    """Twenty requests are answered before a push whose URLs take many steps."""
    async with serve_in_process(settings(SLOW), MemoryDriver()) as client:
        await push_blob(client, CONFIG)
        pushing = asyncio.ensure_future(push(client, naming(*slow_urls(40, 100_000))))
        for _ in range(20):
            assert (await client.get(f"{BASE}/manifests/unknown")).status_code == 404
        assert not pushing.done()
        assert refused(await pushing) == (400, "MANIFEST_INVALID")


class Counted:
    """A matcher that counts the maximum of its steps."""

    size = 50

    def __init__(self) -> None:
        self.steps = 0

    def matches(self, text: bytes) -> bool:
        """Match nothing."""
        self.steps += self.size * len(text)
        return False


@pytest.mark.parametrize(("count", "length"), [(1, 4_000_000), (40_000, 20), (1000, 3000)])
async def test_the_steps_of_a_manifest_are_limited(count: int, length: int) -> None:
    """For a few long URLs and for many short ones; a refusal comes before the first step."""
    deny = (Counted(), Counted())
    rules = ManifestPolicy(urls=UrlPolicy(deny=deny))
    manifest = parse_manifest(naming(*("https://" + "a" * (length - 8) for _ in range(count))))
    with pytest.raises(ManifestInvalid, match="too many URLs"):
        await rules.check(manifest)
    assert sum(each.steps for each in deny) == 0


async def test_the_urls_of_large_images_are_far_below_the_limit() -> None:
    """A hundred layers with three long URLs each, and twenty expressions as documented."""
    compiled = Expression.parse(DOCUMENTED).compiled()
    urls = [f"https://a.example.com/{number:0300}" for number in range(300)]
    rules = ManifestPolicy(urls=UrlPolicy(allow=(compiled,) * 20))
    await rules.check(parse_manifest(naming(*urls)))
    assert 2 * 20 * compiled.size * sum(map(len, urls)) < MOST_STEPS


URLS = st.builds(
    str.__add__,
    st.sampled_from(["http://", "https://"]),
    st.text(st.sampled_from("ab./:@%-é\ud800\0\U0001f600"), max_size=60),
)


@given(st.lists(URLS, max_size=5))
def test_each_url_is_decided_by_the_expressions(urls: list[str]) -> None:
    """Half a surrogate pair counts as U+FFFD, which is what Go reads."""
    rules = UrlPolicy(*((Expression.parse(text).compiled(),) for text in (DOCUMENTED[:-1], SLOW)))
    for url in urls:
        readable = url.replace("\ud800", "\ufffd")
        assert rules.permits(url) == rules.permits(readable)
        assert rules.permits(url) == (
            re.match(r"https?://([^/]+\.)*example\.com", readable) is not None
            and re.search("a[ab]{20}c", readable) is None
        )
