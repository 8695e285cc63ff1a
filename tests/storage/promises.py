"""What was acknowledged to clients, and an oracle that checks a storage against it.

A fact is something a client can query. Work on a registry is a list of steps, each of which says
what some facts are from its acknowledgement on. Between its beginning and that, each of them has
the old value or the new one, and no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from storage.content.links import read_link
from storage.drivers.filesystem.driver import FilesystemDriver, empty_trash
from storage.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    RepositoryUnknown,
    UploadUnknown,
)
from storage.repository.registry import StoredRegistry, walk
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Reference, RepositoryName, Tag, UploadId
from tests.storage.content import append, finish, pull_blob
from tests.storage.purging import purged
from tests.storage.soundness import assert_sound

# Bytes that are served, or whether something is listed; None for what is missing.
Value: TypeAlias = bytes | bool | None
Work: TypeAlias = Callable[[StoredRegistry], Awaitable[object]]


class Fact(Protocol):
    """Something a client can query."""

    async def ask(self, registry: StoredRegistry) -> Value:
        """Return the registry's answer."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a blob."""

    name: RepositoryName
    digest: Digest

    async def ask(self, registry: StoredRegistry) -> Value:
        """Pull it."""
        try:
            return await pull_blob(registry.repository(self.name), self.digest)
        except BlobUnknown:
            return None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The bytes of a manifest, by digest or tag."""

    name: RepositoryName
    reference: Reference

    async def ask(self, registry: StoredRegistry) -> Value:
        """Pull it."""
        try:
            return (await registry.repository(self.name).manifests.get(self.reference)).raw
        except ManifestUnknown:
            return None


@dataclass(frozen=True, slots=True)
class Listed:
    """Whether a tag is listed."""

    name: RepositoryName
    tag: Tag

    async def ask(self, registry: StoredRegistry) -> Value:
        """List tags."""
        with suppress(RepositoryUnknown):
            page = await registry.repository(self.name).tags.page("", None)
            return self.tag in page.entries or None
        return None


@dataclass(frozen=True, slots=True)
class History:
    """Whether the history of a tag names a manifest, for other registries."""

    name: RepositoryName
    tag: Tag
    digest: Digest

    async def ask(self, registry: StoredRegistry) -> Value:
        """Read the link."""
        link = paths.tag_index_link(self.name, self.tag, self.digest)
        linked = await registry._driver.batch(lambda reader: read_link(reader, link))
        return linked == self.digest or None


@dataclass(frozen=True, slots=True)
class Referrer:
    """Whether a manifest is listed as a referrer of its subject."""

    name: RepositoryName
    subject: Digest
    digest: Digest

    async def ask(self, registry: StoredRegistry) -> Value:
        """List referrers."""
        referrers = registry.repository(self.name).referrers
        page = await referrers.page(self.subject, None, "", 1000)
        return self.digest in [entry.digest for entry in page.entries] or None


@dataclass(frozen=True, slots=True)
class Step:
    """One request: its work, the facts that it changes, how a client repeats it."""

    does: str
    work: Work
    makes: Mapping[Fact, Value] = field(default_factory=dict)
    again: Work | None = None
    """Where it is not to do the same once more."""
    may_list_in_vain: bool = False
    """Whether, half done, it may leave a tag that is listed and not there."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What must be true at one moment: the possible values of each fact, and the current step."""

    allowed: Mapping[Fact, tuple[Value, ...]]
    under_way: Step | None


def promise(steps: Iterable[Step], begun: int, done: int) -> Promise:
    """Return what must be true when `begun` steps were begun and the first `done` of them are done.

    A fact that no step has set yet is None.
    """
    listed = list(steps)
    allowed: dict[Fact, tuple[Value, ...]] = {
        fact: (None,) for step in listed for fact in step.makes
    }
    for step in listed[:done]:
        allowed |= {fact: (value,) for fact, value in step.makes.items()}
    under_way = listed[done] if begun > done else None
    if under_way is not None:
        for fact, value in under_way.makes.items():
            allowed[fact] = (*allowed[fact], value)
    return Promise(allowed, under_way)


