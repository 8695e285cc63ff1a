"""Who verifies tokens at this moment: the keys may change, and with them what is remembered.

A verifier never forgets a key, nor a token that it has verified. So for other keys there is another
one, which remembers nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Protocol, TypeAlias

from registry_server.auth.keyring import Keyring
from registry_server.auth.tokens import TokenVerifier
from registry_server.auth.watched import Watched

MakeVerifier: TypeAlias = Callable[[Keyring], TokenVerifier]


class Verifiers(Protocol):
    """Tells who verifies."""

    async def now(self) -> TokenVerifier:
        """Return who verifies a token that has just come."""


class SameVerifier:
    """A verifier for keys that never change."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def now(self) -> TokenVerifier:
        """Return it."""
        return self._verifier


class WatchedVerifier:
    """A verifier for the keys of several files together, made anew when one of them changes."""

    def __init__(self, files: Sequence[Watched[Keyring]], make: MakeVerifier) -> None:
        """Have `make` make one whenever a file says something else."""
        self._files = files
        self._make = make
        self._said: list[Keyring] = []
        self._verifier = make(Keyring(()))

    async def now(self) -> TokenVerifier:
        """Return the one for what the files say now."""
        said = [await each.now() for each in self._files]
        if not _are_the_same(said, self._said):
            self._said, self._verifier = said, self._make(Keyring.joined(said))
        return self._verifier


def _are_the_same(some: list[Keyring], others: list[Keyring]) -> bool:
    """Tell whether no file was read since; to compare keys would take longer."""
    return len(some) == len(others) and all(map(is_, some, others))
