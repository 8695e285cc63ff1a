"""The oracle: what must be pullable now, as far as a client outside the server can know.

A tag is *busy* while a request that changes it is in progress; then it holds nothing, as either
outcome is legal. A manifest is *sure* from the answer that says it exists for as long as it is
reachable from a tag, through indexes and subjects. Afterwards a collection may remove it, and the
model knows nothing about it until it, or an index that lists it, is pushed again.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.race.contents import Blob, Manifest


@dataclass(slots=True)
class _Tag:
    owner: str
    manifest: Manifest | None = None
    busy: bool = False
    epoch: int = 0


@dataclass(slots=True)
class _Entry:
    """A manifest that was pushed and not deleted; `epoch` changes when it was not sure."""

    manifest: Manifest
    sure: bool
    used: float
    epoch: int


@dataclass(slots=True)
class _Repository:
    tags: dict[str, _Tag] = field(default_factory=dict)
    entries: dict[str, _Entry] = field(default_factory=dict)
    wanted: Counter[str] = field(default_factory=Counter)
    """Blobs of pushes under way."""
    leaving: set[str] = field(default_factory=set)
    """Blobs that are being deleted."""


@dataclass(frozen=True, slots=True)
class Token:
    """A manifest of a repository that was sure at some instant."""

    repository: str
    digest: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Held:
    """A manifest that must exist, and the token that proves it."""

    manifest: Manifest
    token: Token


@dataclass(frozen=True, slots=True)
class Look:
    """What a tag pointed to at some instant, and all that was surely reachable: itself first.

    `may` is what may be reachable too: signatures that were not checked since it was tagged.
    """

    repository: str
    tag: str
    epoch: int
    manifest: Manifest | None
    needs: tuple[Held, ...]
    may: tuple[Manifest, ...] = ()


class Model:
    """The promises of all repositories; thread-safe.

    `untagged_go` says whether collections remove old untagged manifests.
    """

    def __init__(self, *, untagged_go: bool) -> None:
        self._untagged_go = untagged_go
        self._repositories: dict[str, _Repository] = {}
        self._epochs = itertools.count(1)
        self._changed = threading.Condition(threading.RLock())

    def add(self, repository: str, owners: dict[str, str]) -> None:
        """Add a repository with tags and their owners."""
        made = _Repository({tag: _Tag(owner) for tag, owner in owners.items()})
        self._repositories[repository] = made

    # Changes, by the owner of a tag

    def begin(self, repository: str, tags: Iterable[str]) -> None:
        """Make tags hold nothing while they are changed."""
        with self._changed:
            at = self._repositories[repository]
            for tag in tags:
                at.tags[tag].busy = True
                at.tags[tag].epoch = next(self._epochs)
            self._drop_unreachable(at)

    def removed(self, repository: str, tags: Iterable[str]) -> None:
        """Record that changed tags are deleted."""
        with self._changed:
            self._end(self._repositories[repository], tags, None)

    def accepted(
        self, repository: str, manifest: Manifest, tags: Iterable[str], began: float
    ) -> None:
        """Record that a push which began then was accepted: all below it exists."""
        with self._changed:
            at = self._repositories[repository]
            for one in _below(manifest):
                self._ascertain(at, one)
            at.entries[manifest.digest].used = began
            self._end(at, tags, manifest)

    def _end(self, at: _Repository, tags: Iterable[str], manifest: Manifest | None) -> None:
        for tag in tags:
            state = at.tags[tag]
            state.busy, state.manifest, state.epoch = False, manifest, next(self._epochs)
        self._drop_unreachable(at)

    def used(self, repository: str, digest: str, began: float) -> None:
        """Record that a request which began then was told that a manifest exists."""
        with self._changed:
            entry = self._repositories[repository].entries.get(digest)
            if entry is not None:
                entry.used = max(entry.used, began)

    def begin_deletion(self, repository: str, digest: str) -> bool:
        """Make a manifest, and the tags that point to it, promise nothing.

        Returns False if something lists it, which would be broken.
        """
        with self._changed:
            at = self._repositories[repository]
            entries = at.entries.values()
            listed = (child for entry in entries for child in entry.manifest.children)
            if digest not in at.entries or any(child.digest == digest for child in listed):
                return False
            self.begin(repository, self._tags_at(at, digest))
            at.entries[digest].sure = False
            at.entries[digest].epoch = next(self._epochs)
            at.entries[digest].used = 0.0
            return True

    def end_deletion(self, repository: str, digest: str) -> None:
        """Record that a manifest, and the tags that pointed to it, are deleted."""
        with self._changed:
            at = self._repositories[repository]
            self._end(at, self._tags_at(at, digest), None)
            del at.entries[digest]
            self._drop_unreachable(at)

    def _tags_at(self, at: _Repository, digest: str) -> list[str]:
        states = at.tags.items()
        return [tag for tag, one in states if one.manifest and one.manifest.digest == digest]

    def _ascertain(self, at: _Repository, manifest: Manifest) -> None:
        entry = at.entries.get(manifest.digest)
        if entry is None:
            entry = _Entry(manifest, sure=True, used=0.0, epoch=next(self._epochs))
            at.entries[manifest.digest] = entry
        entry.sure = True

    def _drop_unreachable(self, at: _Repository) -> None:
        """Make everything that is unreachable from a tag promise nothing."""
        if not self._untagged_go:
            return
        held = self._held(at)
        for digest, entry in at.entries.items():
            if entry.sure and digest not in held:
                entry.sure, entry.epoch = False, next(self._epochs)

    def _held(self, at: _Repository) -> set[str]:
        tags = at.tags.values()
        return set(_closure(at, (tag.manifest for tag in tags if tag.manifest and not tag.busy)))

    # Pushes and deletions of blobs exclude each other

    @contextmanager
    def wanting(self, repository: str, blobs: Iterable[Blob]) -> Iterator[None]:
        """Prevent the deletion of blobs from a repository during a push."""
        wanted = {blob.digest for blob in blobs}
        at = self._repositories[repository]
        with self._changed:
            self._changed.wait_for(lambda: not wanted & at.leaving)
            at.wanted.update(wanted)
        try:
            yield
        finally:
            with self._changed:
                at.wanted.subtract(wanted)

    @contextmanager
    def leaving(self, repository: str, blobs: Iterable[Blob]) -> Iterator[list[str]]:
        """Yield those of some blobs that nothing in a repository needs, for deletion."""
        at = self._repositories[repository]
        with self._changed:
            needed = {blob.digest for one in at.entries.values() for blob in one.manifest.blobs}
            free = {
                blob.digest
                for blob in blobs
                if blob.digest not in needed | at.leaving and not at.wanted[blob.digest]
            }
            at.leaving |= free
        try:
            yield sorted(free)
        finally:
            with self._changed:
                at.leaving -= free
                self._changed.notify_all()

    # Questions

    def look(self, repository: str, tag: str) -> Look | None:
        """Return the promises of a tag now; None while it is busy."""
        with self._changed:
            at = self._repositories[repository]
            state = at.tags[tag]
            if state.busy:
                return None
            roots = [state.manifest] if state.manifest else []
            needs = tuple(
                Held(at.entries[one].manifest, Token(repository, one, at.entries[one].epoch))
                for one in _closure(at, roots)
                if at.entries[one].sure
            )
            all_of_it = _closure(at, roots, unsure_too=True)
            may = tuple(at.entries[one].manifest for one in all_of_it)
            return Look(repository, tag, state.epoch, state.manifest, needs, may)

    def stands(self, look: Look) -> bool:
        """Return whether a tag was not changed since."""
        with self._changed:
            return self._repositories[look.repository].tags[look.tag].epoch == look.epoch

    def vouches(self, token: Token | None) -> bool:
        """Return whether a manifest was sure all the time since."""
        if token is None:
            return False
        with self._changed:
            entry = self._repositories[token.repository].entries.get(token.digest)
            return entry is not None and entry.sure and entry.epoch == token.epoch

    def holder(self, repository: str, blob: str) -> Token | None:
        """Return a sure manifest that needs a blob."""
        with self._changed:
            for digest, entry in self._repositories[repository].entries.items():
                if entry.sure and any(blob == one.digest for one in entry.manifest.blobs):
                    return Token(repository, digest, entry.epoch)
            return None

    def holders(self, blob: str) -> list[Token]:
        """Return what surely holds a blob, in any repository."""
        with self._changed:
            found = (self.holder(repository, blob) for repository in self._repositories)
            return [one for one in found if one is not None]

    def token(self, repository: str, digest: str) -> Token | None:
        """Return the token of a manifest, if it is sure."""
        with self._changed:
            entry = self._repositories[repository].entries.get(digest)
            sure = entry is not None and entry.sure
            return Token(repository, digest, entry.epoch) if entry and sure else None

    def last_use(self, repository: str, digest: str) -> float:
        """Return when a manifest was last known to be used; 0 if it is unknown."""
        with self._changed:
            entry = self._repositories[repository].entries.get(digest)
            return entry.used if entry else 0.0

    def tags_of(self, repository: str, owner: str) -> list[str]:
        """Return the tags of an owner."""
        tags = self._repositories[repository].tags
        return [tag for tag, state in tags.items() if state.owner == owner]

    def loose(self, repository: str) -> list[Manifest]:
        """Return the manifests of a repository that are not sure."""
        with self._changed:
            entries = self._repositories[repository].entries.values()
            return [entry.manifest for entry in entries if not entry.sure]

    def known(self, repository: str) -> list[Manifest]:
        """Return the manifests of a repository that were not deleted."""
        with self._changed:
            return [one.manifest for one in self._repositories[repository].entries.values()]

    def looks(self, repository: str) -> list[Look]:
        """Return the promises of all tags of a repository that are not busy."""
        with self._changed:
            tags = self._repositories[repository].tags
            return [look for tag in tags if (look := self.look(repository, tag))]

    def owed(self, repository: str) -> list[Held]:
        """Return everything that must be in a repository now."""
        with self._changed:
            entries = self._repositories[repository].entries.items()
            return [
                Held(one.manifest, Token(repository, digest, one.epoch))
                for digest, one in entries
                if one.sure
            ]

    def forget_untagged(self) -> None:
        """From now on collections remove untagged manifests."""
        with self._changed:
            self._untagged_go = True
            for at in self._repositories.values():
                self._drop_unreachable(at)

    def any_tag(self, rng: random.Random) -> tuple[str, str]:
        """Choose a tag of any owner."""
        repository = rng.choice(list(self._repositories))
        return repository, rng.choice(list(self._repositories[repository].tags))

    @property
    def repositories(self) -> Sequence[str]:
        """The names of all repositories."""
        return tuple(self._repositories)


def _below(manifest: Manifest) -> Iterator[Manifest]:
    yield manifest
    for child in manifest.children:
        yield from _below(child)


def _closure(
    at: _Repository, roots: Iterable[Manifest], *, unsure_too: bool = False
) -> dict[str, None]:
    """Return the digests of all entries reachable from roots, by children and referrers."""
    found: dict[str, None] = {}
    waiting = [root.digest for root in roots]
    while waiting:
        digest = waiting.pop()
        entry = at.entries.get(digest)
        if entry is None or digest in found:
            continue
        found[digest] = None
        waiting += [child.digest for child in entry.manifest.children]
        waiting += [
            one.manifest.digest
            for one in at.entries.values()
            if (one.sure or unsure_too) and _is_about(one.manifest, digest)
        ]
    return found


def _is_about(manifest: Manifest, digest: str) -> bool:
    return manifest.subject is not None and manifest.subject.digest == digest
