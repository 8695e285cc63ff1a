"""Rules that can never match are refused; the length of a user name changes no decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from registry_server.access.globs import Glob
from registry_server.access.interfaces import Actor
from registry_server.access.rules import parse_rules
from registry_server.commands.check import examine
from registry_server.config import Settings, access
from registry_server.config.robot_names import is_robot_name, is_robots
from registry_server.config.validation import validated
from registry_server.wiring.access.unknown_callers import unknown_callers
from storage.errors import NameInvalid
from storage.values.names import RepositoryName, is_component
from tests.auth.test_rules import ACTIONS, Written, decision, policy
from tests.support.users import lines

COMPONENTS = st.from_regex(r"[a-z0-9]{1,60}([._-][a-z0-9]{1,3})?", fullmatch=True)

# A configuration up to its rules, which begin on line 5.
HEAD = (
    "version: 0.1\nstorage: inmemory\nauth: {token: {realm: r, service: s, issuer: i, jwks: j}}\n"
)

UNMATCHED = [
    ("rules: [{users: ['robot$ci'], deny: [pull]}]", "rules[0].users[0] must be robot:ci,"),
    ("rules: [{users: ['Robot:CI'], deny: [pull]}]", "rules[0].users[0] must be robot:ci,"),
    ("rules: [{users: ['robot:'], deny: [pull]}]", "rules[0].users[0] must be robot:NAME,"),
    ("rules: [{users: ['robot:*'], deny: [pull]}]", "rules[0].users[0] must be a name, not a"),
    ("rules: [{users: [ann, 'dev-*'], deny: [pull]}]", "rules[0].users[1] must be a name, not a"),
    ("rules: [{users: [anonymous], deny: [pull]}]", "write anonymous: true"),
    ("rules: [{users: [Anonymous], deny: [pull]}]", "write anonymous: true"),
    ("rules: [{users: ['{user}'], deny: [pull]}]", "rules[0].users[0] must be a name, not a"),
    ("rules: [{anonymous: false, deny: [pull]}]", "rules[0] needs users, groups or anonymous"),
    ("{groups: {a: ['robot$ci']}, rules: []}", "groups.a[0] must be robot:ci,"),
    (
        "{groups: {developers: []}, rules: [{groups: [developer], deny: [pull]}]}",
        "rules[0].groups[0] is not defined in groups: did you mean developers?",
    ),
    ("rules: [{groups: [x], deny: [pull]}]", "rules[0].groups[0] is not defined in"),
    (
        "{administrators: {groups: [x]}, rules: []}",
        "administrators.groups[0] is not defined in groups",
    ),
    (
        "{administrators: {users: ['robot$x']}, rules: []}",
        "administrators.users[0] must be robot:x",
    ),
    (
        "rules: [{repositories: ['home/{user}/**'], users: [ann, Bob], deny: [pull]}]",
        "rules[0].users[1] cannot replace {user}",
    ),
    (
        "{groups: {g: ['robot:ci']}, rules: [{repositories: [a, '{user}'], groups: [g], "
        "deny: [pull]}]}",
        "rules[0].repositories[1] matches nothing",
    ),
    (
        "rules: [{repositories: ['{user}'], users: ['robot:ci'], anonymous: true, deny: [pull]}]",
        "rules[0].users[0] cannot replace {user}",
    ),
    ("rules: [{repositories: ['team/a..b'], users: [ann], deny: [pull]}]", "must be a glob of"),
]


@pytest.mark.parametrize(("rules", "reason"), UNMATCHED)
def test_check_names_file_line_and_key_of_a_rule_that_never_matches(
    tmp_path: Path, rules: str, reason: str
) -> None:
    """A start and a reload do as well, because they read the configuration in the same way."""
    config = tmp_path / "config.yml"
    config.write_text(f"{HEAD}access:\n  {rules}\n")
    (error,) = examine(config).errors
    assert str(error).startswith(f"{config}, line 5: access.")
    assert reason in str(error)


@pytest.mark.parametrize(("rules", "reason"), UNMATCHED)
def test_a_file_of_rules_is_refused_in_the_same_way(
    tmp_path: Path, rules: str, reason: str
) -> None:
    """The line names the file of rules, the line in it and the key."""
    file, config = tmp_path / "rules.yml", tmp_path / "config.yml"
    file.write_text(f"# rules\n{rules}\n")
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
        f"access: {{file: {file}}}\n"
    )
    (error,) = examine(config).errors
    assert f"{file}: line 2: " in str(error)
    assert reason in str(error)


FILE = "auth: {htpasswd: {realm: r, path: USERS}}\n"
TOKENS = "auth: {token: {realm: 'https://r', service: s, issuer: i, jwks: /j}}\n"


@pytest.mark.parametrize("name", ["robots:ci", "a:b", "#ann"])
@pytest.mark.parametrize("where", ["{rules: [{users: [NAME], deny: [pull]}]}",
                                   "{rules: [], groups: {g: [NAME]}}",
                                   "{rules: [], administrators: {users: [NAME]}}"])  # fmt: skip
def test_a_name_that_the_file_of_users_cannot_have_is_refused(
    tmp_path: Path, where: str, name: str
) -> None:
    """A denial for it never matches; tokens and certificates can name such a user."""
    rules, config, file = where.replace("NAME", f"'{name}'"), tmp_path / "c.yml", tmp_path / "r.yml"
    (tmp_path / "users").write_text("")
    file.write_text(rules)
    begin = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    for auth in ("", FILE.replace("USERS", f"{tmp_path}/users")):
        for section in (rules, f"{{file: {file}}}"):
            config.write_text(f"{begin}{auth}access: {section}\n")
            (error,) = examine(config).errors
            assert "cannot be a user name" in str(error)
    config.write_text(f"{begin}{TOKENS}access: {rules}\n")
    assert not any("cannot be a user name" in str(each) for each in examine(config).errors)


@pytest.mark.parametrize(
    "rules",
    [
        "rules: [{users: [], deny: [pull]}]",
        "rules: [{repositories: [], users: [ann], deny: [pull]}]",
        "{groups: {none: []}, rules: [{repositories: ['{user}'], groups: [none], deny: [pull]}]}",
        "rules: [{repositories: ['{user}'], users: ['*'], actions: [pull]}]",
        "rules: [{repositories: ['{user}', x], users: ['robot:ci', ann], actions: [pull]}]",
        "rules: [{users: [robot, robots, Ann, 'a:b', 'ann@example.com', 'ü'], actions: [pull]}]",
    ],
)
def test_empty_lists_and_unusual_names_are_accepted(rules: str) -> None:
    """If an emptied list were refused, the old rules with the removed name would stay in force."""
    parse_rules(rules.encode())


_USERS = st.sampled_from(
    ["ann", "Bob", "robot:ci", "robot$ci", "robot:C", "robot:", "*", "a*", "a/b", "..", "anonymous",
     "x" * 200, "ann@example.com", "a__b", "a___b", "-"]
)  # fmt: skip
_PARTS = st.sampled_from(["**", "*", "a", "{user}", "?", "a*"]) | st.from_regex(
    r"[ab*?._-]{1,5}", fullmatch=True
)
_GLOBS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_GROUPS = st.sampled_from(["dev", "ops", "dve"])
_RULE = st.fixed_dictionaries(
    {"deny": st.just(["pull"])},
    optional={
        "repositories": st.lists(_GLOBS, max_size=3),
        "users": st.lists(_USERS, max_size=2),
        "groups": st.lists(_GROUPS, max_size=2),
        "anonymous": st.booleans(),
    },
)
_MEMBERS = st.fixed_dictionaries(
    {}, optional={"dev": st.lists(_USERS, max_size=2), "ops": st.lists(_USERS, max_size=1)}
)


def callers(entry: str) -> list[str]:
    """Return names of callers that a user entry matches; none for a name that no caller has."""
    if entry == "*":
        return ["ann", "robot:ci"]
    named = entry.removeprefix("robot:")
    is_caller = is_robot_name(named) if is_robots(entry) else entry != "anonymous"
    return [entry] if is_caller and not set("*?") & set(entry) else []


def witness(glob: str, user: str) -> bool:
    """Tell whether a name exists that a glob, bound to a user, matches."""
    bound = Glob.parse(glob).bound(user)
    if bound is None:
        return False
    parts = [part for part in bound.parts[:-1] if part != "**"]
    last = "0" if bound.parts[-1] == "**" else bound.parts[-1]
    written = "/".join([*parts, last]).replace("*", "0").replace("?", "0")
    try:
        name = RepositoryName.parse(written)
    except NameInvalid:
        return False
    return bound.matches(name.text)


def entries(rule: Written, groups: Mapping[str, list[str]]) -> Iterator[tuple[str, bool]]:
    """Yield each entry of a rule, and whether it matches some caller and some repository."""
    users, globs = rule.get("users", []), rule.get("repositories", ["**"])
    for user in users:
        found = any(witness(glob, each) for glob in globs for each in callers(user))
        yield f"user {user}", found or not globs
    for group in rule.get("groups", []):
        yield f"group {group}", group in groups
    every = [each for user in users for each in callers(user)]
    every += [each for group in rule.get("groups", []) for each in groups.get(group, ())]
    every += ["", "ann"] if rule.get("anonymous") else []
    for glob in globs:
        yield f"glob {glob}", not every or any(witness(glob, each) for each in every)


@given(rules=st.lists(_RULE, min_size=1, max_size=2), groups=_MEMBERS)
@example(rules=[{"users": ["robot$ci"], "deny": ["pull"]}], groups={})
@example(rules=[{"groups": ["dve"], "deny": ["pull"]}], groups={"dev": ["ann"]})
@example(rules=[{"users": ["Bob"], "repositories": ["{user}"], "deny": ["pull"]}], groups={})
@example(rules=[{"users": ["ann"], "repositories": ["a.._b"], "deny": ["pull"]}], groups={})
@example(
    rules=[{"users": ["x" * 200], "repositories": ["{user}/{user}"], "deny": ["pull"]}], groups={}
)
def test_every_accepted_rule_can_match(rules: list[Written], groups: Any) -> None:
    """For each user, group and glob there is a caller and a repository that it matches."""
    try:
        parse_rules(yaml.safe_dump({"rules": rules, "groups": groups}).encode())
    except ValueError:
        return
    for rule in rules:
        assert [entry for entry, matches in entries(rule, groups) if not matches] == []


@given(component=COMPONENTS, holes=st.lists(st.tuples(st.integers(0, 63), st.sampled_from("*?"))))
def test_a_part_that_matches_a_component_is_accepted(
    component: str, holes: list[tuple[int, str]]
) -> None:
    """Nothing that could match is refused: wildcards stand for any characters."""
    part = list(component)
    for at, wildcard in holes:
        part[at % len(part)] = wildcard
    written = "".join(part)
    assume("**" not in written)
    parse_rules(yaml.safe_dump({"rules": [_rule(written)]}).encode())


def _rule(glob: str) -> Written:
    return {"repositories": [glob], "users": ["ann"], "actions": ["pull"]}


@given(st.text(st.sampled_from("ab0._-/A\né"), max_size=8))
def test_the_configuration_and_the_storage_agree_on_names(text: str) -> None:
    """The configuration does not import the storage, so it has a copy of the grammar."""
    assert access.is_component(text) == is_component(text)


_RENAMED = [
    "**",
    "home/**",
    "home/{user}/**",
    "**/private-data",
    "home/*/private-data",
    "home/{user}/*",
]
_PLACES = ["home/{}/private-data", "home/{}/x", "home/{}/x/private", "other"]
_ABOUT = st.fixed_dictionaries(
    {"repositories": st.lists(st.sampled_from(_RENAMED), min_size=1, max_size=2)},
    optional={
        "users": st.lists(st.sampled_from(["ann", "bob", "*"]), min_size=1, max_size=2),
        "groups": st.just(["dev"]),
    },
).filter(lambda rule: len(rule) > 1)
_GRANTS = st.lists(st.sampled_from([*ACTIONS, "catalog"]), max_size=3)
_SAYS = st.fixed_dictionaries({"actions": _GRANTS}) | st.fixed_dictionaries({"deny": _GRANTS})


@given(
    rules=st.lists(st.builds(lambda about, says: about | says, _ABOUT, _SAYS), max_size=4),
    members=st.lists(st.sampled_from(["ann", "bob"]), max_size=2),
    name=COMPONENTS,
)
@example(
    rules=[
        {"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["pull"]},
        {"repositories": ["**/private-data"], "users": ["*"], "actions": []},
    ],
    members=[],
    name="alexandra-the-great",
)
def test_renaming_a_user_changes_no_decision(
    rules: list[Written], members: list[str], name: str
) -> None:
    """Whatever the length of the new name, in rules, groups and repository names."""
    assume(name != "bob")
    before = _decisions(rules, members, "ann")
    renamed = [
        {key: [name if each == "ann" else each for each in values] for key, values in rule.items()}
        for rule in rules
    ]
    after = _decisions(renamed, [name if each == "ann" else each for each in members], name)
    assert after == before


def _decisions(rules: list[Written], members: list[str], name: str) -> list[bool]:
    """Return all that a user may do, in a fixed order."""
    of = policy(*rules, groups={"dev": members})
    asked = [(action, place.format(name)) for action in ACTIONS for place in _PLACES]
    return [decision(of, Actor(name), *each).allowed for each in [*asked, ("catalog", "")]]


def _checked(folder: Path, more: str) -> list[str]:
    """Return the warnings about names in rules for a configuration with two users."""
    users, config = folder / "users", folder / "config.yml"
    users.write_text(lines(dict.fromkeys(("ann", "Bob"), "the password of both")))
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        + more.replace("USERS", str(users))
    )
    report = examine(config)
    assert report.errors == ()
    return [str(each) for each in report.warnings if each.key.startswith(("access", "rules"))]


NAMES = """access:
  groups: {dev: [ann, jonh], all: [dev, Bob]}
  administrators: {users: [admin]}
  rules:
    - {users: ["*", ann, jonh, "robot:ci"], groups: [dev], actions: [pull]}
