"""A glob matches whole names part by part, and has a rank for how specific it is."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry_server.access import globs
from registry_server.access.globs import Glob
from storage.errors import NameInvalid
from storage.values.names import RepositoryName

NAMES = st.from_regex(r"[ab]{1,3}(/[ab]{1,3}){0,4}", fullmatch=True)
PARTS = st.one_of(st.just("**"), st.just("*"), st.from_regex(r"[ab*?]{1,4}", fullmatch=True))
GLOBS = (
    st.lists(PARTS, min_size=1, max_size=5)
    .filter(lambda parts: all(part == "**" or "**" not in part for part in parts))
    .map("/".join)
)
COMPONENTS = st.from_regex(r"[a-z0-9]{1,3}([._-][a-z0-9]{1,3})?", fullmatch=True)


def matches(glob: str, name: str, user: str = "") -> bool:
    """Match a glob, bound to a user, against a name."""
    bound = Glob.parse(glob).bound(user)
    return bound is not None and bound.matches(name)


def naive(glob: list[str], name: list[str]) -> bool:
    """Match by trying every possibility, as a reference implementation."""
    if not glob:
        return not name
    if glob[0] != "**":
        return bool(name) and _naive_part(glob[0], name[0]) and naive(glob[1:], name[1:])
    if len(glob) == 1:
        return bool(name)
    return any(naive(glob[1:], name[taken:]) for taken in range(len(name) + 1))


def _naive_part(glob: str, part: str) -> bool:
    if not glob:
        return not part
    if glob[0] == "*":
        return any(_naive_part(glob[1:], part[taken:]) for taken in range(len(part) + 1))
    return bool(part) and glob[0] in ("?", part[0]) and _naive_part(glob[1:], part[1:])


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("**", "a a/b a/b/c", ""),
        ("**/**", "a a/b a/b/c", ""),
        ("*", "a abc", "a/b"),
        ("*/*", "a/b", "a a/b/c"),
        ("team/**", "team/a team/a/b", "team teams team-a/b a/team/b"),
        ("team/**/**", "team/a team/a/b", "team"),
        ("library/*", "library/a", "library library/a/b library-a/b"),
        ("**/app", "app a/app a/b/app", "a/apps app/a"),
        ("a/**/b", "a/b a/x/b a/x/y/b a/b/b", "a b a/b/c"),
        ("a/**/b/**", "a/b/c a/x/b/c", "a/b a/x/b"),
        ("a?c", "abc a-c", "ac abbc a/c"),
        ("a*", "a ab abc", "a/b ba"),
        ("*-*", "a-b a--b", "ab a/b-c"),
        ("a.c", "a.c", "abc"),
    ],
)
def test_globs_match_whole_names(glob: str, matching: str, others: str) -> None:
    """Stars stay within a part, double stars do not, and all else is literal."""
    assert [name for name in matching.split() if not matches(glob, name)] == []
    assert [name for name in others.split() if matches(glob, name)] == []


@given(glob=GLOBS, name=NAMES)
def test_matching_agrees_with_the_reference(glob: str, name: str) -> None:
    """Every name is matched exactly if the reference matches it."""
    assert matches(glob, name) == naive(glob.split("/"), name.split("/"))


@given(glob=NAMES, name=NAMES)
def test_a_glob_without_wildcards_matches_only_its_name(glob: str, name: str) -> None:
    """It matches no other name."""
    assert matches(glob, glob)
    assert matches(glob, name) == (glob == name)


@given(glob=GLOBS, name=NAMES)
def test_nothing_is_more_specific_than_the_name(glob: str, name: str) -> None:
    """Every other glob that matches a name ranks below the name itself."""
    assume(glob != name and matches(glob, name))
    assert Glob.parse(glob).rank < Glob.parse(name).rank


@pytest.mark.parametrize(
    "order",
    [
        "** */* library/** library/* library/a* library/app",
        "** * a* a? ab",
        "** **/a a",
        "**/a/b a/b",
        "team*/** team/** team/*/** team/app/**",
    ],
)
def test_the_more_specific_ranks_higher(order: str) -> None:
    """More literal characters, then fewer and narrower wildcards."""
    ranks = [Glob.parse(glob).rank for glob in order.split()]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(("one", "other"), [("**/**", "**"), ("a/**/**", "a/**"), ("a*b", "b*a")])
def test_some_globs_are_equally_specific(one: str, other: str) -> None:
    """A doubled `**` adds nothing, and the position of literal characters does not count."""
    assert Glob.parse(one).rank == Glob.parse(other).rank


@pytest.mark.parametrize(
    "user", ["", "*", "**", "?", "a/b", "..", ".", "Ann", "robot:ci", "{user}"]
)
@pytest.mark.parametrize("glob", ["home/{user}/**", "{user}", "**/{user}/**"])
def test_a_user_name_that_is_no_part_matches_nothing(glob: str, user: str) -> None:
    """A user's name never widens a glob."""
    assert Glob.parse(glob).bound(user) is None


