"""Checks of tags and their history.

A history that names deleted manifests is usual: the deletion of an older manifest leaves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from storage.content.deletions import is_partly_deleted
from storage.content.links import digests
from storage.drivers.base import Reader
from storage.maintenance.scrub.checks.link_checks import LinkText, is_member, read_text
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag

# Manifests of a history that one look checks: pushes may wait for it.
_MOST_ASKED = 256


@dataclass(frozen=True, slots=True)
class CurrentLink:
    """The link of a tag to its manifest."""

    name: RepositoryName
    tag: Tag

    @property
    def path(self) -> str:
        return paths.tag_current_link(self.name, self.tag)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return a finding if the tag is dead, or its link is damaged or untidy.

        A tag is dead if its manifest is missing, or if its link is damaged and no manifest of its
        history exists. A damaged link is repaired if the history names one manifest, otherwise an
        operator has to decide. A tag whose manifest is being deleted is no finding, because the
        deletion removes the tag.
        """
        text = read_text(reader, self.path)
        if text is None:
            if not self._has_folder(reader):
                return None  # it was deleted
            text = LinkText(None, "is missing")
        digest = text.digest
        if digest is None:
            kind = Kind.DAMAGED_LINK if self._may_live(reader) else Kind.DEAD_TAG
            return self._found(kind, f"the link of tag {self.tag} {text.wrong}")
        if is_partly_deleted(reader, self.name, digest):
            return None
        if not is_member(reader, self.name, digest):
            what = f"tag {self.tag} points to a missing manifest"
            return self._found(Kind.DEAD_TAG, what, digest)
        if text.wrong:
            return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}", digest)
        return None

    def certain(self, reader: Reader) -> Digest | None:
        """Return the manifest that the tag must have pointed to, if its history names only one."""
        history = list(islice(self._history(reader), 2))
        is_certain = len(history) == 1 and is_member(reader, self.name, history[0])
        return history[0] if is_certain else None

    def _history(self, reader: Reader) -> Iterator[Digest]:
        """Yield the manifests of the tag's history."""
        return digests(reader, paths.tag_history(self.name, self.tag))

    def _may_live(self, reader: Reader) -> bool:
        """Return whether a manifest of the history exists, or the history is too long to check."""
        history = list(islice(self._history(reader), _MOST_ASKED + 1))
        if len(history) > _MOST_ASKED:
            return True
        return any(is_member(reader, self.name, digest) for digest in history)

    def _has_folder(self, reader: Reader) -> bool:
        entry = reader.entry(paths.tag(self.name, self.tag))
        return entry is not None and entry.is_folder

    def _found(self, kind: Kind, what: str, digest: Digest | None = None) -> Finding:
        return Finding(kind, self.path, what, self.name, digest)


@dataclass(frozen=True, slots=True)
class HistoryLink:
    """A link in a tag's history."""

    name: RepositoryName
    tag: Tag
    digest: Digest

    @property
    def path(self) -> str:
        return paths.tag_index_link(self.name, self.tag, self.digest)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        text = read_text(reader, self.path)
        if text is None:
            return None
        if is_partly_deleted(reader, self.name, self.digest):
            return None
        if not is_member(reader, self.name, self.digest):
            what = f"the history of tag {self.tag} names a deleted manifest"
            return self._found(Kind.STALE_HISTORY, what)
        if text.digest != self.digest:
            wrong = f"names {text.digest}" if text.digest else text.wrong
            return self._found(Kind.DAMAGED_LINK, f"the link {wrong}")
        return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None

    def _found(self, kind: Kind, what: str) -> Finding:
        return Finding(kind, self.path, what, self.name, self.digest)
