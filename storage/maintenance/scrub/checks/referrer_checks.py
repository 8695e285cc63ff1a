"""Checks of the referrers index: its links and the descriptors beside them."""

from __future__ import annotations

from dataclasses import dataclass

from storage.drivers.base import Reader
from storage.errors import PathNotFound
from storage.maintenance.scrub.checks.link_checks import is_member, read_text
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.maintenance.scrub.reading.manifest_facts import hashed
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from storage.values.referrer_entries import LONGEST_ENTRY


@dataclass(frozen=True, slots=True)
class ReferrerLink:
    """The link that makes `digest` a referrer of `subject`; it may be missing."""

    name: RepositoryName
    subject: Digest
    digest: Digest

    @property
    def path(self) -> str:
        return paths.referrer_link(self.name, self.subject, self.digest)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return what is wrong with the link; None also when its manifest can't be read."""
        text = read_text(reader, self.path)
        if not is_member(reader, self.name, self.digest):
            return self._found(Kind.STALE_REFERRER, "the referrer was deleted") if text else None
        facts = contents.facts_of(reader, self.digest)
        if facts is None:
            return None
        if facts.subject != self.subject:
            what = "the manifest has another subject"
            return self._found(Kind.STALE_REFERRER, what) if text else None
        if text is None:
            return self._found(Kind.UNLISTED_REFERRER, "a referrer that is missing in the index")
        if text.digest != self.digest:
            return self._found(
                Kind.DAMAGED_LINK, f"the link {text.wrong or 'names another digest'}"
            )
        return self._found(Kind.UNTIDY_LINK, f"the link {text.wrong}") if text.wrong else None

    def _found(self, kind: Kind, what: str) -> Finding:
        return Finding(kind, self.path, what, self.name, self.digest)


@dataclass(frozen=True, slots=True)
class ReferrerDescription:
    """The cached descriptor of `digest`; a repair removes it, and the next list writes it again."""

    name: RepositoryName
    subject: Digest
    digest: Digest

    @property
    def path(self) -> str:
        return paths.referrer_descriptor(self.name, self.subject, self.digest)

    def look(self, reader: Reader, contents: Contents) -> Finding | None:
        """Return a finding if it is stale; None also when the manifest can't be read."""
        try:
            document = reader.read(self.path, LONGEST_ENTRY + 1)
        except PathNotFound:
            return None
        if not is_member(reader, self.name, self.digest):
            return self._found("the referrer was deleted")
        facts = contents.facts_of(reader, self.digest)
        if facts is None or facts.descriptor == hashed(document):
            return None
        return self._found("the descriptor differs from the manifest")

    def _found(self, what: str) -> Finding:
        return Finding(Kind.STALE_REFERRER, self.path, what, self.name, self.digest)
