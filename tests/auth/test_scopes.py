"""Scopes are read as they are printed; what can't be read grants nothing, and breaks nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.interfaces import Action, Grants
from registry_server.access.tokens.scopes import (
    LONGEST,
    MOST,
    Scope,
    ScopeInvalid,
    access_of,
    grants_of,
    parse_access,
    parse_scopes,
    scopes_of,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,40}", fullmatch=True)
WORDS = st.from_regex(r"[a-z]{1,10}", fullmatch=True) | st.just("*")
SCOPES = st.builds(
    Scope,
    st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True),
    NAMES,
    st.frozensets(WORDS, max_size=5),
    st.from_regex(r"[a-z0-9]{0,8}", fullmatch=True),
)
GRANTS = st.builds(
    Grants,
    st.dictionaries(NAMES, st.frozensets(st.sampled_from(Action), min_size=1), max_size=5),
    st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "name", "actions", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(SCOPES)
def test_a_scope_is_read_as_it_is_printed(scope: Scope) -> None:
    """Printing is the inverse of parsing."""
    assert Scope.parse(str(scope)) == scope


@given(GRANTS)
def test_grants_survive_both_ways_of_writing_them(grants: Grants) -> None:
    """Grants are the same after they were written as scopes, or as a claim, and read."""
    assert grants_of(scopes_of(grants)) == grants
    assert parse_access(access_of(grants)) == grants


@given(st.text(max_size=200) | st.from_regex(r"[a-z:,()* /]{0,60}", fullmatch=True))
def test_no_text_raises_anything_but_the_declared_error(text: str) -> None:
    """Whatever a client sends as a scope is one, or is left out; only one is refused by itself."""
    assert all(scope.name for scope in parse_scopes([text, text]))
    with contextlib.suppress(ScopeInvalid):
        Scope.parse(text)


@given(JSON)
def test_no_claim_raises_anything_but_the_declared_error(claim: object) -> None:
    """Whatever stands in a claim is read, or refused."""
    with contextlib.suppress(ScopeInvalid):
        parse_access(claim)


def test_a_name_ends_at_the_last_colon() -> None:
    """A host with a port belongs to the name."""
    scope = Scope.parse("repository:localhost:5000/team/app:pull,push")
    assert scope.name == "localhost:5000/team/app"
    assert scope.wanted() == {Action.PULL, Action.PUSH}


def test_the_class_of_a_repository_grants_no_more() -> None:
    """`repository(plugin)` is a repository, and its class is kept."""
    scope = Scope.parse("repository(plugin):team/app:pull")
    assert (scope.is_repository, scope.kind) == (True, "plugin")
    assert str(scope) == "repository(plugin):team/app:pull"


def test_scopes_are_repeated_and_between_spaces() -> None:
    """Docker repeats the parameter, others send one with spaces; each scope counts."""
    scopes = parse_scopes(["repository:a:pull repository:b:push", " repository:c:delete "])
    assert grants_of(scopes).repositories == {
        "a": {Action.PULL}, "b": {Action.PUSH}, "c": {Action.DELETE},
    }  # fmt: skip


def test_what_is_not_known_is_left_out_and_the_rest_counts() -> None:
    """Unknown types and actions, and what is no scope, neither grant nor spoil anything."""
    texts = ["what repository:a repository::pull thing:a:pull repository:a:pull,fly :: a:b:c!"]
    assert grants_of(parse_scopes(texts)) == Grants({"a": frozenset({Action.PULL})})


@pytest.mark.parametrize(
    "text", ["registry:catalog:pull", "registry:catalog:", "registry:other:*", "catalog:catalog:*"]
)
def test_only_everything_of_the_catalog_is_the_catalog(text: str) -> None:
    """Nothing but `registry:catalog:*` asks for the catalog."""
    assert not grants_of(parse_scopes([text])).catalog
    assert grants_of(parse_scopes(["registry:catalog:*"])).catalog


def test_everything_is_each_action() -> None:
    """`*` names all actions, of one repository only."""
    assert grants_of(parse_scopes(["repository:a:*"])) == Grants({"a": frozenset(Action)})
    assert grants_of(parse_scopes(["repository:*:pull"])) == Grants({})


def test_too_much_is_refused() -> None:
    """There is a most of scopes and of characters, in whatever number of parameters."""
    assert len(parse_scopes(["repository:a:pull"] * MOST)) == MOST
    with pytest.raises(ScopeInvalid):
        parse_scopes(["r:a:pull"] * (MOST + 1))
    with pytest.raises(ScopeInvalid):
        parse_scopes(["repository:" + "a" * LONGEST + ":pull"])
    with pytest.raises(ScopeInvalid):
        Scope.parse("repository:" + "a" * LONGEST + ":pull")


@pytest.mark.parametrize(
    "claim",
    [
        {},
        "repository:a:pull",
        ["repository:a:pull"],
        [{"type": "repository", "name": "a", "actions": "pull"}],
        [{"type": "repository", "name": "a", "actions": [["pull"]]}],
        [{"type": "repository", "actions": ["pull"]}],
        [{"name": "a", "actions": ["pull"]}],
    ],
)
def test_a_malformed_claim_is_refused_whole(claim: object) -> None:
    """A claim of another shape is no claim, not an empty one."""
    with pytest.raises(ScopeInvalid):
        parse_access(claim)


def test_a_claim_that_is_missing_grants_nothing() -> None:
    """No claim, none in the words of Go, and null actions are good for nothing."""
    null = [{"type": "repository", "name": "a", "actions": None}]
    assert parse_access(None) == parse_access([]) == parse_access(null) == Grants({})
