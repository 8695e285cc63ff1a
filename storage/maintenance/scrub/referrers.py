"""Checks of the referrers index: a link, which may be missing, and the descriptor beside it."""

from __future__ import annotations

from dataclasses import dataclass

from storage import paths
from storage.digest import Digest
from storage.drivers.base import View
from storage.errors import PathNotFound
from storage.maintenance.scrub.contents import Contents
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import is_member, read_text
from storage.maintenance.scrub.readings import hashed
from storage.names import RepositoryName
from storage.referrer_entries import LONGEST_ENTRY


@dataclass(frozen=True, slots=True)
class ReferrerLink:
    """What says that `digest` has `subject`."""

    name: RepositoryName
    subject: Digest
    digest: Digest

    @property
    def path(self) -> str:
        """Where it lies, or should."""
        return paths.referrer_link(self.name, self.subject, self.digest)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it stale, missing, damaged, or untidy; None also when nobody can tell."""
        text = read_text(view, self.path)
        if not is_member(view, self.name, self.digest):
            return self._found(Kind.STALE_REFERRER, "a referrer that is gone") if text else None
        facts = contents.facts_of(view, self.digest)
        if facts is None:
            return None
        if facts.subject != self.subject:
            return self._found(Kind.STALE_REFERRER, "no referrer of this") if text else None
        if text is None:
            return self._found(Kind.UNLISTED_REFERRER, "a referrer that is not in the index")
        if text.digest != self.digest:
            return self._found(Kind.DAMAGED_LINK, f"the link {text.wrong or 'names another'}")
        return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None

    def _found(self, kind: Kind, what: str) -> Finding:
        return Finding(kind, self.path, what, self.name, self.digest)


@dataclass(frozen=True, slots=True)
class ReferrerDescription:
    """What a list says of `digest`; a repair removes it, and the next list writes it again."""

    name: RepositoryName
    subject: Digest
    digest: Digest

    @property
    def path(self) -> str:
        """Where it lies."""
        return paths.referrer_descriptor(self.name, self.subject, self.digest)

    def look(self, view: View, contents: Contents) -> Finding | None:
        """Find it stale; None also when there is none, or the manifest can't be read."""
        try:
            document = view.read(self.path, LONGEST_ENTRY + 1)
        except PathNotFound:
            return None
        if not is_member(view, self.name, self.digest):
            return self._found("a referrer that is gone")
        facts = contents.facts_of(view, self.digest)
        if facts is None or facts.descriptor == hashed(document):
            return None
        return self._found("not what the manifest says")

    def _found(self, what: str) -> Finding:
        return Finding(Kind.STALE_REFERRER, self.path, what, self.name, self.digest)
