"""Patterns of repository names: `team/**`, `library/*`, `home/{user}/**`; pure.

A glob is held against a whole name, part by part, parts being what slashes separate:

    ?        one character of a part
    *        any characters of a part, also none
    **       any number of parts: at the end at least one, elsewhere also none
    {user}   the caller's name, if that may be a part of a repository's name

So `team/**` is all that lies below `team` and not `team` itself, and `**/app` is `app` as well as
`a/b/app`. A caller whose name can't be a part (`robot:ci`, `..`, `*`) is matched by no glob with
`{user}`.

A match never takes more steps than the length of the glob times that of the name. Most globs of a
registry do not match a name. So what a glob has literally is looked for first, in less than a
microsecond. Then what stands behind its last `**`, and before its first one, is held against the
ends of the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias, TypeVar

from storage.names import is_component

P = TypeVar("P")
I = TypeVar("I")  # noqa: E741 - an item, where P is a part of a pattern

ANY_PARTS = "**"
USER = "{user}"
_TWICE = (ANY_PARTS, ANY_PARTS)
_WILDCARDS = re.compile(r"[*?]+")

# Compared from the left, the larger is the more specific.
Rank: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob: as the operator wrote it, as it is matched, and how specific that is.

    Each name that is matched contains all of `literals`.

    `rank` counts literal characters, and where these are as many prefers more `{user}`, then fewer
    `**`, then fewer `*`, then fewer `?`. A slash is literal unless it is next to `**`, which may
    swallow it. Thus the name itself is more specific than every other glob that matches it.

    `{user}` is no literal, and a bound glob keeps its rank: otherwise a long user name would make a
    glob more specific than a restriction that holds for a short one.
    """

    text: str
    parts: tuple[str, ...]
    rank: Rank
    literals: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> Glob:
        """Read a glob; every text is one, though not every one can match a name."""
        # `**/**` says no more than `**`, and is not to be more specific.
        parts = text.split("/")
        pairs = zip(parts, ["", *parts], strict=False)
        kept = tuple(part for part, left in pairs if (part, left) != _TWICE)
        return Glob(text, kept, _rank(kept), _literals(kept))

    def bound(self, user: str) -> Glob | None:
        """Return the glob with `{user}` replaced; None if there is no such part for `user`."""
        if USER not in self.parts:
            return self
        if not is_component(user):
            return None
        parts = tuple(user if part == USER else part for part in self.parts)
        return replace(self, parts=parts, literals=_literals(parts))

    def matches(self, name: str) -> bool:
        """Tell whether the whole of a name is matched.

        A `{user}` that was not replaced is literal, and so matches no name there could be.
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
    """Return what stands between wildcards and slashes; the longest tells most names apart."""
    found = {text for part in parts for text in _WILDCARDS.split(part)} - {""}
    return tuple(sorted(found, key=len, reverse=True))


def _part_fits(pattern: str, part: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == part
    return _fits(pattern, part, "*", _character_fits)


def _character_fits(pattern: str, character: str) -> bool:
    return pattern in ("?", character)


def _fits(pattern: Sequence[P], items: Sequence[I], star: P, fits: Callable[[P, I], bool]) -> bool:
    """Tell whether `pattern` matches all `items`, where `star` is any number of them.

    What stands behind the last star can only be at the end of the items. What stands between two
    stars is best matched as early as can be, so only the last star seen is ever given more items.
    No item is held twice against the same part of the pattern.
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
    """Tell whether `pattern`, which ends with `star`, matches all `items`."""
    at = item = 0
    retry: tuple[int, int] | None = None  # behind the last star, and the first item it leaves
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
