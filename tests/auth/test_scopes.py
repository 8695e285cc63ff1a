"""Scopes are parsed as they are printed; malformed ones grant nothing and break nothing."""

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
def test_a_scope_is_parsed_as_it_is_printed(scope: Scope) -> None:
    """Printing is the inverse of parsing."""
    assert Scope.parse(str(scope)) == scope


@given(GRANTS)
def test_grants_survive_both_encodings(grants: Grants) -> None:
    """Grants are unchanged after encoding as scopes or as a claim, and parsing."""
    assert grants_of(scopes_of(grants)) == grants
    assert parse_access(access_of(grants)) == grants


@given(st.text(max_size=200) | st.from_regex(r"[a-z:,()* /]{0,60}", fullmatch=True))
def test_no_scope_raises_an_undeclared_error(text: str) -> None:
    """Any text in a request is a scope or is ignored; parsed alone, it may be refused."""
    assert all(scope.name for scope in parse_scopes([text, text]))
    with contextlib.suppress(ScopeInvalid):
        Scope.parse(text)


@given(JSON)
def test_no_claim_raises_an_undeclared_error(claim: object) -> None:
    """Any claim is parsed or refused."""
    with contextlib.suppress(ScopeInvalid):
        parse_access(claim)


def test_a_name_ends_at_the_last_colon() -> None:
    """A host with a port belongs to the name."""
    scope = Scope.parse("repository:localhost:5000/team/app:pull,push")
    assert scope.name == "localhost:5000/team/app"
    assert scope.known_actions() == {Action.PULL, Action.PUSH}


def test_the_class_of_a_repository_grants_no_more() -> None:
    """`repository(plugin)` is a repository, and its class is kept."""
    scope = Scope.parse("repository(plugin):team/app:pull")
    assert (scope.is_repository, scope.kind) == (True, "plugin")
    assert str(scope) == "repository(plugin):team/app:pull"


def test_scopes_are_repeated_or_separated_by_spaces() -> None:
    """Docker repeats the parameter, other clients send one with spaces; each scope counts."""
    scopes = parse_scopes(["repository:a:pull repository:b:push", " repository:c:delete "])
    assert grants_of(scopes).repositories == {
        "a": {Action.PULL}, "b": {Action.PUSH}, "c": {Action.DELETE},
    }  # fmt: skip


def test_unknown_scopes_are_ignored() -> None:
    """Unknown types, unknown actions and malformed scopes grant nothing, and the rest counts."""
    texts = ["what repository:a repository::pull thing:a:pull repository:a:pull,fly :: a:b:c!"]
    assert grants_of(parse_scopes(texts)) == Grants({"a": frozenset({Action.PULL})})


@pytest.mark.parametrize(
    "text", ["registry:catalog:pull", "registry:catalog:", "registry:other:*", "catalog:catalog:*"]
)
def test_only_the_full_catalog_scope_grants_the_catalog(text: str) -> None:
    """Only `registry:catalog:*` requests the catalog."""
    assert not grants_of(parse_scopes([text])).catalog
    assert grants_of(parse_scopes(["registry:catalog:*"])).catalog


def test_a_star_means_every_action() -> None:
    """`*` means all actions, on one repository."""
    assert grants_of(parse_scopes(["repository:a:*"])) == Grants({"a": frozenset(Action)})
    assert grants_of(parse_scopes(["repository:*:pull"])) == Grants({})


def test_too_many_scopes_are_refused() -> None:
    """The number and the length of scopes are limited, however many parameters have them."""
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
def test_a_malformed_claim_is_refused_as_a_whole(claim: object) -> None:
    """It is not read as an empty one."""
    with pytest.raises(ScopeInvalid):
        parse_access(claim)


def test_a_missing_claim_grants_nothing() -> None:
    """A missing claim, Go's null, and null actions grant nothing."""
    null = [{"type": "repository", "name": "a", "actions": None}]
    assert parse_access(None) == parse_access([]) == parse_access(null) == Grants({})
