"""Checks of the links that make blobs and manifests members of a repository.

A folder without its link is no damage: deletions by other registries leave it behind, and so does
a crash in the middle of a push.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from storage.content.blob_store import content_of
from storage.drivers.base import Reader
from storage.errors import DigestInvalid, PathNotFound
from storage.maintenance.scrub.findings import Finding, Kind, shown
from storage.maintenance.scrub.reading.blob_contents import ABSENT, Contents
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName


class Checkable(Protocol):
    """Something in the tree that can check itself."""

    @property
    def name(self) -> RepositoryName:
        """The repository it belongs to."""

    @property
    def path(self) -> str:
        """Its path."""

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Read it, and return what is wrong, or None; raise OSError when it can't be read."""


@dataclass(frozen=True, slots=True)
class LinkText:
    """The content of a link, and what is wrong with it.

    Without a digest the link is damaged. With a digest and `wrong` only this registry can read it.
    """

    digest: Digest | None
    wrong: str = ""


def read_text(reader: Reader, path: str) -> LinkText | None:
    """Read a link; return None when it is missing."""
    try:
        content = reader.read(path)
    except PathNotFound:
        return LinkText(None, "is not a regular file") if reader.entry(path) else None
    if not content:
        return LinkText(None, "is empty")
    try:
        text = content.decode("ascii")
        digest = Digest.parse(text.strip())
    except (UnicodeDecodeError, DigestInvalid):
        return LinkText(None, f"contains {shown(repr(content[:80]))} instead of a digest")
    return LinkText(digest, "" if text == str(digest) else "contains more than a digest")


def is_member(reader: Reader, name: RepositoryName, digest: Digest) -> bool:
    """Return whether a manifest's link exists and is intact."""
    text = read_text(reader, paths.revision_link(name, digest))
    return text is not None and text.digest == digest


def has_blob(
    reader: Reader, contents: Contents, name: RepositoryName, digest: Digest
) -> str | None:
    """Return why a repository cannot serve a blob; None if it can."""
    text = read_text(reader, paths.layer_link(name, digest))
    content = None if text is None else content_of(digest, text.digest)
    if content is None:
        return "has no link in this repository" if text is None else "has a damaged link"
    return contents.lacks(reader, content)


@dataclass(frozen=True, slots=True)
class LayerLink:
    """The link of a blob."""

    name: RepositoryName
    digest: Digest

    @property
    def path(self) -> str:
        return paths.layer_link(self.name, self.digest)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        text = read_text(reader, self.path)
        if text is None:
            return None
        content = content_of(self.digest, text.digest)
        return finding_of(self, text, content, contents.lacks(reader, content) if content else None)


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """Something about a manifest of a repository, reported at the path of the manifest's link."""

    name: RepositoryName
    digest: Digest

    @property
    def path(self) -> str:
        return paths.revision_link(self.name, self.digest)


@dataclass(frozen=True, slots=True)
class RevisionLink(ManifestEntry):
    """The link of a manifest."""

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        text = read_text(reader, self.path)
        if text is None:
            return None
        content = self.digest if text.digest == self.digest else None
        return finding_of(
            self, text, content, contents.lacks(reader, self.digest) if content else None
        )


def finding_of(
    link: LayerLink | RevisionLink, text: LinkText, content: Digest | None, lacking: str | None
) -> Finding | None:
    """Return what is wrong with a link to `content`; `lacking` is what is wrong with that."""

    def finding(kind: Kind, what: str) -> Finding:
        return Finding(kind, link.path, what, link.name, link.digest)

    if content is None:
        wrong = f"names {text.digest}" if text.digest else text.wrong
        return finding(Kind.DAMAGED_LINK, f"the link {wrong}")
    if lacking == ABSENT and isinstance(link, LayerLink):
        # If a manifest needs the blob, the check of that manifest reports it.
        return finding(Kind.ORPHANED_LINK, "dangling link: its blob is missing")
    if lacking is not None:
        return finding(Kind.DEAD_LINK, f"dangling link: its target {lacking}")
    return finding(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None
