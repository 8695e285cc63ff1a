"""A ledger of what a registry acknowledged to an interrupted client, to compare with its answers.

A client records in a ledger what it is about to change, and again when it is done. In between each
fact may have the old value or the new one; after a call that returned there is one value. The
ledger can be written to a file and outlives the process that was killed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from storage.errors import BlobUnknown, ManifestUnknown, RepositoryUnknown, UploadUnknown
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Reference, RepositoryName, Tag, UploadId
from tests.storage import content as pushes
from tests.storage.content import pull_blob, push_manifest, raw

# A kind, a repository, and a name in it: ("manifest", "library/app", "v1").
Fact: TypeAlias = tuple[str, ...]
YES, NO = "yes", "no"
_ALL = 1 << 30


class Ledger:
    """The possible values of each fact; a fact that was never recorded is `NO`."""

    def __init__(self, write: Callable[[str], object] = lambda _: None) -> None:
        self.facts: dict[Fact, set[str]] = {}
        self._write = write

    @classmethod
    def read(cls, *files: Path) -> Ledger:
        """Read what another process recorded, line by line."""
        ledger = cls()
        for file in files:
            for line in file.read_text().splitlines():
                ledger._note(json.loads(line))
        return ledger

    def write_to(self, write: Callable[[str], object]) -> None:
        """Write all further records to a file."""
        self._write = write

    def trying(self, changes: Mapping[Fact, str]) -> None:
        """Record that each of these facts may change to a value from now on."""
        self._note([[*fact, value, "trying"] for fact, value in changes.items()])

    def done(self, changes: Mapping[Fact, str]) -> None:
        """Record that each of these facts was acknowledged to have a value."""
        self._note([[*fact, value, "done"] for fact, value in changes.items()])

    def about(self, kind: str) -> dict[Fact, set[str]]:
        """Return the facts of a kind."""
        return {fact: values for fact, values in self.facts.items() if fact[0] == kind}

    def without(self, kind: str) -> Ledger:
        """Return a copy without the facts of a kind."""
        other = self.copy()
        for fact in self.about(kind):
            del other.facts[fact]
        return other

    def copy(self) -> Ledger:
        """Return a copy that can be changed independently."""
        other = Ledger()
        other.facts = {fact: set(values) for fact, values in self.facts.items()}
        return other

    def _note(self, rows: list[list[str]]) -> None:
        self._write(json.dumps(rows) + "\n")
        for *fact, value, word in rows:
            if word == "done":
                self.facts[tuple(fact)] = {value}
            else:
                self.facts.setdefault(tuple(fact), {NO}).add(value)


class Client:
    """Sends changes to a registry, and keeps the ledger."""

    def __init__(self, registry: StoredRegistry, ledger: Ledger) -> None:
        self.registry = registry
        self.ledger = ledger

    def at(self, name: RepositoryName) -> StoredRepository:
        """Open a repository."""
        return self.registry.repository(name)

    async def push_blob(
        self, name: RepositoryName, content: bytes, algorithm: str = "sha256"
    ) -> None:
        """Push a blob in one request; on failure its session is dropped, as a server does."""
        id = await self.begin(name, algorithm)
        try:
            await self.append(name, id, content)
            await self.finish(name, id, Digest.of(content, algorithm))
        except OSError:
            with suppress(UploadUnknown):
                await self.cancel(name, id)
            raise

    async def begin(self, name: RepositoryName, algorithm: str = "sha256") -> UploadId:
        """Begin an upload."""
        id = await self.at(name).uploads.start(algorithm)
        self.ledger.done({("upload", name.text, id.text): "0-0"})
        return id

    async def append(self, name: RepositoryName, id: UploadId, content: bytes) -> None:
        """Append to an upload; until that is done it may have any part of `content`."""
        held = await self.at(name).uploads.length(id)
        upload = ("upload", name.text, id.text)
        self.ledger.trying({upload: f"{held}-{held + len(content)}"})
        try:
            await pushes.append(self.at(name), id, content)
        except OSError:
            # Bytes that could not be synced are dropped, and the client gets an error.
            self.ledger.trying({upload: "0-0"})
            raise
        self.ledger.done({upload: f"{held + len(content)}-{held + len(content)}"})

    async def finish(self, name: RepositoryName, id: UploadId, digest: Digest) -> None:
        """Commit an upload."""
        upload, blob = ("upload", name.text, id.text), ("blob", name.text, str(digest))
        self.ledger.trying({upload: NO, blob: YES})
        try:
            await pushes.finish(self.at(name), id, digest)
        except OSError:
            self.ledger.trying({upload: "0-0"})
            raise
        self.ledger.done({upload: NO, blob: YES})

    async def cancel(self, name: RepositoryName, id: UploadId) -> None:
        """Cancel an upload."""
        upload = ("upload", name.text, id.text)
        self.ledger.trying({upload: NO})
        await self.at(name).uploads.cancel(id)
        self.ledger.done({upload: NO})

    async def mount(self, name: RepositoryName, digest: Digest, source: RepositoryName) -> None:
        """Mount a blob."""
        blob: dict[Fact, str] = {("blob", name.text, str(digest)): YES}
        self.ledger.trying(blob)
        await self.at(name).blobs.mount(digest, source)
        self.ledger.done(blob)

    async def push_manifest(
        self, name: RepositoryName, document: Mapping[str, object], *tags: str
    ) -> Digest:
        """Push a manifest by digest and under tags."""
        manifest, digest = parse_manifest(raw(document)), Digest.of(raw(document))
        facts: dict[Fact, str] = {
            ("manifest", name.text, one): str(digest) for one in (str(digest), *tags)
        }
        if manifest.subject is not None:
            facts["referrer", name.text, str(manifest.subject.digest), str(digest)] = YES
        self.ledger.trying(facts)
        await push_manifest(self.at(name), document, *tags)
        self.ledger.done(facts)
        return digest

    async def delete_blob(self, name: RepositoryName, digest: Digest) -> None:
        """Delete a blob."""
        blob: dict[Fact, str] = {("blob", name.text, str(digest)): NO}
        self.ledger.trying(blob)
        await self.at(name).blobs.delete(digest)
        self.ledger.done(blob)

    async def delete_tag(self, name: RepositoryName, tag: str) -> None:
        """Delete only the tag."""
        manifest: dict[Fact, str] = {("manifest", name.text, tag): NO}
        self.ledger.trying(manifest)
        await self.at(name).tags.delete(Tag(tag))
        self.ledger.done(manifest)

    async def delete_manifest(self, name: RepositoryName, digest: Digest) -> None:
        """Delete a manifest and its tags."""
        facts = {
            fact: NO
            for fact, values in self.ledger.facts.items()
            if fact[1] == name.text and (str(digest) in values or fact[-1] == str(digest))
        }
        self.ledger.trying(facts)
        await self.at(name).manifests.delete(digest)
        self.ledger.done(facts)


async def assert_kept(registry: StoredRegistry, ledger: Ledger) -> None:
    """Compare what is served and listed with the ledger."""
    for fact, values in ledger.facts.items():
        found = await _observe(registry, fact)
        assert any(_fits(found, value) for value in values), f"{fact} is {found}, not {values}"
    await _assert_tags_listed(registry, ledger)
    await _assert_in_catalog(registry, ledger)


async def _assert_tags_listed(registry: StoredRegistry, ledger: Ledger) -> None:
    for name in {fact[1] for fact in ledger.facts}:
        known = {
            fact[2]: values
            for fact, values in ledger.about("manifest").items()
            if fact[1] == name and ":" not in fact[2]
        }
        _assert_listed(await _listed_tags(registry, name), known)


async def _assert_in_catalog(registry: StoredRegistry, ledger: Ledger) -> None:
    """A repository is listed while it surely has a manifest, and not if it surely has none."""
    holding: dict[str, set[str]] = {}
    for fact, values in ledger.about("manifest").items():
        known = holding.setdefault(fact[1], {NO})
        known.update(values)
        if NO not in values:
            known.add(YES)
    for known in holding.values():
        if YES in known:
            known.discard(NO)
    _assert_listed({one.text for one in (await registry.catalog("", _ALL)).entries}, holding)


def _assert_listed(listed: Iterable[str], known: Mapping[str, set[str]]) -> None:
    """Everything that must exist is listed, and nothing that must not exist."""
    must = {one for one, values in known.items() if NO not in values}
    may = {one for one, values in known.items() if values != {NO}}
    assert must <= set(listed) <= may, f"{sorted(listed)} are listed; {must} must, {may} may be"


def _fits(found: str, value: str) -> bool:
    if not found.isdigit() or "-" not in value:
        return found == value
    low, high = map(int, value.split("-"))
    return low <= int(found) <= high


async def _observe(registry: StoredRegistry, fact: Fact) -> str:
    kind, name, *about = fact
    return await _OBSERVERS[kind](registry.repository(RepositoryName.parse(name)), *about)


async def _blob(repository: StoredRepository, text: str) -> str:
    digest = Digest.parse(text)
    try:
        content = await pull_blob(repository, digest)
        assert await repository.blobs.size(digest) == len(content)
    except BlobUnknown:
        return NO
    assert Digest.of(content, digest.algorithm) == digest, f"{digest} is served with other bytes"
    return YES


async def _manifest(repository: StoredRepository, text: str) -> str:
    reference: Reference = Digest.parse(text) if ":" in text else Tag.parse(text)
    try:
        found = await repository.manifests.get(reference)
    except ManifestUnknown:
        return NO
    assert Digest.of(found.raw, found.digest.algorithm) == found.digest
    return str(found.digest)


async def _referrer(repository: StoredRepository, subject: str, referrer: str) -> str:
    page = await repository.referrers.page(Digest.parse(subject), None, "", _ALL)
    return YES if referrer in {str(one.digest) for one in page.entries} else NO


async def _upload(repository: StoredRepository, text: str) -> str:
    try:
        return str(await repository.uploads.length(UploadId.parse(text)))
    except UploadUnknown:
        return NO


async def _listed_tags(registry: StoredRegistry, name: str) -> set[str]:
    try:
        page = await registry.repository(RepositoryName.parse(name)).tags.page("", None)
    except RepositoryUnknown:
        return set()
    return {tag.text for tag in page.entries}


_OBSERVERS: dict[str, Callable[..., Awaitable[str]]] = {
    "blob": _blob,
    "manifest": _manifest,
    "referrer": _referrer,
    "upload": _upload,
}
