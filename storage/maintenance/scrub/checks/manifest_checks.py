"""Checks that the content a manifest names is in its repository.

The bytes of a manifest never change. So a second look reads and parses no manifest: it only checks
whether the manifest is still a member, and whether the missing content is still missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storage.content.blob_store import read_verified
from storage.drivers.base import FileInfo, Reader
from storage.errors import ManifestInvalid
from storage.maintenance.scrub.checks.link_checks import ManifestEntry, has_blob, is_member
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import LARGEST_MANIFEST, Manifest
from storage.values.names import RepositoryName
from storage.values.stored_manifests import read_stored

_PUSH_AGAIN = "push the image again"
_PUSH_CACHE = "push the image or the build cache again"


@dataclass(frozen=True, slots=True)
class NamedContent:
    """A digest that a manifest names: of a manifest, of a blob, or of either."""

    name: RepositoryName
    manifest: Digest
    digest: Digest
    may_be_manifest: bool
    may_be_blob: bool

    @property
    def path(self) -> str:
        return paths.revision_link(self.name, self.manifest)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return a finding if the content is missing and the manifest is still a member."""
        if not _exists(reader, contents, self.name, self.manifest):
            return None
        return self.look_at_target(reader, contents)

    def look_at_target(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return a finding if the content is missing, without checking the manifest."""
        if self.may_be_manifest and _exists(reader, contents, self.name, self.digest):
            return None
        if not self.may_be_blob:
            what = f"manifest {self.digest} of this index is missing"
            return Finding(Kind.MISSING_CHILD, self.path, what, self.name, self.manifest)
        lacking = has_blob(reader, contents, self.name, self.digest)
        if lacking is None:
            return None
        by, help = ("index", _PUSH_CACHE) if self.may_be_manifest else ("manifest", _PUSH_AGAIN)
        what = f"blob {self.digest} of this {by} {lacking}"
        return Finding(Kind.MISSING_BLOB, self.path, what, self.name, self.manifest, help)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Damage of a manifest as a whole; `state` is that of its file if its bytes are corrupt.

    Bytes that match their digest never change, and have no `state`.
    """

    finding: Finding
    state: FileInfo | None = None

    @property
    def name(self) -> RepositoryName:
        assert self.finding.repository is not None
        return self.finding.repository

    @property
    def path(self) -> str:
        return self.finding.path

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return the finding again if the manifest is a member and its bytes are unchanged."""
        digest = self.finding.digest
        assert digest is not None
        if not _exists(reader, contents, self.name, digest):
            return None
        is_same = self.state is None or reader.stat(paths.blob(digest)) == self.state
        return self.finding if is_same else None


@dataclass(frozen=True, slots=True)
class UnreadableManifest(ManifestEntry):
    """The bytes of a manifest that could not be read."""

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Raise OSError if the bytes still can't be read; they are not parsed."""
        if _exists(reader, contents, self.name, self.digest):
            read_verified(reader, self.digest, LARGEST_MANIFEST)
        return None


@dataclass(frozen=True, slots=True)
class Checked:
    """The suspected damage of a manifest, and its subject."""

    suspects: tuple[NamedContent | Flaw, ...] = ()
    subject: Digest | None = None


def check(reader: Reader, contents: Contents, name: RepositoryName, digest: Digest) -> Checked:
    """Check a manifest of a repository, unless its link is damaged or dangles."""
    if not _exists(reader, contents, name, digest):
        return Checked()

    def flaw(kind: Kind, what: str, help: str = "", state: FileInfo | None = None) -> Flaw:
        path = paths.revision_link(name, digest)
        return Flaw(Finding(kind, path, what, name, digest, help), state)

    state = reader.stat(paths.blob(digest))
    if state is None:
        return Checked()
    raw = read_verified(reader, digest, LARGEST_MANIFEST)
    if raw is None:
        what = "the manifest's bytes do not match its digest"
        return Checked((flaw(Kind.BAD_MANIFEST, what, _PUSH_AGAIN, state),))
    try:
        reading = read_stored(raw)
    except ManifestInvalid as error:
        what, help = f"not a manifest: {error}", "delete it, or push the image again"
        return Checked((flaw(Kind.BAD_MANIFEST, what, help),))
    if reading.doubt is not None:
        what = f"served unchanged, but its references were not checked: {reading.doubt}"
        return Checked((flaw(Kind.UNCHECKED_MANIFEST, what),), reading.subject)
    named = _named_content(name, digest, reading.manifest)
    missing = (content for content in named if content.look_at_target(reader, contents))
    return Checked(tuple(missing), reading.subject)


def _named_content(
    name: RepositoryName, digest: Digest, manifest: Manifest
) -> Iterator[NamedContent]:
    """Yield the references that must exist; layers with URLs and subjects may be missing."""
    for blob in dict.fromkeys(layer.digest for layer in manifest.blobs if not layer.is_foreign):
        yield NamedContent(name, digest, blob, may_be_manifest=False, may_be_blob=True)
    for child, may_be_blob in manifest.child_kinds().items():
        yield NamedContent(name, digest, child, may_be_manifest=True, may_be_blob=may_be_blob)


def _exists(reader: Reader, contents: Contents, name: RepositoryName, digest: Digest) -> bool:
    """Return whether a manifest is a member of a repository, and has bytes."""
    return is_member(reader, name, digest) and not contents.lacks(reader, digest)