"""


def test_names_without_a_user_are_warnings(tmp_path: Path) -> None:
    """Once each, with the key; a user may be added later, and robots change at any time."""
    said = _checked(tmp_path, "auth: {htpasswd: {realm: r, path: USERS}}\n" + NAMES)
    why = f"has no effect until {tmp_path / 'users'} has a user of that name"
    nested = "is the name of a group, but a user is expected here: groups do not nest"
    assert said == [
        f"access.groups.dev[1] {why}",
        f"access.groups.all[0] {nested}",
        f"access.administrators.users[0] {why}",
    ]


def test_a_group_among_users_is_a_warning_without_a_file_of_users() -> None:
    """Certificates and tokens can name any user, but a group in their place is a mistake."""
    rules = {"groups": {"dev": ["eve"]}, "rules": [{"users": ["dev", "eve"], "deny": ["pull"]}]}
    settings = validated(Settings, {"access": {**rules, "certificates": True}})
    (warning,) = unknown_callers(settings, ())
    assert warning.key == "access.rules[0].users[0]"
    assert "is the name of a group" in warning.text


def test_without_a_login_for_users_each_user_is_a_warning(tmp_path: Path) -> None:
    """Robots can log in, so their names are not."""
    said = _checked(tmp_path, NAMES)
    assert len(said) == 5
    assert sum("only robots log in" in line for line in said) == 4


def test_users_that_no_rule_can_name_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the line that counts; without rules there is no warning."""
    monkeypatch.delenv("REGISTRY_TESTS_REQUIRE_CLIENTS", raising=False)
    hash = lines({"": "the password of all"}).strip()
    names = ("ann", "a*", "robot$ci", "Anonymous", "a b", "a*")
    (tmp_path / "users").write_text("\n".join(f"{name}{hash}" for name in names))
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
        f"http: {{addr: '127.0.0.1:5000'}}\n"
        f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/users}}}}\n"
    )

    def told() -> list[str]:
        return [str(each) for each in examine(tmp_path / "config.yml").warnings]

    place = f"{tmp_path}/users, line"
    repeated = [f"{place} 6: repeats a name, and the last line of a name counts"]
    assert told() == repeated
    with (tmp_path / "config.yml").open("a") as file:
        file.write("access: {rules: []}\n")
    unnamable = "has a name that no rule can have: only rules for every user apply to this one"
    robots = "has the name of a robot: with access rules no user logs in by it"
    assert sorted(told()) == sorted(
        [
            *repeated,
            f"{place} 3: {robots}",
            f"{place} 4: {unnamable}",
            f"{place} 6: {unnamable}",
        ]
    )


def test_names_in_a_file_of_rules_are_warnings_with_its_path(tmp_path: Path) -> None:
    """The keys are those of that file."""
    file = tmp_path / "rules.yml"
    file.write_text("rules: [{users: [ann, eve], deny: [pull]}]\n")
    more = f"auth: {{htpasswd: {{realm: r, path: USERS}}}}\naccess: {{file: {file}}}\n"
    (said,) = _checked(tmp_path, more)
    assert said.startswith(f"{file}: rules[0].users[1] has no effect until ")
