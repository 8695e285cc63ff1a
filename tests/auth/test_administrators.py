"""Administrators: callers named by user or group in `administrators`, and no others."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.any_user_policy import AnyUserPolicy
from registry_server.access.interfaces import ANONYMOUS, Actor, Grants
from registry_server.access.rules import RulesPolicy, parse_rules, policy_of
from registry_server.access.tokens.bearer import TokenIssuer, TokenVerifier
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.scopes import parse_access, parse_scopes
from registry_server.access.tokens.signing_keys import load_or_create_signing_key
from registry_server.access.tokens.token_server import grants_for
from registry_server.config import ConfigError
from registry_server.config.access import Access
from registry_server.config.load import load
from registry_server.config.validation import validated
from registry_server.http.context import Decision

EVERYTHING = [{"users": ["*"], "actions": ["*"]}, {"anonymous": True, "actions": ["*"]}]
NAMES = ("ann", "bob", "robot:ci", "ops", "*", "")


def policy(**administrators: list[str]) -> RulesPolicy:
    """Return rules that grant everything to every caller, and name administrators."""
    groups = {"ops": ["bob", "robot:ci"], "developers": ["ann"]}
    section = {"rules": EVERYTHING, "groups": groups, "administrators": administrators}
    return policy_of(validated(Access, section))


def test_administrators_are_named_by_user_or_group() -> None:
    """A robot account can be named as well; the decision names the key in the configuration."""
    rules = policy(users=["ann"], groups=["ops"])
    for name in ("ann", "bob", "robot:ci"):
        wanted = Decision(True, "access.administrators")
        assert rules.decide_administration(Actor(name)) == wanted
    assert rules.decide_administration(Actor("eve", frozenset({"ops"}))).allowed
    assert not rules.decide_administration(Actor("ops")).allowed


def test_callers_who_are_not_named_are_no_administrators() -> None:
    """Whatever the rules grant; an anonymous caller never is one."""
    for name in NAMES:
        assert not policy().decide_administration(Actor(name)).allowed
        assert not AnyUserPolicy().decide_administration(Actor(name)).allowed
    assert not policy(users=["ann"], groups=["ops"]).decide_administration(ANONYMOUS).allowed


@given(st.sets(st.sampled_from(NAMES[:4])), st.sets(st.sampled_from(["ops", "developers"])))
def test_administrators_are_the_union_of_users_and_groups(
    users: set[str], groups: set[str]
) -> None:
    """For every caller."""
    members = {"ops": {"bob", "robot:ci"}, "developers": {"ann"}}
    named = users.union(*(members[each] for each in groups))
    rules = policy(users=sorted(users), groups=sorted(groups))
    for name in NAMES:
        assert rules.decide_administration(Actor(name)).allowed is (name in named)


def test_a_file_of_rules_names_administrators_too() -> None:
    """With the same keys, at the top level of the file."""
    rules = parse_rules(b"rules: []\nadministrators: {users: [ann]}\n")
    assert rules.decide_administration(Actor("ann")) == Decision(True, "administrators")
    for text in (b'administrators: {users: ["*"]}', b"administrators:", b"administrator: {}"):
        with pytest.raises(ValueError):
            parse_rules(b"rules: []\n" + text + b"\n")


@pytest.mark.parametrize(
    ("access", "says"),
    [
        (
            '{rules: [], administrators: {users: ["*"]}}',
            "every user could create robot accounts",
        ),
        (
            '{rules: [], administrators: {groups: ["*"]}}',
            "every user could create robot accounts",
        ),
        ('{rules: [], administrators: {users: [""]}}', "must be a name"),
        ("{rules: [], administrators: [ann]}", "must be a mapping"),
        ("{rules: [], administrators: {users: }}", "is empty"),
        ("{rules: [], administrators: }", "is empty"),
        ("{administrators: {users: [ann]}}", "but no rules"),
        (
            "{file: /rules.yml, administrators: {users: [ann]}}",
            "move groups, rules",
        ),
    ],
)
def test_a_mistake_adds_no_administrator(access: str, says: str) -> None:
    """It is refused at the start, in one line."""
    with pytest.raises(ConfigError, match=says):
        load(None, {"REGISTRY_ACCESS": access})


def test_administrators_without_anything_to_manage_are_a_warning() -> None:
    """With tokens of another issuer there are no robots."""
    auth = "{realm: https://a.example.com, service: r, issuer: a, jwks: /keys}"
    access = "{rules: [], administrators: {users: [ann]}}"
    loaded = load(None, {"REGISTRY_AUTH_TOKEN": auth, "REGISTRY_ACCESS": access})
    (warning,) = loaded.warnings
    assert "access.administrators has no effect" in warning


def test_a_token_of_another_issuer_never_grants_administration(tmp_path: Path) -> None:
    """Whatever it claims, and whichever key signed it."""
    key = load_or_create_signing_key(tmp_path / "key.pem")
    text = TokenIssuer(key, "other").sign("ann", Grants({}, administration=True), "r").text
    keys = Keyring.of([key.public])
    assert TokenVerifier(keys, "other", "r").verify(text).grants.administration
    others = TokenVerifier(keys, "other", "r", push_overwrites=True)
    assert not others.verify(text).grants.administration


def test_a_token_grants_administration_only_if_requested_and_allowed() -> None:
    """Only the exact scope grants it, and a token of another issuer never does."""
    rules = policy(users=["ann"])
    texts = ("registry:administration:*", "registry:administration:pull", "registry:catalog:*")
    for name, text in itertools.product(("ann", "bob", ""), texts):
        granted = grants_for(Actor(name), parse_scopes([text]), rules).administration
        assert granted is (name == "ann" and text == texts[0])
    assert parse_access([{"type": "registry", "name": "administration", "actions": ["*"]}]) == (
        Grants({}, administration=True)
    )
