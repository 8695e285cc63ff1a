"""One request deletes a tag or manifest while another sets the tag."""

from __future__ import annotations

import asyncio

from storage.drivers.base import Driver
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Tag
from tests.storage.content import APP, image, push_blob, push_image, raw


async def test_a_moved_tag_survives_the_deletion_of_its_previous_manifest(
    driver: Driver,
) -> None:
    """Every acknowledged move of a tag survives a concurrent deletion of its previous manifest."""
    repository = StoredRegistry(driver).repository(APP)
    tags = tuple(Tag(f"v{number}") for number in range(12))
    old, new = raw(image()), raw(image(annotations={"is": "new"}))
    await push_image(repository, *map(str, tags))
    replacement = parse_manifest(new)
    moves = [repository.manifests.put(replacement, Digest.of(new), (tag,)) for tag in tags]
    await asyncio.gather(*moves[:6], repository.manifests.delete(Digest.of(old)), *moves[6:])
    for tag in tags:
        assert (await repository.manifests.get(tag)).digest == Digest.of(new)
    assert (await repository.tags.page("", None)).entries == tuple(sorted(tags))


async def test_a_tag_pushed_and_deleted_concurrently_ends_in_one_of_the_states(
    driver: Driver,
) -> None:
    """However pushes and deletions of a tag interleave, it can be pulled or does not exist."""
    repository = StoredRegistry(driver).repository(APP)
    await push_blob(repository, b"{}")
    documents = [raw(image(layers=[], annotations={"n": str(n)})) for n in range(8)]
    await push_image(repository, "first")
    tag = Tag("contested")

    async def push(document: bytes) -> None:
        await repository.manifests.put(parse_manifest(document), Digest.of(document), (tag,))

    async def delete() -> None:
        await asyncio.sleep(0)
        await asyncio.gather(repository.tags.delete(tag), return_exceptions=True)

    work = [step for document in documents for step in (push(document), delete())]
    await asyncio.gather(*work)
    await push(documents[0])
    assert (await repository.manifests.get(tag)).raw == documents[0]