@dataclass(frozen=True, slots=True)
class Oracle:
    """Queries a storage in a folder for everything that must be true, as a new server does.

    `uploads` are the contents that clients were about to upload, to be named with `algorithm`.
    """

    uploads: tuple[bytes, ...]
    algorithm: str = "sha256"

    async def judge(self, root: Path, promise: Promise, *, is_whole: bool) -> None:
        """Raise if a promise is broken.

        With `is_whole` no byte was lost, and every session can be continued.
        """
        empty_trash(root)
        driver = FilesystemDriver(root, sync=False, threads=1)
        try:
            await self._judge(driver, promise, is_whole=is_whole)
        finally:
            await driver.close()

    async def _judge(self, driver: FilesystemDriver, promise: Promise, *, is_whole: bool) -> None:
        registry = StoredRegistry(driver)
        await _assert_kept(registry, promise.allowed)
        await assert_sound(driver)
        step = promise.under_way
        if step is None or not step.may_list_in_vain:
            await _assert_listed_tags_answer(driver, registry)
        await self._finish_uploads(driver, registry, is_whole=is_whole)
        if step is not None:
            await (step.again or step.work)(registry)
            made = {fact: (value,) for fact, value in step.makes.items()}
            await _assert_kept(StoredRegistry(driver), made)
        await _purge(driver)
        await assert_sound(driver)

    async def _finish_uploads(
        self, driver: FilesystemDriver, registry: StoredRegistry, *, is_whole: bool
    ) -> None:
        """Let each client whose session exists continue it."""
        for name, id in await _sessions(driver):
            repository = registry.repository(name)
            with suppress(UploadUnknown):
                length = await repository.uploads.length(id)
                content = await self._content(driver, name, id, length)
                digest = Digest.of(content, self.algorithm)
                is_finished = await _is_finished(repository, id, content, digest)
                assert is_finished or not is_whole, f"upload {id} of {name} can't be finished"

    async def _content(
        self, driver: FilesystemDriver, name: RepositoryName, id: UploadId, length: int
    ) -> bytes:
        """Return what a client is likely to have been uploading in a session."""
        held = await driver.read(paths.upload_data(name, id), 1 << 30)
        assert len(held) == length
        fitting = [content for content in self.uploads if content.startswith(held)]
        return (fitting or [content for content in self.uploads if len(content) >= length])[0]


async def _assert_kept(registry: StoredRegistry, allowed: Mapping[Fact, tuple[Value, ...]]) -> None:
    for fact, values in allowed.items():
        told = await fact.ask(registry)
        assert told in values, f"{fact} is {told!r}, not one of {values!r}"


async def _assert_listed_tags_answer(driver: FilesystemDriver, registry: StoredRegistry) -> None:
    for name in await driver.batch(lambda reader: list(walk(reader))):
        repository = registry.repository(name)
        with suppress(RepositoryUnknown):
            for tag in (await repository.tags.page("", None)).entries:
                await repository.manifests.get(tag)


async def _is_finished(
    repository: StoredRepository, id: UploadId, content: bytes, digest: Digest
) -> bool:
    """Continue a session from its offset; return whether it becomes a blob or was refused."""
    held = await repository.uploads.length(id)
    try:
        await append(repository, id, content[held:])
        await finish(repository, id, digest)
    except DigestInvalid:
        return False
    assert await pull_blob(repository, digest) == content
    return True


async def _sessions(driver: FilesystemDriver) -> list[tuple[RepositoryName, UploadId]]:
    return await driver.batch(
        lambda reader: [
            (name, UploadId.parse(text))
            for name in walk(reader)
            for text in reader.names(paths.uploads(name))
        ]
    )


async def _purge(driver: FilesystemDriver) -> None:
    """Remove all sessions, however damaged, and check that none is left."""
    await purged(driver, -3600)
    assert not await _sessions(driver)
