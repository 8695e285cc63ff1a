"""A refusal leaves nothing in memory that only the garbage collector would free."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.serving.workers.executor import PreparedExecutor
from registry_server.wiring.app import build
from storage.drivers.filesystem.driver import FilesystemDriver
from tests.support.wire import OCI_INDEX
from tests.v2.asgi import Request, ask
from tests.v2.pushes import ABSENT, BASE, LAYER, UPLOADS

UNFINISHED = f"{UPLOADS}01234567-89ab-4def-8123-456789abcdef"
PUT = f"{BASE}/manifests/v1"
# Too large to parse on the event loop.
PADDING = b" " * (65 << 10)
HEAD = b'{"schemaVersion":2,"mediaType":"%b"' % OCI_INDEX.encode()

REFUSED = {
    "a manifest that is no JSON": Request("PUT", PUT, body=b"{"),
    "a large one": Request("PUT", PUT, body=b"{" + PADDING),
    "a large one of no known type": Request(
        "PUT", PUT, body=b'{"schemaVersion":2,"mediaType":"x"}' + PADDING
    ),
    "one with a wrong digest": Request("PUT", f"{BASE}/manifests/{ABSENT}", body=b"{}" + PADDING),
    "one whose parts are absent": Request(
        "PUT",
        PUT,
        body=HEAD + b',"manifests":[{"digest":"%b","size":1}]}' % ABSENT.encode() + PADDING,
    ),
    "a manifest that is absent": Request("GET", PUT),
    "a blob that is absent": Request("GET", f"{BASE}/blobs/{ABSENT}"),
    "an upload that is absent": Request("PATCH", UNFINISHED, body=LAYER),
    "the end of one": Request("PUT", UNFINISHED, f"digest={ABSENT}".encode(), body=LAYER),
    "a blob with a wrong digest": Request("POST", UPLOADS, f"digest={ABSENT}".encode(), body=LAYER),
    "tags of no repository": Request("GET", f"{BASE}/tags/list"),
    "a page of none": Request("GET", f"{BASE}/tags/list", b"n=x"),
    "referrers of no digest": Request("GET", f"{BASE}/referrers/x"),
    "a method that is not served": Request("DELETE", "/v2/"),
    "a path that is not served": Request("GET", "/v2/x"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_the_exception_of_a_refusal_is_freed(
    refused: str, tmp_path: Path, uncollected: None
) -> None:
    """With it the frames it passed through, and their locals."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(PreparedExecutor())  # as in a server
        runner.run(_refuse(FilesystemDriver(tmp_path), REFUSED[refused]))


async def _refuse(driver: FilesystemDriver, refused: Request) -> None:
    app = await asyncio.to_thread(build, validated(Settings, {}), driver)
    before = _errors()
    for _ in range(3):
        answer = await ask(app, refused)
        assert 400 <= answer.status < 500
        del answer
    await _until_only(before)
    await driver.close()


async def _until_only(known: set[int]) -> None:
    """Wait: a thread releases an exception a moment after it has answered."""
    for _ in range(400):
        if _errors() <= known:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("an error is left")


def _errors() -> set[int]:
    return {id(each) for each in gc.get_objects() if issubclass(type(each), BaseException)}
