"""Who administers: those who are named for it, by whatever name or group, and nobody else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.any_user_policy import AnyoneKnown
from registry_server.access.interfaces import ANONYMOUS, Actor, Decision, Grants
from registry_server.access.rules import RulesPolicy, parse_rules, policy_of
from registry_server.access.tokens.bearer import TokenIssuer, TokenVerifier
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.keys import load_or_create_signing_key
from registry_server.access.tokens.scopes import parse_access, parse_scopes
from registry_server.access.tokens.server import grants_for
from registry_server.config import ConfigError
from registry_server.config.access import Access
from registry_server.config.load import load
from registry_server.config.validation import validated

EVERYTHING = [{"users": ["*"], "actions": ["*"]}, {"anonymous": True, "actions": ["*"]}]
NAMES = ("ann", "bob", "robot:ci", "ops", "*", "")


def policy(**administrators: list[str]) -> RulesPolicy:
    """Return rules that let everybody do everything, and those who administer."""
    groups = {"ops": ["bob", "robot:ci"], "developers": ["ann"]}
    section = {"rules": EVERYTHING, "groups": groups, "administrators": administrators}
    return policy_of(validated(Access, section))


def test_they_are_named_or_in_a_group() -> None:
    """A robot as well; the decision says where that is written."""
    rules = policy(users=["ann"], groups=["ops"])
    for name in ("ann", "bob", "robot:ci"):
        wanted = Decision(True, "access.administrators")
        assert rules.decide_administration(Actor(name)) == wanted
    assert rules.decide_administration(Actor("eve", frozenset({"ops"}))).allowed
    assert not rules.decide_administration(Actor("ops")).allowed


def test_nobody_is_one_unless_named() -> None:
    """Whatever rules grant; and whoever is not known never is."""
    for name in NAMES:
        assert not policy().decide_administration(Actor(name)).allowed
        assert not AnyoneKnown().decide_administration(Actor(name)).allowed
    assert not policy(users=["ann"], groups=["ops"]).decide_administration(ANONYMOUS).allowed


@given(st.sets(st.sampled_from(NAMES[:4])), st.sets(st.sampled_from(["ops", "developers"])))
def test_it_is_the_union_of_what_is_named(users: set[str], groups: set[str]) -> None:
    """For every caller there is."""
    members = {"ops": {"bob", "robot:ci"}, "developers": {"ann"}}
    named = users.union(*(members[each] for each in groups))
    rules = policy(users=sorted(users), groups=sorted(groups))
    for name in NAMES:
        assert rules.decide_administration(Actor(name)).allowed is (name in named)


def test_a_file_of_rules_names_them_too() -> None:
    """By the same words, without what the file is below."""
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
def test_a_mistake_makes_nobody_one(access: str, says: str) -> None:
    """It is refused at the start, in a line."""
    with pytest.raises(ConfigError, match=says):
        load(None, {"REGISTRY_ACCESS": access})


def test_where_there_is_nothing_to_manage_that_is_said() -> None:
    """With tokens of others there are no robots."""
    auth = "{realm: https://a.example.com, service: r, issuer: a, jwks: /keys}"
    access = "{rules: [], administrators: {users: [ann]}}"
    loaded = load(None, {"REGISTRY_AUTH_TOKEN": auth, "REGISTRY_ACCESS": access})
    (warning,) = loaded.warnings
    assert "access.administrators has no effect" in warning


def test_a_token_of_others_is_never_for_it(tmp_path: Path) -> None:
    """Whatever it says, and whoever signed it."""
    key = load_or_create_signing_key(tmp_path / "key.pem")
    text = TokenIssuer(key, "other").sign("ann", Grants({}, administration=True), "r").text
    keys = Keyring.of([key.public])
    assert TokenVerifier(keys, "other", "r").verify(text).grants.administration
    others = TokenVerifier(keys, "other", "r", push_overwrites=True)
    assert not others.verify(text).grants.administration


def test_a_token_is_for_it_if_that_was_asked_for_and_is_so() -> None:
    """By this scope and no less; a token of somebody else's never says so here."""
    rules = policy(users=["ann"])
    texts = ("registry:administration:*", "registry:administration:pull", "registry:catalog:*")
    for name, text in itertools.product(("ann", "bob", ""), texts):
        granted = grants_for(Actor(name), parse_scopes([text]), rules).administration
        assert granted is (name == "ann" and text == texts[0])
    assert parse_access([{"type": "registry", "name": "administration", "actions": ["*"]}]) == (
        Grants({}, administration=True)
    )
