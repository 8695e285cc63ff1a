"""A tag and its history, looked at.

A history that names manifests which are gone is what every deletion of an older manifest leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from storage import paths
from storage.deletions import is_left_undone
from storage.digest import Digest
from storage.drivers.base import View
from storage.links import digests
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import LinkText, is_member, read_text
from storage.names import RepositoryName, Tag

# Manifests of a history that are looked for in one look, which pushes may have to wait for.
_MOST_ASKED = 256


@dataclass(frozen=True, slots=True)
class CurrentLink:
    """What a tag points to now."""

    name: RepositoryName
    tag: Tag

    @property
    def path(self) -> str:
        """Where it lies."""
        return paths.tag_current_link(self.name, self.tag)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find the tag dead, its link damaged, or untidy.

        It is dead when its manifest is gone, or when nothing says which it was. A damaged link
        whose history names manifests that are there, or very many, is a question for people, unless
        it names one.
        A tag whose manifest is being deleted is no finding: the deletion removes it.
        """
        text = read_text(view, self.path)
        if text is None:
            if not self._has_folder(view):
                return None  # it was deleted
            text = LinkText(None, "is missing")
        digest = text.digest
        if digest is None:
            kind = Kind.DAMAGED_LINK if self._may_live(view) else Kind.DEAD_TAG
            return self._found(kind, f"the link of tag {self.tag} {text.wrong}")
        if is_left_undone(view, self.name, digest):
            return None
        if not is_member(view, self.name, digest):
            return self._found(Kind.DEAD_TAG, f"tag {self.tag} points to no manifest", digest)
        if text.wrong:
            return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}", digest)
        return None

    def certain(self, view: View) -> Digest | None:
        """Return what the tag must have pointed to, if its history leaves no doubt."""
        history = list(islice(self._history(view), 2))
        is_certain = len(history) == 1 and is_member(view, self.name, history[0])
        return history[0] if is_certain else None

    def _history(self, view: View) -> Iterator[Digest]:
        """Yield all that the tag ever pointed to, as far as its history has it."""
        return digests(view, paths.tag_history(self.name, self.tag))

    def _may_live(self, view: View) -> bool:
        """Tell whether a manifest of the history exists, or the history is too long to tell."""
        history = list(islice(self._history(view), _MOST_ASKED + 1))
        if len(history) > _MOST_ASKED:
            return True
        return any(is_member(view, self.name, one) for one in history)

    def _has_folder(self, view: View) -> bool:
        """Tell whether the tag's folder is there."""
        found = view.entry(paths.tag(self.name, self.tag))
        return found is not None and found.is_folder

    def _found(self, kind: Kind, what: str, digest: Digest | None = None) -> Finding:
        return Finding(kind, self.path, what, self.name, digest)


@dataclass(frozen=True, slots=True)
class HistoryLink:
    """An entry of a tag's history."""

    name: RepositoryName
    tag: Tag
    digest: Digest

    @property
    def path(self) -> str:
        """Where it lies."""
        return paths.tag_index_link(self.name, self.tag, self.digest)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it stale, damaged, or untidy."""
        text = read_text(view, self.path)
        if text is None:
            return None
        if is_left_undone(view, self.name, self.digest):
            return None
        if not is_member(view, self.name, self.digest):
            gone = f"the history of tag {self.tag} names a manifest that is gone"
            return self._found(Kind.STALE_HISTORY, gone)
        if text.digest != self.digest:
            named = f"names {text.digest}" if text.digest else text.wrong
            return self._found(Kind.DAMAGED_LINK, f"the link {named}")
        return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None

    def _found(self, kind: Kind, what: str) -> Finding:
        return Finding(kind, self.path, what, self.name, self.digest)
