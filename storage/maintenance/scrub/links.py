"""Links that make content a member of a repository, each of which can be looked at by itself.

A folder without its link is no damage: that is what other registries leave behind when something
is deleted, and a crash in the middle of a push.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from storage import paths
from storage.blobs import content_of
from storage.digest import Digest
from storage.drivers.base import View
from storage.errors import DigestInvalid, PathNotFound
from storage.maintenance.scrub.contents import ABSENT, Contents
from storage.maintenance.scrub.findings import Finding, Kind, shown
from storage.names import RepositoryName


class Entry(Protocol):
    """Something in the tree that tells whether it is as it should be, from what it reads now."""

    @property
    def name(self) -> RepositoryName:
        """The repository it belongs to."""

    @property
    def path(self) -> str:
        """Where it lies."""

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Return what is wrong, or None; raise OSError when it can't be read."""


@dataclass(frozen=True, slots=True)
class LinkText:
    """What a link says, and what is wrong with how it says it.

    Without a digest a link is damaged. With one and `wrong` it is read here, but not elsewhere.
    """

    digest: Digest | None
    wrong: str = ""


def read_text(view: View, path: str) -> LinkText | None:
    """Read a link; None when there is none."""
    try:
        content = view.read(path)
    except PathNotFound:
        return LinkText(None, "is no file") if view.entry(path) else None
    if not content:
        return LinkText(None, "is empty")
    try:
        text = content.decode("ascii")
        digest = Digest.parse(text.strip())
    except (UnicodeDecodeError, DigestInvalid):
        return LinkText(None, f"is no digest but {shown(repr(content[:80]))}")
    return LinkText(digest, "" if text == str(digest) else "has more in it than a digest")


def is_member(view: View, name: RepositoryName, digest: Digest) -> bool:
    """Tell whether a manifest's link is there and sound."""
    text = read_text(view, paths.revision_link(name, digest))
    return text is not None and text.digest == digest


def has_blob(view: View, contents: Contents, name: RepositoryName, digest: Digest) -> str | None:
    """Return what keeps a repository from serving a blob; None when nothing does."""
    text = read_text(view, paths.layer_link(name, digest))
    content = None if text is None else content_of(digest, text.digest)
    if content is None:
        return "is not linked in this repository" if text is None else "has a damaged link"
    return contents.lacks(view, content)


@dataclass(frozen=True, slots=True)
class LayerLink:
    """The link of a blob."""

    name: RepositoryName
    digest: Digest

    @property
    def path(self) -> str:
        """Where it lies."""
        return paths.layer_link(self.name, self.digest)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it damaged, dead, or untidy."""
        text = read_text(view, self.path)
        if text is None:
            return None
        content = content_of(self.digest, text.digest)
        return judge(self, text, content, contents.lacks(view, content) if content else None)


@dataclass(frozen=True, slots=True)
class OfManifest:
    """Something about a manifest of a repository; it is found at the link of the manifest."""

    name: RepositoryName
    digest: Digest

    @property
    def path(self) -> str:
        """Where the link of the manifest lies."""
        return paths.revision_link(self.name, self.digest)


@dataclass(frozen=True, slots=True)
class RevisionLink(OfManifest):
    """The link of a manifest."""

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it damaged, dead, or untidy."""
        text = read_text(view, self.path)
        if text is None:
            return None
        content = self.digest if text.digest == self.digest else None
        return judge(self, text, content, contents.lacks(view, self.digest) if content else None)


def judge(
    link: LayerLink | RevisionLink, text: LinkText, content: Digest | None, lacking: str | None
) -> Finding | None:
    """Return what is wrong with a link that leads to `content`, which is `lacking` or not."""

    def found(kind: Kind, what: str) -> Finding:
        return Finding(kind, link.path, what, link.name, link.digest)

    if content is None:
        named = f"names {text.digest}" if text.digest else text.wrong
        return found(Kind.DAMAGED_LINK, f"the link {named}")
    if lacking == ABSENT and isinstance(link, LayerLink):
        # If a manifest needs the blob, the check of that manifest reports it.
        return found(Kind.ORPHANED_LINK, f"the blob that it links {lacking}")
    if lacking is not None:
        return found(Kind.DEAD_LINK, f"what it links {lacking}")
    return found(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None
