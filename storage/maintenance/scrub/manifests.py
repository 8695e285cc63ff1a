"""What a manifest names, looked for in its repository.

The bytes of a manifest never change. So a second look reads and parses nothing: it asks only
whether the manifest still is a member, and for what was missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storage import paths
from storage.blobs import read_verified
from storage.digest import Digest
from storage.drivers.base import FileInfo, View
from storage.errors import ManifestInvalid
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import OfManifest, has_blob, is_member
from storage.manifests import LARGEST_MANIFEST, Manifest
from storage.names import RepositoryName
from storage.stored_manifests import read_stored

_PUSH_AGAIN = "push the image again"
_PUSH_CACHE = "push the image or the build cache again"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that a manifest names: a manifest, a blob, or what may be either."""

    name: RepositoryName
    manifest: Digest
    digest: Digest
    may_be_manifest: bool
    may_be_blob: bool

    @property
    def path(self) -> str:
        """Where the link of the manifest lies."""
        return paths.revision_link(self.name, self.manifest)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it missing; it is none if what names it is no member any more."""
        if not _is_there(view, contents, self.name, self.manifest):
            return None
        return self.look_at_target(view, contents)

    def look_at_target(self, view: View, contents: Contents) -> Finding | None:
        """Find it missing, whether or not the manifest that names it is a member."""
        if self.may_be_manifest and _is_there(view, contents, self.name, self.digest):
            return None
        if not self.may_be_blob:
            what = f"manifest {self.digest} of this index is not here"
            return Finding(Kind.MISSING_CHILD, self.path, what, self.name, self.manifest)
        lacking = has_blob(view, contents, self.name, self.digest)
        if lacking is None:
            return None
        by, help = ("index", _PUSH_CACHE) if self.may_be_manifest else ("manifest", _PUSH_AGAIN)
        what = f"blob {self.digest} of this {by} {lacking}"
        return Finding(Kind.MISSING_BLOB, self.path, what, self.name, self.manifest, help)


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a manifest as a whole; `state` is that of bytes that are not what it is.

    Bytes that are what a digest names stay so, and have no `state`.
    """

    finding: Finding
    state: FileInfo | None = None

    @property
    def name(self) -> RepositoryName:
        """The repository of the manifest."""
        assert self.finding.repository is not None
        return self.finding.repository

    @property
    def path(self) -> str:
        """Where the link of the manifest lies."""
        return self.finding.path

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find the same again if the manifest still is a member, and its bytes are no others."""
        digest = self.finding.digest
        assert digest is not None
        if not _is_there(view, contents, self.name, digest):
            return None
        is_same = self.state is None or view.stat(paths.blob(digest)) == self.state
        return self.finding if is_same else None


@dataclass(frozen=True, slots=True)
class Content(OfManifest):
    """The bytes of a manifest that could not be read."""

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Raise OSError when they can't be read now either; they are not parsed."""
        if _is_there(view, contents, self.name, self.digest):
            read_verified(view, self.digest, LARGEST_MANIFEST)
        return None


@dataclass(frozen=True, slots=True)
class Checked:
    """What seems to be wrong with a manifest, and what it says it is about."""

    suspects: tuple[Reference | Flaw, ...] = ()
    subject: Digest | None = None


def check(view: View, contents: Contents, name: RepositoryName, digest: Digest) -> Checked:
    """Check a manifest of a repository; one that its link does not lead to is not its concern."""
    if not _is_there(view, contents, name, digest):
        return Checked()

    def flaw(kind: Kind, what: str, help: str = "", state: FileInfo | None = None) -> Flaw:
        path = paths.revision_link(name, digest)
        return Flaw(Finding(kind, path, what, name, digest, help), state)

    state = view.stat(paths.blob(digest))
    if state is None:
        return Checked()
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        what = "the bytes of the manifest are not what it names"
        return Checked((flaw(Kind.BAD_MANIFEST, what, _PUSH_AGAIN, state),))
    try:
        reading = read_stored(raw)
    except ManifestInvalid as error:
        what, help = f"this is no manifest: {error}", "delete it, or push the image again"
        return Checked((flaw(Kind.BAD_MANIFEST, what, help),))
    if reading.doubt is not None:
        what = f"served as it is, but what it names was not looked for: {reading.doubt}"
        return Checked((flaw(Kind.UNCHECKED_MANIFEST, what),), reading.subject)
    references = _references(name, digest, reading.manifest)
    missing = (one for one in references if one.look_at_target(view, contents))
    return Checked(tuple(missing), reading.subject)


def _references(name: RepositoryName, digest: Digest, manifest: Manifest) -> Iterator[Reference]:
    """Yield what has to be here; layers with URLs and subjects need not be."""
    for blob in dict.fromkeys(one.digest for one in manifest.blobs if not one.is_foreign):
        yield Reference(name, digest, blob, may_be_manifest=False, may_be_blob=True)
    for child, may_be_blob in manifest.child_kinds().items():
        yield Reference(name, digest, child, may_be_manifest=True, may_be_blob=may_be_blob)


def _is_there(view: View, contents: Contents, name: RepositoryName, digest: Digest) -> bool:
    """Tell whether a manifest is a member of a repository, and has bytes."""
    return is_member(view, name, digest) and not contents.lacks(view, digest)
