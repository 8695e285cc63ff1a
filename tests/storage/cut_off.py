"""Work of clients that may be interrupted anywhere: a table that is easy to extend.

Each scenario is prepared on an empty root. Then its work is interrupted, and repeated by a client
that knows what was acknowledged. The result is the same as that of undisturbed work.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from storage.errors import Unknown, UploadUnknown
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import OCI_MANIFEST
from storage.values.names import RepositoryName, UploadId
from storage.values.paths import OURS, TRASH
from tests.storage.collecting import collect
from tests.storage.content import APP, CONFIG, LAYER, OTHER, entry, image, index, raw
from tests.storage.ledger import NO, Client, Fact

Work: TypeAlias = Callable[[Client], Awaitable[None]]

SECOND = b"another layer" * 50
BASE = image()
MOVED = image(annotations={"is": "what a tag is moved to"})
DERIVED = image(subject=entry(raw(BASE), OCI_MANIFEST))
CHUNKS = [bytes([number]) * 300 for number in range(3)]


@dataclass(frozen=True)
class Scenario:
    """Work that is to be interrupted."""

    prepare: Work
    """What was done, and acknowledged, before."""
    work: Work
    again: Work
    """What a client does that does not know how far it came; succeeds, cut off or not."""
    fewest: int
    """How many changes of files `work` makes at least."""
    removes: bool = False
    """Whether what goes is moved aside, and removed once that is durable."""


async def _neighbour(client: Client) -> None:
    """Push an image that shares its config with all others, and must not be damaged."""
    await client.push_blob(OTHER, CONFIG)
    await client.push_blob(OTHER, SECOND)
    await client.push_manifest(OTHER, image(layers=[SECOND]), "v1")


async def _image(client: Client) -> None:
    await _neighbour(client)
    await client.push_blob(APP, CONFIG)
    await client.push_blob(APP, LAYER)
    await client.push_manifest(APP, BASE, "v1")


async def _image_and_referrer(client: Client) -> None:
    await _image(client)
    await client.push_manifest(APP, DERIVED, "v2", "v3")


async def _push_image(client: Client) -> None:
    await client.push_blob(APP, CONFIG)
    await client.push_blob(APP, LAYER)
    await client.push_blob(APP, SECOND)
    await client.push_manifest(APP, image(layers=[LAYER, SECOND]), "v1")


async def _push_large_digest(client: Client) -> None:
    await client.push_blob(APP, LAYER, "sha512")


async def _upload_in_chunks(client: Client) -> None:
    id = await client.begin(APP)
    for chunk in CHUNKS:
        await client.append(APP, id, chunk)
    await client.finish(APP, id, Digest.of(b"".join(CHUNKS)))


async def _resume(client: Client) -> None:
    """Continue from the registry's offset of the upload; the digest is correct at the end."""
    content = b"".join(CHUNKS)
    known = [fact for fact, values in client.ledger.about("upload").items() if values != {NO}]
    for _, name, text in known:
        id = UploadId.parse(text)
        with suppress(UploadUnknown):
            held = await client.at(RepositoryName.parse(name)).uploads.length(id)
            await client.append(APP, id, content[held:])
            await client.finish(APP, id, Digest.of(content))
            return
    await _upload_in_chunks(client)


async def _begun(client: Client) -> None:
    await _neighbour(client)
    await client.append(APP, await client.begin(APP), CHUNKS[0])


async def _cancel(client: Client) -> None:
    for (_, name, text), values in client.ledger.about("upload").items():
        if values != {NO}:
            await client.cancel(RepositoryName.parse(name), UploadId.parse(text))


async def _mount(client: Client) -> None:
    await client.mount(APP, Digest.of(SECOND), OTHER)


async def _retag(client: Client) -> None:
    await client.push_manifest(APP, MOVED, "v1")


async def _push_many_tags(client: Client) -> None:
    await client.push_manifest(APP, MOVED, "v1", "v2", "v3", "v4")


async def _push_index(client: Client) -> None:
    await client.push_manifest(APP, MOVED)
    await client.push_manifest(APP, index([raw(BASE), raw(MOVED)]), "all")


async def _push_referrer(client: Client) -> None:
    await client.push_manifest(APP, DERIVED)


async def _delete_tag(client: Client) -> None:
    await client.delete_tag(APP, "v2")


async def _delete_manifest(client: Client) -> None:
    await client.delete_manifest(APP, Digest.of(raw(DERIVED)))


async def _delete_blob(client: Client) -> None:
    await client.delete_blob(APP, Digest.of(LAYER))


async def _blob(client: Client) -> None:
    await _neighbour(client)
    await client.push_blob(APP, LAYER)


