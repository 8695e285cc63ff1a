"""What a manifest names, looked for in its repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storage import paths
from storage.blobs import read_verified
from storage.digest import Digest
from storage.drivers.base import View
from storage.errors import ManifestInvalid
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import has_blob, is_member
from storage.manifests import LARGEST_MANIFEST, Manifest
from storage.names import RepositoryName
from storage.stored_manifests import read_stored

_PUSH_AGAIN = "push the image again"
_PUSH_CACHE = "push the image or the build cache again"


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a manifest, and what it says it is about."""

    findings: tuple[Finding, ...] = ()
    subject: Digest | None = None


def check(view: View, contents: Contents, name: RepositoryName, digest: Digest) -> Checked:
    """Check a manifest of a repository; one that its link does not lead to is not its concern."""
    if not is_member(view, name, digest) or contents.lacks(view, digest):
        return Checked()
    path = paths.revision_link(name, digest)
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        what = "the bytes of the manifest are not what it names"
        return Checked((Finding(Kind.BAD_MANIFEST, path, what, name, digest, _PUSH_AGAIN),))
    try:
        reading = read_stored(raw)
    except ManifestInvalid as error:
        what, help = f"this is no manifest: {error}", "delete it, or push the image again"
        return Checked((Finding(Kind.BAD_MANIFEST, path, what, name, digest, help),))
    if reading.doubt is not None:
        what = f"served as it is, but what it names was not looked for: {reading.doubt}"
        unchecked = Finding(Kind.UNCHECKED_MANIFEST, path, what, name, digest)
        return Checked((unchecked,), reading.subject)
    return Checked(tuple(_lacking(view, contents, name, digest, reading.manifest)), reading.subject)


def _lacking(
    view: View, contents: Contents, name: RepositoryName, digest: Digest, manifest: Manifest
) -> Iterator[Finding]:
    """Find what is missing; layers with URLs and subjects need not be here."""
    path = paths.revision_link(name, digest)
    for blob in dict.fromkeys(one.digest for one in manifest.blobs if not one.is_foreign):
        lacking = has_blob(view, contents, name, blob)
        if lacking is not None:
            what = f"blob {blob} of this manifest {lacking}"
            yield Finding(Kind.MISSING_BLOB, path, what, name, digest, _PUSH_AGAIN)
    for child, may_be_blob in manifest.child_kinds().items():
        if is_member(view, name, child) and not contents.lacks(view, child):
            continue
        if not may_be_blob:
            what = f"manifest {child} of this index is not here"
            yield Finding(Kind.MISSING_CHILD, path, what, name, digest)
            continue
        lacking = has_blob(view, contents, name, child)
        if lacking is not None:
            what = f"blob {child} of this index {lacking}"
            yield Finding(Kind.MISSING_BLOB, path, what, name, digest, _PUSH_CACHE)
