"""Rules: a denial wins, then the most specific grant; all else is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.globs import Glob
from registry_server.access.interfaces import ANONYMOUS, Action, Actor
from registry_server.access.rules import RulesPolicy, parse_rules, policy_of
from registry_server.config.access import Access
from registry_server.config.validation import Invalid, validated
from registry_server.http.context import Decision
from storage.values.names import RepositoryName
from tests.support.sections import written_out

Written = dict[str, Any]

ANN, BOB = Actor("ann"), Actor("bob")
ROBOT = Actor("robot:ci")
ALL_CALLERS = (ANN, BOB, ROBOT, ANONYMOUS, Actor("eve", frozenset({"guests"})))
ACTIONS = ("pull", "push", "overwrite", "delete")
NAMES = ("team", "team/app", "team/app/sub", "library/x", "home/ann/x", "home/bob/x")

_WORDS = st.lists(st.sampled_from([*ACTIONS, "catalog", "*"]), max_size=3)
_GLOBS = ("**", "*", "team/**", "team/*", "team/app", "**/app/**", "library/?", "home/{user}/**")
_WHO = st.fixed_dictionaries(
    {
        "users": st.lists(st.sampled_from(["ann", "bob", "robot:ci", "*"]), max_size=2),
        "groups": st.lists(st.sampled_from(["developers", "guests"]), max_size=1),
        "anonymous": st.booleans(),
    },
    optional={"repositories": st.lists(st.sampled_from(_GLOBS), max_size=3)},
)
_GRANTS = st.fixed_dictionaries({"actions": _WORDS}, optional={"deny": _WORDS})
_DENIES = st.fixed_dictionaries({"deny": _WORDS})


def _both(who: Written, what: Written) -> Written:
    return {**who, **what}


RULES = st.builds(_both, _WHO, st.one_of(_GRANTS, _DENIES))
DENIALS = st.builds(_both, _WHO, _DENIES)
GROUPS = st.fixed_dictionaries(
    {}, optional={"developers": st.lists(st.sampled_from(["ann", "bob"]), max_size=2)}
)


def policy(*rules: Written, groups: Written | None = None) -> RulesPolicy:
    """Return the policy of rules as they are configured."""
    return policy_of(validated(Access, {"rules": rules, "groups": groups or {}}))


def decision(of: RulesPolicy, actor: Actor, action: str, name: str) -> Decision:
    """Return a decision of a policy."""
    if action == "catalog":
        return of.decide_catalog(actor)
    return of.decide(actor, Action(action), RepositoryName.parse(name))


def allowed(of: RulesPolicy, actor: Actor, name: str) -> str:
    """Return the actions that an actor may do with a repository."""
    return " ".join(action for action in ACTIONS if decision(of, actor, action, name).allowed)


def everything_allowed(of: RulesPolicy) -> set[tuple[str, str, str]]:
    """Return everything that a policy allows to any caller."""
    asked = [(action, name) for action in ACTIONS for name in NAMES] + [("catalog", "")]
    return {
        (actor.name, action, name)
        for actor in ALL_CALLERS
        for action, name in asked
        if decision(of, actor, action, name).allowed
    }


def test_without_rules_everything_is_refused() -> None:
    """An empty list allows nothing to any caller."""
    assert everything_allowed(policy()) == set()
    assert decision(policy(), ANN, "pull", "team/app") == Decision(False, "no rule applies")


def test_a_rule_applies_to_the_callers_it_names() -> None:
    """Users by name, groups by members or credentials, and `*` for every authenticated caller."""
    users = policy({"users": ["ann", "robot:ci"], "actions": ["pull"]})
    assert [allowed(users, who, "a") for who in (ANN, BOB, ROBOT, ANONYMOUS)] == [
        "pull", "", "pull", "",
    ]  # fmt: skip
    known = policy({"users": ["*"], "actions": ["pull"]})
    assert [allowed(known, who, "a") for who in (BOB, ROBOT, ANONYMOUS)] == ["pull", "pull", ""]
    group = policy({"groups": ["dev"], "actions": ["pull"]}, groups={"dev": ["ann"]})
    members = (ANN, BOB, Actor("bob", frozenset({"dev"})), Actor("", frozenset({"dev"})))
    assert [allowed(group, who, "a") for who in members] == ["pull", "", "pull", ""]


def test_anonymous_rules_apply_to_every_caller() -> None:
    """Authenticated callers are included."""
    anybody = policy({"anonymous": "true", "actions": ["pull"]})
    assert [allowed(anybody, who, "a") for who in (ANN, ROBOT, ANONYMOUS)] == ["pull"] * 3


def test_no_action_includes_another() -> None:
    """Push includes neither overwrite nor pull nor delete; `*` is all of them."""
    assert allowed(policy({"users": ["*"], "actions": ["push"]}), ANN, "a") == "push"
    assert allowed(policy({"users": ["*"], "actions": ["*"]}), ANN, "a") == " ".join(ACTIONS)


def test_a_denial_wins_however_short_its_glob() -> None:
    """Neither a more specific grant nor a grant by name overrides it."""
    rules = policy(
        {"repositories": ["team/app"], "users": ["ann"], "actions": ["*"]},
        {"repositories": ["**"], "users": ["*"], "deny": ["overwrite", "delete"]},
    )
    assert allowed(rules, ANN, "team/app") == "pull push"
    said = decision(rules, ANN, "overwrite", "team/app")
    assert said == Decision(False, "access.rules[1] (**) denies overwrite")


def test_the_most_specific_grant_replaces_the_others() -> None:
    """Grants do not add up: the most specific match alone decides."""
    rules = policy(
        {"users": ["*"], "actions": ["*"]},
        {"repositories": ["**", "library/*"], "anonymous": "true", "actions": ["pull"]},
        {"repositories": ["secret/**"], "anonymous": "true", "actions": []},
    )
    assert allowed(rules, ANN, "library/x") == "pull"
    assert allowed(rules, ANN, "team/app") == " ".join(ACTIONS)
    assert allowed(rules, ANN, "secret/x") == ""
    assert decision(rules, ANN, "push", "library/x").rule == (
        "access.rules[1] (library/*) does not grant push, "
        "and is more specific than access.rules[0] (**)"
    )
    assert decision(rules, ANN, "pull", "library/x").rule == "access.rules[1] (library/*)"


def test_equally_specific_grants_add_up() -> None:
    """Rules of the same rank decide together, for the callers of each."""
    rules = policy(
        {"repositories": ["team/a*"], "users": ["ann"], "actions": ["push"]},
        {"repositories": ["team/*p"], "anonymous": "true", "actions": ["pull"]},
    )
    assert allowed(rules, ANN, "team/app") == "pull push"
    assert allowed(rules, BOB, "team/app") == "pull"


def test_a_rule_for_one_home_replaces_the_rule_for_all_homes() -> None:
    """A literal name is more specific than `{user}`, however short it is."""
    rules = policy(
        {"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["*"]},
        {"repositories": ["home/ann/**"], "users": ["ann"], "actions": ["pull"]},
    )
    assert allowed(rules, ANN, "home/ann/x") == "pull"
    assert allowed(rules, BOB, "home/bob/x") == " ".join(ACTIONS)


def test_a_rule_that_only_denies_replaces_nothing() -> None:
    """Other actions are decided by other rules."""
    rules = policy(
        {"users": ["*"], "actions": ["*"]},
        {"repositories": ["team/app"], "users": ["*"], "deny": ["overwrite"]},
    )
    assert allowed(rules, ANN, "team/app") == "pull push delete"
    only = policy({"users": ["*"], "deny": ["overwrite"]})
    assert decision(only, ANN, "pull", "a").rule == "no rule grants pull"


def test_the_catalog_does_not_depend_on_repositories() -> None:
    """Any rule for the caller can grant it, and a denial wins."""
    rules = policy(
        {"repositories": ["team/**"], "users": ["ann", "bob"], "actions": ["catalog"]},
        {"repositories": ["library/**"], "users": ["bob"], "deny": ["catalog"]},
        {"users": ["robot:ci"], "actions": ["pull"]},
    )
    assert rules.decide_catalog(ANN) == Decision(True, "access.rules[0]")
    assert rules.decide_catalog(BOB) == Decision(False, "access.rules[1] denies catalog")
    assert rules.decide_catalog(ROBOT) == Decision(False, "no rule grants catalog")
    assert rules.decide_catalog(ANONYMOUS) == Decision(False, "no rule applies")


def test_denying_everything_in_some_repositories_does_not_deny_the_catalog() -> None:
    """A denied `*` includes the catalog only in a rule for every repository."""
    everything = {"users": ["*"], "actions": ["*"]}
    secret = policy(everything, {"repositories": ["secret/**"], "users": ["*"], "deny": ["*"]})
    assert secret.decide_catalog(ANN).allowed
    assert allowed(secret, ANN, "secret/x") == ""
    assert not policy(everything, {"users": ["ann"], "deny": ["*"]}).decide_catalog(ANN).allowed


@given(rules=st.lists(RULES, max_size=4), denial=DENIALS, at=st.integers(0, 4), groups=GROUPS)
def test_another_denial_grants_nothing(
    rules: list[Written], denial: Written, at: int, groups: Written
) -> None:
    """With one more rule that denies, no caller may do more than before."""
    before = everything_allowed(policy(*rules, groups=groups))
    after = everything_allowed(policy(*rules[:at], denial, *rules[at:], groups=groups))
    assert after <= before


@given(rules=st.lists(RULES, min_size=1, max_size=4), more=_WORDS, groups=GROUPS)
def test_denying_more_in_a_rule_grants_nothing(
    rules: list[Written], more: list[str], groups: Written
) -> None:
    """The same if an existing rule denies more."""
    stricter = {**rules[0], "deny": [*rules[0].get("deny", []), *more]}
    after = everything_allowed(policy(stricter, *rules[1:], groups=groups))
    assert after <= everything_allowed(policy(*rules, groups=groups))


@given(rules=st.lists(RULES, max_size=4), groups=GROUPS, data=st.data())
def test_order_does_not_matter(rules: list[Written], groups: Written, data: st.DataObject) -> None:
    """Rules, and the items of each list, can be in any order."""

    def mixed(value: Any) -> Any:
        return data.draw(st.permutations(value)) if isinstance(value, list) else value

    others = [{key: mixed(value) for key, value in rule.items()} for rule in rules]
    members = {group: mixed(names) for group, names in groups.items()}
    before = everything_allowed(policy(*rules, groups=groups))
    assert everything_allowed(policy(*mixed(others), groups=members)) == before


@given(user=st.text(max_size=8), name=st.sampled_from(NAMES))
def test_no_user_reaches_the_home_of_another(user: str, name: str) -> None:
    """Whatever a user is called, `home/{user}/**` belongs to that user alone."""
    own = policy({"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["*"]})
    may = bool(allowed(own, Actor(user), name))
    assert may == name.startswith(f"home/{user}/")


@pytest.mark.parametrize("user", ["*", "**", "a*", "..", "ann/x", "ANN", "ann ", "\n"])
def test_names_are_only_compared(user: str) -> None:
    """A caller with an unusual name has the rights of any other authenticated caller."""
    rules = policy({"repositories": ["**", "home/{user}/**"], "users": ["ann"], "actions": ["*"]})
    assert allowed(rules, Actor(user), "home/ann/x") == ""


def test_a_file_has_the_meaning_of_the_configuration() -> None:
    """Rules from a file decide the same, and what YAML reads as a number is a name."""
    rules = parse_rules(
        b"\xef\xbb\xbfgroups:\n  dev: [ann, no, 123]\n  none:\n"
        b"rules:\n  - {groups: [dev], actions: [push]}\n  - {anonymous: true, actions: [pull]}\n"
    )
    assert [allowed(rules, Actor(who), "a") for who in ("ann", "no", "123")] == ["pull push"] * 3
    assert decision(rules, ANN, "push", "a").rule == "rules[0] (**)"


def _file(**rule: Any) -> bytes:
    return yaml.safe_dump({"rules": [{"users": ["ann"], "actions": ["pull"], **rule}]}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "rules is required"),
        (b"groups: {}", "line 1: rules is required"),
        (b"[]", "rules is required"),
        (b"- x", "line 1: must be a mapping"),
        (b"rules: [", "line 1, column 9: is not YAML: "),
        (b"rules: [\xff]", "is not UTF-8 text"),
        (b"rules: []\nrules: []", "line 2: rules is already set on line 1; "),
        (b"rules: []\nrule: []", "line 2: rule is not a known key"),
        (b"rules: []\nfile: /x", "line 2: file is not a known key"),
        (b"rules: []\ngroups: {'*': [a]}", "line 2: groups must be a name; "),
        (b"rules: []\ngroups: {a: ['*']}", "line 2: groups.a[0] must be a name; "),
        (b"rules: []\n#" + b"x" * (1 << 20), "is larger than 1 MiB"),
        (b"rules:\n- users: [a]", "line 2: rules[0] needs actions or deny"),
        (b"rules:\n- actions: [pull]", "line 2: rules[0] needs users, groups or anonymous"),
        (_file(action=["pull"]), "rules[0].action is not a known key"),
        (_file(actions=["pul"]), "rules[0].actions[0] must be pull, push, overwrite, delete, "),
        (_file(deny="pull"), "rules[0].deny must be a list"),
        (_file(anonymous="maybe"), "rules[0].anonymous must be true or false"),
        (_file(users=["a", ""]), "rules[0].users[1] must be a name"),
        (_file(users=["a "]), "rules[0].users[0] must be a name"),
        (_file(groups=["*"]), "rules[0].groups[0] must be a name; to match every"),
        (_file(repositories=["team**"]), "rules[0].repositories[0] must have ** as a whole"),
        (_file(repositories=["x", "***"]), "rules[0].repositories[1] must have ** as a whole"),
        (_file(repositories=["a-{user}"]), "rules[0].repositories[0] must have {user} as a whole"),
        (_file(repositories=["{group}/x"]), "rules[0].repositories[0] must have {user} as a whole"),
        (_file(repositories=["a" * 256]), "rules[0].repositories[0] must be a glob of at most"),
    ],
)
def test_an_unusable_file_is_refused(data: bytes, reason: str) -> None:
    """One line names the place and the reason, and quotes no value."""
    with pytest.raises(ValueError) as caught:
        parse_rules(data)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "glob",
    ["", "/a", "a/", "a//b", "Team/**", "[a-z]", "a b", "../**", ".*", "_x", "a\n", "é",
     "a..b", "a/b___c", "a._?", "a*.-b", "?_."],
)  # fmt: skip
def test_a_glob_that_matches_no_name_is_refused(glob: str) -> None:
    """The rule would have no effect, and a missing denial would stay unnoticed."""
    with pytest.raises(ValueError, match="must be a glob of repository names"):
        parse_rules(_file(repositories=[glob]))


@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_content_is_rules_or_one_line(data: bytes) -> None:
    """Any bytes are rules, or a ValueError with one line."""
    problem = ""
    try:
        parse_rules(data)
    except ValueError as error:
        problem = str(error)
    assert len(problem.splitlines()) <= 1


@pytest.mark.parametrize(
    ("written", "configured"),
    [({}, False), ({"rules": []}, True), ({"file": "/etc/rules.yml"}, True)],
)
def test_an_empty_list_of_rules_is_not_the_absence_of_rules(
    written: Written, configured: bool
) -> None:
    """An empty list refuses everything; without a list, rules do not decide."""
    assert validated(Access, written).configured is configured


@pytest.mark.parametrize(
    "written",
    [{"file": "/x", "rules": []}, {"file": "/x", "groups": {"a": []}}, {"groups": {"a": ["b"]}}],
)
def test_rules_are_in_one_place(written: Written) -> None:
    """Rules beside a file would contradict it, and groups need rules."""
    with pytest.raises(Invalid, match="has "):
        validated(Access, written)


@given(rules=st.lists(RULES, max_size=3), groups=GROUPS)
def test_a_configuration_survives_printing_and_parsing(
    rules: list[Written], groups: Written
) -> None:
    """No meaning depends on omitted keys."""
    access = validated(Access, {"rules": rules, "groups": groups})
    assert validated(Access, written_out(access)) == access


def test_globs_are_matched_once_for_all_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token request has hundreds of names, with all actions on each."""
    held: list[str] = []

    def matches(glob: Glob, _: object) -> bool:
        held.append(glob.text)
        return False

    monkeypatch.setattr(Glob, "matches", matches)
    of = policy({"users": ["ann"], "repositories": ["team/**"], "actions": ["pull"]})
    assert not any(decision(of, ANN, action, "team/app").allowed for action in ACTIONS)
    assert held == ["team/**"]
