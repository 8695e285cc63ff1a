"""The current verifier of tokens, which changes with the keys.

The keys and the cache of a `TokenVerifier` are never invalidated. When keys change, a new verifier
with an empty cache replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Protocol, TypeAlias

from registry_server.access.tokens.bearer import TokenVerifier
from registry_server.access.tokens.keyring import Keyring
from registry_server.files.watched_file import WatchedFile

MakeVerifier: TypeAlias = Callable[[Keyring], TokenVerifier]


class VerifierSource(Protocol):
    """A source of the current verifier."""

    async def now(self) -> TokenVerifier:
        """Return the verifier for the current keys."""


class FixedVerifier:
    """A verifier for keys that never change."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def now(self) -> TokenVerifier:
        return self._verifier


class ReloadingVerifier:
    """A verifier for the keys of several files, replaced when one of the files changes."""

    def __init__(self, files: Sequence[WatchedFile[Keyring]], make: MakeVerifier) -> None:
        """Call `make` for a new verifier whenever the content of a file changes."""
        self._files = files
        self._make = make
        self._rings: list[Keyring] = []
        self._verifier = make(Keyring(()))

    async def now(self) -> TokenVerifier:
        rings = [await file.now() for file in self._files]
        if not _are_identical(rings, self._rings):
            self._rings, self._verifier = rings, self._make(Keyring.union(rings))
        return self._verifier


def _are_identical(rings: list[Keyring], others: list[Keyring]) -> bool:
    """Return whether both lists have the same objects; comparing keys would take longer."""
    return len(rings) == len(others) and all(map(is_, rings, others))