def test_an_unbound_glob_matches_no_name() -> None:
    """`{user}` must be replaced first."""
    with pytest.raises(NameInvalid):
        RepositoryName.parse("home/{user}")
    assert not Glob.parse("home/{user}").matches("home/user")


@given(user=COMPONENTS, other=COMPONENTS, rest=COMPONENTS)
def test_no_user_reaches_the_home_of_another(user: str, other: str, rest: str) -> None:
    """`{user}` is the caller's whole name."""
    assert matches("home/{user}/**", f"home/{other}/{rest}", user) == (user == other)
    assert matches("home/{user}", f"home/{other}", user) == (user == other)


@given(user=COMPONENTS | st.from_regex(r"[a-z]{1,80}", fullmatch=True))
def test_binding_changes_neither_rank_nor_text(user: str) -> None:
    """A long name makes a glob no more specific than a short one; the text keeps `{user}`."""
    glob = Glob.parse("home/{user}/**")
    bound = glob.bound(user)
    assert bound is not None
    assert (bound.rank, bound.text) == (glob.rank, glob.text)


@pytest.mark.parametrize(
    "order",
    [
        "** {user}/**",
        "** **/{user}/**",
        "home/** home/*/** home/?/** home/{user}/** home/a*/** home/a/**",
        "* ? {user} a",
    ],
)
def test_user_parts_rank_between_wildcards_and_literals(order: str) -> None:
    """`{user}` is narrower than each wildcard and wider than each name, also one of one letter."""
    ranks = [Glob.parse(glob).rank for glob in order.split()]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("/".join(["**", "a"] * 60), "/".join("a" * 100 + "b")),
        ("/".join(["**", "a*"] * 50 + ["b"]), "/".join(["aa"] * 80)),
        ("/".join(["**"] * 80 + ["b"]), "/".join("a" * 120)),
        ("*a" * 120 + "b", "a" * 250),
        ("/".join(["**", "*a*a*b"] * 25), "/".join(["a" * 24] * 10)),
    ],
)
def test_no_glob_takes_long(monkeypatch: pytest.MonkeyPatch, glob: str, name: str) -> None:
    """The steps are at most the product of the lengths, where the reference never ends."""
    steps = 0
    fits = globs._character_fits

    def counted(pattern: str, character: str) -> bool:
        nonlocal steps
        steps += 1
        return fits(pattern, character)

    monkeypatch.setattr(globs, "_character_fits", counted)
    RepositoryName.parse(name)
    assert not matches(glob, name)
    assert steps <= len(glob) * len(name)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return each comparison of a part of a name with a part of a glob."""
    seen: list[str] = []
    fits = globs._part_fits

    def noted(pattern: str, part: str) -> bool:
        seen.append(part)
        return fits(pattern, part)

    monkeypatch.setattr(globs, "_part_fits", noted)
    return seen


LONG = "/".join(["a"] * 120)


@pytest.mark.parametrize("glob", ["team/**", "**/team/**", "**/lib*/**/a", "a/**/team-*/**/a"])
def test_a_name_without_the_literals_of_a_glob_is_not_compared(
    glob: str, compared: list[str]
) -> None:
    """However long the name is, and wherever the literal is in the glob."""
    assert not matches(glob, LONG)
    assert compared == []


@pytest.mark.parametrize("glob", ["**/a/*b", "a/**/b-?", "**/*a/b/?", "a/**/b/*/*"])
def test_a_glob_with_one_double_star_is_compared_with_the_ends_of_a_name(
    glob: str, compared: list[str]
) -> None:
    """The comparisons are at most the parts of the glob, however long the name is."""
    assert not matches(glob, f"b-/b/{LONG}")
    assert 0 < len(compared) <= len(glob.split("/"))


@given(text=st.text(alphabet=string.printable, max_size=12), name=NAMES)
def test_globs_are_not_regular_expressions(text: str, name: str) -> None:
    """Without wildcards and `{user}`, any text matches only itself."""
    assume(not re.search(r"[*?]|\{user\}", text))
    assert matches(text, name) == (text == name)
