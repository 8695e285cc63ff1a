"""Patterns of repository names: `team/**`, `library/*`, `home/{user}/**`; pure.

A glob must match the whole name. Slashes separate the parts of both:

    ?        one character of a part
    *        any characters of a part, or none
    **       any number of parts: one or more at the end, else zero or more
    {user}   the caller's name, if that is a valid part of a repository name

So `team/**` matches everything below `team` but not `team` itself, and `**/app` matches `app` and
`a/b/app`. For a caller whose name can't be a part (`robot:ci`, `..`, `*`), no glob with `{user}`
matches.

A match takes at most the length of the glob times the length of the name in steps. Most globs do
not match a given name, so the literal text of a glob is searched first, in under a microsecond.
Then the parts after its last `**` and before its first one are compared with the ends of the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias, TypeVar

from storage.values.names import is_component

P = TypeVar("P")
I = TypeVar("I")  # noqa: E741 - an item, where P is a part of a pattern

ANY_PARTS = "**"
USER = "{user}"
_TWICE = (ANY_PARTS, ANY_PARTS)
_WILDCARDS = re.compile(r"[*?]+")

# Compared as tuples: the larger rank is the more specific glob.
Rank: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob: its text in the configuration, its parts, and how specific it is.

    Each matching name contains all of `literals`.

    `rank` prefers more literal characters, then more `{user}`, then fewer `**`, then fewer `*`,
    then fewer `?`. A slash is literal unless it is next to `**`, which may match it. So a plain
    name is more specific than every other glob that matches it.

    `{user}` is not literal, and a bound glob keeps its rank: otherwise a long user name would make
    a glob more specific than a restriction that applies to a short one.
    """

    text: str
    parts: tuple[str, ...]
    rank: Rank
    literals: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> Glob:
        """Parse a glob; every text is a glob, though not every glob can match a name."""
        # `**/**` means the same as `**`, so it must not be more specific.
        parts = text.split("/")
        pairs = zip(parts, ["", *parts], strict=False)
        kept = tuple(part for part, previous in pairs if (part, previous) != _TWICE)
        return Glob(text, kept, _rank(kept), _literals(kept))

    def bound(self, user: str) -> Glob | None:
        """Return the glob with `{user}` replaced; None if `user` can't be a part of a name."""
        if USER not in self.parts:
            return self
        if not is_component(user):
            return None
        parts = tuple(user if part == USER else part for part in self.parts)
        return replace(self, parts=parts, literals=_literals(parts))

    def matches(self, name: str) -> bool:
        """Return whether the glob matches the whole of `name`.

        A `{user}` that was not replaced is literal, and so matches no valid name.
        """
        if not all(map(name.__contains__, self.literals)):
            return False
        parts = name.split("/")
        if self.parts[-1] != ANY_PARTS:
            return _fits(self.parts, parts, ANY_PARTS, _part_fits)
        return _fits((*self.parts[:-1], "*", ANY_PARTS), parts, ANY_PARTS, _part_fits)


def _rank(parts: tuple[str, ...]) -> Rank:
    written = "".join(part for part in parts if part not in (ANY_PARTS, USER))
    slashes = sum(ANY_PARTS not in pair for pair in pairwise(parts))
    stars, marks = written.count("*"), written.count("?")
    literal = len(written) - stars - marks + slashes
    return literal, parts.count(USER), -parts.count(ANY_PARTS), -stars, -marks


def _literals(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the text between wildcards and slashes, the longest first: it excludes most names."""
    literals = {text for part in parts for text in _WILDCARDS.split(part)} - {""}
    return tuple(sorted(literals, key=len, reverse=True))


def _part_fits(pattern: str, part: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == part
    return _fits(pattern, part, "*", _character_fits)


def _character_fits(pattern: str, character: str) -> bool:
    return pattern in ("?", character)


def _fits(pattern: Sequence[P], items: Sequence[I], star: P, fits: Callable[[P, I], bool]) -> bool:
    """Return whether `pattern` matches all `items`, where `star` matches any number of them.

    The pattern after the last star must match the end of the items. The pattern between two stars
    is matched as early as possible, so only the last star seen ever takes more items. No item is
    compared twice with the same part of the pattern.
    """
    end, left = len(pattern), len(items)
    while end and pattern[end - 1] != star:
        if not left or not fits(pattern[end - 1], items[left - 1]):
            return False
        end, left = end - 1, left - 1
    return _begins(pattern[:end], items[:left], star, fits) if end else not left


def _begins(
    pattern: Sequence[P], items: Sequence[I], star: P, fits: Callable[[P, I], bool]
) -> bool:
    """Return whether `pattern`, which ends with `star`, matches all `items`."""
    at = item = 0
    retry: tuple[int, int] | None = None  # the pattern after the last star, and the next item
    while at < len(pattern) - 1:
        if pattern[at] == star:
            at += 1
            retry = (at, item)
        elif item == len(items):
            return False
        elif fits(pattern[at], items[item]):
            at, item = at + 1, item + 1
        elif retry is None:
            return False
        else:
            at, item = retry[0], retry[1] + 1
            retry = (at, item)
    return True