async def _with_garbage(client: Client) -> None:
    await _image(client)
    await client.push_manifest(APP, MOVED, "moving")
    await client.push_manifest(APP, BASE, "moving")
    await client.push_blob(APP, b"unreferenced bytes")
    await client.push_blob(OTHER, b"nor this")
    await client.push_manifest(APP, index([raw(MOVED)]))


async def _collect(client: Client) -> None:
    gone = [raw(MOVED), raw(index([raw(MOVED)]))]
    facts: dict[Fact, str] = {("manifest", APP.text, str(Digest.of(one))): NO for one in gone}
    facts["blob", APP.text, str(Digest.of(b"unreferenced bytes"))] = NO
    facts["blob", OTHER.text, str(Digest.of(b"nor this"))] = NO
    client.ledger.trying(facts)
    await collect(client.registry._driver, delete_untagged=True)
    client.ledger.done(facts)


def _unless_done(work: Work) -> Work:
    """Remove something; a late interruption may have left nothing to remove."""

    async def again(client: Client) -> None:
        with suppress(Unknown):
            await work(client)

    return again


SCENARIOS: dict[str, Scenario] = {
    "push an image": Scenario(_neighbour, _push_image, _push_image, 60),
    "push by another digest": Scenario(_neighbour, _push_large_digest, _push_large_digest, 15),
    "upload in chunks": Scenario(_neighbour, _upload_in_chunks, _resume, 30),
    "cancel an upload": Scenario(_begun, _cancel, _unless_done(_cancel), 3),
    "mount a blob": Scenario(_neighbour, _mount, _mount, 4),
    "move a tag": Scenario(_image, _retag, _retag, 15),
    "push under many tags": Scenario(_image, _push_many_tags, _push_many_tags, 30),
    "push an index": Scenario(_image, _push_index, _push_index, 20),
    "push a referrer": Scenario(_image, _push_referrer, _push_referrer, 12),
    "delete a tag": Scenario(
        _image_and_referrer, _delete_tag, _unless_done(_delete_tag), 6, removes=True
    ),
    "delete a manifest": Scenario(
        _image_and_referrer, _delete_manifest, _unless_done(_delete_manifest), 12, removes=True
    ),
    "collect garbage": Scenario(_with_garbage, _collect, _collect, 20, removes=True),
    "delete a blob": Scenario(_blob, _delete_blob, _unless_done(_delete_blob), 1, removes=True),
}


def lasting(root: Path) -> dict[str, bytes]:
    """Return every file that is not rubbish, by its path: what repeated work must agree on.

    Rubbish is what waits for a purge or a collection: unfinished uploads, temporary files, the
    trash, entries of the referrers index that lead to no member. The note about the last scan of
    that index tells the time.
    """
    found = {path: Path(root, path).read_bytes() for path in files(root)}
    return {path: content for path, content in found.items() if not _is_rubbish(path, found)}


def everything(root: Path) -> dict[str, bytes]:
    """Return all files and empty folders, but for what is remembered of when things were done."""
    top = os.path.join(root, ".")
    found = {
        os.path.normpath(f"{folder}/{name}"): b"a folder"
        for folder, _, _ in os.walk(top)
        for name in os.listdir(folder)
        if os.path.isdir(f"{folder}/{name}") and not os.listdir(f"{folder}/{name}")
    }
    found = {os.path.relpath(path, root): content for path, content in found.items()}
    found |= {path: Path(root, path).read_bytes() for path in files(root)}
    return {path: content for path, content in found.items() if not _is_a_memory(path)}


def _is_a_memory(path: str) -> bool:
    return path.startswith(f"{OURS}/") or path == TRASH or path.endswith("/_referrers/scanned")


def _is_rubbish(path: str, found: dict[str, bytes]) -> bool:
    parts = path.split("/")
    if "_uploads" in parts or parts[0] == TRASH or parts[-1].startswith(".tmp-"):
        return True
    if "_referrers" in parts:
        repository = path.partition("/_referrers/")[0]
        revision = "/".join([*parts[-3:-1], paths.LINK])
        return f"{repository}/_manifests/revisions/{revision}" not in found
    return not path.startswith(f"{paths.ROOT}/")


def leftovers(root: Path) -> list[str]:
    """Name the temporary files, and the files in the trash."""
    return [
        path
        for path in files(root)
        if path.startswith(f"{TRASH}/") or os.path.basename(path).startswith(".tmp-")
    ]


def files(root: Path) -> list[str]:
    """Name all files below a folder, relative to it."""
    above = len(str(root)) + 1
    return [f"{folder}/{name}"[above:] for folder, _, names in os.walk(root) for name in names]
