"""Work on a registry whose power may fail: requests, and what each of them promises.

To add one, write a function that returns its `Step`, and a row in `SCENARIOS`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import pytest

from storage.errors import ChunkSizeMismatch, Unknown
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import RepositoryName, Tag, UploadId
from tests.storage.collecting import collect
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    append,
    entry,
    finish,
    image,
    index,
    push_blob,
    push_manifest,
    raw,
)
from tests.storage.promises import (
    Blob,
    Fact,
    History,
    Listed,
    Manifest,
    Referrer,
    Step,
    Value,
    Work,
)
from tests.storage.streams import stream_of

Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class Scenario:
    """Requests in order; the power fails after the first `since` are acknowledged."""

    steps: Sequence[Step]
    since: int = 0
    uploads: tuple[bytes, ...] = (LAYER, CONFIG)
    """What clients upload."""
    algorithm: str = "sha256"
    """What they name it with."""
    spare: str = "nothing"
    """A pattern of what is synced although nothing that was promised depends on that here."""


def _push_blob(content: bytes, name: RepositoryName = APP) -> Step:
    async def work(registry: StoredRegistry) -> None:
        await push_blob(registry.repository(name), content)

    return Step("push a blob", work, {Blob(name, Digest.of(content)): content})


def _push_manifest(document: Document, *texts: str) -> Step:
    async def work(registry: StoredRegistry) -> None:
        await push_manifest(registry.repository(APP), document, *texts)

    content, digest = raw(document), Digest.of(raw(document))
    made: dict[Fact, Value] = {Manifest(APP, digest): content}
    for tag in map(Tag, texts):
        made |= {Manifest(APP, tag): content, Listed(APP, tag): True}
        made |= {History(APP, tag, digest): True}
    subject = parse_manifest(content).subject
    if subject is not None:
        made |= {Referrer(APP, subject.digest, digest): True}
    return Step("push a manifest", work, made)


def _mount(content: bytes, name: RepositoryName, source: RepositoryName) -> Step:
    async def work(registry: StoredRegistry) -> None:
        await registry.repository(name).blobs.mount(Digest.of(content), source)

    return Step("mount a blob", work, {Blob(name, Digest.of(content)): content})


def _delete_blob(content: bytes) -> Step:
    async def work(registry: StoredRegistry) -> None:
        await registry.repository(APP).blobs.delete(Digest.of(content))

    return Step("delete a blob", work, {Blob(APP, Digest.of(content)): None}, _unless_gone(work))


def _delete_tag(text: str, *history: Document) -> Step:
    tag = Tag(text)

    async def work(registry: StoredRegistry) -> None:
        await registry.repository(APP).tags.delete(tag)

    made: dict[Fact, Value] = {Manifest(APP, tag): None, Listed(APP, tag): None}
    made |= {History(APP, tag, Digest.of(raw(one))): None for one in history}
    return Step("delete a tag", work, made, _unless_gone(work))


def _delete_manifest(document: Document, *texts: str) -> Step:
    digest = Digest.of(raw(document))

    async def work(registry: StoredRegistry) -> None:
        await registry.repository(APP).manifests.delete(digest)

    made: dict[Fact, Value] = {Manifest(APP, digest): None}
    for tag in map(Tag, texts):
        made |= {Manifest(APP, tag): None, Listed(APP, tag): None, History(APP, tag, digest): None}
    subject = parse_manifest(raw(document)).subject
    if subject is not None:
        made |= {Referrer(APP, subject.digest, digest): None}
    return Step("delete a manifest", work, made, _unless_gone(work), may_list_in_vain=True)


def _unless_gone(work: Work) -> Work:
    """Delete again; content that is already deleted stays deleted."""

    async def again(registry: StoredRegistry) -> None:
        with suppress(Unknown):
            await work(registry)

    return again


def _list_referrers(document: Document, *found: Document) -> Step:
    subject = Digest.of(raw(document))

    async def work(registry: StoredRegistry) -> None:
        await registry.repository(APP).referrers.page(subject, None, "", 100)

    made: dict[Fact, Value] = {Referrer(APP, subject, Digest.of(raw(one))): True for one in found}
    return Step("list referrers", work, made)


def _lose_referrers() -> Step:
    """Remove the referrers index, which another registry does not write."""

    async def work(registry: StoredRegistry) -> None:
        root = registry._driver.root  # type: ignore[attr-defined]
        shutil.rmtree(f"{root}/{paths.repository(APP)}/_referrers")

    return Step("forget all referrers", work)


def _collect(makes: Mapping[Fact, Value]) -> Step:
    """Collect everything unreferenced, however young."""

    async def work(registry: StoredRegistry) -> None:
        await collect(registry._driver, delete_untagged=True)

    return Step("collect garbage", work, makes)


def _upload(*chunks: bytes, algorithm: str = "sha256") -> list[Step]:
    """Upload a blob with a request for each chunk; a client that finds no session starts again."""
    content, ids = b"".join(chunks), list[UploadId]()
    digest = Digest.of(content, algorithm)

    async def start(registry: StoredRegistry) -> None:
        ids[:] = [await registry.repository(APP).uploads.start(algorithm)]

    def add(chunk: bytes) -> Work:
        return lambda registry: append(registry.repository(APP), ids[0], chunk)

    async def break_off(registry: StoredRegistry) -> None:
        async with registry.repository(APP).uploads.open(ids[0]) as session:
            with pytest.raises(ChunkSizeMismatch):
                await session.append(stream_of(chunks[1][:7]), DeclaredRange(length=100))

    async def end(registry: StoredRegistry) -> None:
        await finish(registry.repository(APP), ids[0], digest)

    async def push(registry: StoredRegistry) -> None:
        await push_blob(registry.repository(APP), content, algorithm)

    return [
        Step("start an upload", start),
        Step("append a chunk", add(chunks[0]), again=push),
        Step("append less than was declared", break_off, again=push),
        *(Step("append a chunk", add(chunk), again=push) for chunk in chunks[1:]),
        Step("finish an upload", end, {Blob(APP, digest): content}, push),
    ]


BASE = image()
NEWER = image(annotations={"is": "newer"})
SIGNATURE = image(layers=[], subject=entry(raw(BASE), "application/vnd.oci.image.manifest.v1+json"))
CHUNKS = tuple(bytes([number]) * 64 for number in range(1, 4))
IMAGE = (_push_blob(CONFIG), _push_blob(LAYER))
TAGGED = (*IMAGE, _push_manifest(BASE, "v1"))
SIGNED = (*TAGGED, _push_manifest(SIGNATURE, "signature"))
# The index of referrers is rebuilt from the manifests after each boot.
REFERRERS = "_referrers"

# What no tag leads to and no manifest names, and what says so.
UNUSED: Mapping[Fact, Value] = {
    Manifest(APP, Digest.of(raw(NEWER))): None,
    Blob(APP, Digest.of(b"more")): None,
}

SCENARIOS: Mapping[str, Scenario] = {
    "push of an image": Scenario(TAGGED),
    "push of many tags": Scenario((*IMAGE, _push_manifest(BASE, "v1", "v2", "latest")), since=2),
    "push to a known repository": Scenario(
        (*TAGGED, _push_blob(b"more"), _push_manifest(NEWER, "v2")),
        since=3,
        uploads=(LAYER, CONFIG, b"more"),
    ),
    "a tag that moves": Scenario((*TAGGED, _push_manifest(NEWER, "v1")), since=3),
    # All that is written but the tag is there already.
    "a tag that moves back": Scenario(
        (*TAGGED, _push_manifest(NEWER, "v1"), _push_manifest(BASE, "v1")),
        since=4,
        spare=r"/(blobs|revisions|index)/.*/\w{64}$",
    ),
    "push of an index": Scenario(
        (*IMAGE, _push_manifest(BASE), _push_manifest(index([raw(BASE)]), "v1")), since=3
    ),
    "push of a referrer": Scenario(
        (*TAGGED, _list_referrers(BASE), _push_manifest(SIGNATURE), _list_referrers(BASE)), since=3
    ),
    "referrers that are found": Scenario(
        (*SIGNED, _lose_referrers(), _list_referrers(BASE, SIGNATURE)), since=4
    ),
    "mount": Scenario((_push_blob(LAYER), _mount(LAYER, OTHER, APP)), since=1),
    "deletion of a tag": Scenario((*TAGGED, _delete_tag("v1", BASE)), since=3),
    "deletion of a manifest": Scenario(
        (*SIGNED, _delete_manifest(SIGNATURE, "signature")),
        since=4,
        spare=f"{REFERRERS}|{paths.repository(APP)}$",
    ),
    "deletion of a blob": Scenario((_push_blob(LAYER), _delete_blob(LAYER)), since=1),
    "collection": Scenario(
        (*TAGGED, _push_manifest(NEWER), _push_blob(b"more"), _collect(UNUSED)),
        since=5,
        uploads=(LAYER, CONFIG, b"more"),
        spare=r"/(blobs|tags)/|repositories/?$|/\.registry",
    ),
    "upload in chunks": Scenario(_upload(*CHUNKS), uploads=(b"".join(CHUNKS),)),
    "upload with sha512": Scenario(
        _upload(*CHUNKS, algorithm="sha512"),
        since=4,
        uploads=(b"".join(CHUNKS),),
        algorithm="sha512",
    ),
}
