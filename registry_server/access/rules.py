"""Access rules per repository, decided by the caller's name and groups alone (pure).

A rule applies to the callers in its `users` or `groups`, or to all callers if it is `anonymous`;
`"*"` in `users` means every authenticated caller. It applies to the repositories that one of its
globs matches (see `globs.py`). Of the rules that apply to both caller and repository:

1.  An action that any of them denies is refused.
2.  Otherwise the rules with `actions` and the most specific glob decide: an action that one of them
    grants is allowed. They replace the grants of less specific rules for every caller they apply
    to. Example: a rule grants everything in `**` to an administrator, and a rule for all callers
    grants only `pull` in `library/*`. Then the administrator may only pull from `library/*`, until
    an equally specific rule grants more. A rule that only denies replaces nothing.
3.  All other actions are refused; without rules, every action.

The order of rules, users and groups does not matter. No action includes another: `push` without
`overwrite` allows adding tags, not moving existing ones.

Listing repositories (`catalog`) does not depend on a repository: it is allowed if any rule that
applies to the caller grants it and none denies it. `"*"` means all five actions, but in `deny` it
includes `catalog` only if the rule applies to `**`.

`administrators` alone names the callers that may manage the registry; no rule grants that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

from registry_server.access.globs import ANY_PARTS, Glob
from registry_server.access.interfaces import CATALOG, Action, Actor
from registry_server.config import ConfigError, empty_keys
from registry_server.config import access as sections
from registry_server.config.document import Document, parse
from registry_server.config.problems import Place
from registry_server.config.rule_checks import unmatched_entries
from registry_server.config.shorthand import pruned
from registry_server.config.validation import Invalid, validated
from registry_server.http.context import Decision
from storage.values.names import RepositoryName

_ALL = "*"
_ACTIONS = frozenset(action.value for action in Action)

_LARGEST = 1 << 20  # bytes of a file of rules
_MOST_CALLERS = 1024
_MOST_DECISIONS = 8192
_MOST_MATCHES = 64

_Groups: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; `label` is its place in the configuration, `grants` is None if it only denies."""

    label: str
    globs: tuple[Glob, ...]
    users: frozenset[str]
    groups: _Groups
    anonymous: bool
    grants: frozenset[str] | None
    denies: frozenset[str]

    def applies_to(self, name: str, groups: _Groups) -> bool:
        """Return whether the rule applies to a caller; an anonymous caller has no name."""
        if self.anonymous or not name:
            return self.anonymous
        return _ALL in self.users or name in self.users or not self.groups.isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class _Match:
    """A rule that applies, and its most specific matching glob."""

    rule: Rule
    glob: Glob

    def __str__(self) -> str:
        return f"{self.rule.label} ({self.glob.text})"

    def grants(self, action: str) -> bool:
        return self.rule.grants is not None and action in self.rule.grants


@dataclass(frozen=True, slots=True)
class Administrators:
    """The callers that may manage the registry; `label` is their key in the configuration."""

    label: str = "access.administrators"
    users: frozenset[str] = frozenset()
    groups: _Groups = frozenset()

    def decide(self, name: str, groups: _Groups) -> Decision:
        """Decide whether a caller is an administrator; anonymous callers never are."""
        named = bool(name) and (name in self.users or not self.groups.isdisjoint(groups))
        return Decision(named, self.label if named else f"{self.label} does not name them")


_NO_ADMINISTRATORS = Administrators()


class RulesPolicy:
    """Decides by rules. `members` has the callers of each group; credentials may add groups."""

    def __init__(
        self,
        rules: Iterable[Rule],
        members: Mapping[str, Iterable[str]] | None = None,
        administrators: Administrators = _NO_ADMINISTRATORS,
    ) -> None:
        self._administrators = administrators
        self.groups = frozenset(members or ())
        self._groups = _by_member(members or {})
        applicable = lru_cache(_MOST_CALLERS)(partial(_applicable, tuple(rules)))
        self._applicable = applicable

        # The actions of one request are decided one after the other, for one repository.
        @lru_cache(_MOST_MATCHES)
        def matches(name: str, groups: _Groups, repository: str) -> list[_Match]:
            return _matches(applicable(name, groups), repository)

        def decide(name: str, groups: _Groups, action: str, repository: str) -> Decision:
            return _decide(matches(name, groups, repository), action)

        self._decide = lru_cache(_MOST_DECISIONS)(decide)

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        return self._decide(actor.name, self._groups_of(actor), action.value, name.text)

    def decide_catalog(self, actor: Actor) -> Decision:
        rules = [rule for rule, _ in self._applicable(actor.name, self._groups_of(actor))]
        for rule in rules:
            if CATALOG in rule.denies:
                return Decision(False, f"{rule.label} denies {CATALOG}")
        for rule in rules:
            if CATALOG in (rule.grants or ()):
                return Decision(True, rule.label)
        return Decision(False, _nothing(rules, CATALOG))

    def decide_administration(self, actor: Actor) -> Decision:
        return self._administrators.decide(actor.name, self._groups_of(actor))

    def _groups_of(self, actor: Actor) -> _Groups:
        return actor.groups | self._groups.get(actor.name, frozenset())


def policy_of(section: sections.Access | sections.RulesFile, where: str = "access.") -> RulesPolicy:
    """Return the policy of a configuration; the labels of its decisions begin with `where`."""
    rules = enumerate(section.rules or ())
    return RulesPolicy(
        (_rule(f"{where}rules[{index}]", rule) for index, rule in rules),
        section.groups,
        Administrators(
            f"{where}administrators",
            frozenset(section.administrators.users),
            frozenset(section.administrators.groups),
        ),
    )


def parse_rules(data: bytes, *, users_in_file: bool = False) -> RulesPolicy:
    """Return the policy of a file of rules; raise as `read_rules`."""
    return policy_of(read_rules(data, users_in_file=users_in_file), where="")


def read_rules(data: bytes, *, users_in_file: bool = False) -> sections.RulesFile:
    """Parse the content of `access.file`: YAML with `rules`, `groups` and `administrators`.

    `users_in_file` is as for `unmatched_entries`. Raises ValueError with the fault and its place.
    A duplicate key is an error: one of the two would be ignored, perhaps the one that denies.
    """
    if len(data) > _LARGEST:
        raise ValueError("is larger than 1 MiB")
    try:
        document = parse(data.decode("utf-8-sig"), lambda line: Place("", line))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except ConfigError as error:
        raise ValueError(error.problems[0]) from None
    if document.warnings:
        raise ValueError(str(document.warnings[0]))
    return _checked(document, users_in_file=users_in_file)


def _checked(document: Document, *, users_in_file: bool) -> sections.RulesFile:
    for empty in empty_keys.problems(document, (empty_keys.ACCESS,)):
        raise ValueError(str(empty))
    try:
        rules = validated(sections.RulesFile, pruned(document.data) or {})
    except Invalid as error:
        first = error.faults[0]
        raise ValueError(str(document.located(first.path, first.text))) from None
    for path, text in unmatched_entries(rules, users_in_file=users_in_file):
        raise ValueError(str(document.located(path, text)))
    return rules


def _rule(label: str, section: sections.Rule) -> Rule:
    every = ANY_PARTS in section.repositories
    return Rule(
        label,
        tuple(Glob.parse(text) for text in section.repositories),
        frozenset(section.users or ()),
        frozenset(section.groups or ()),
        bool(section.anonymous),
        None if section.actions is None else _words(section.actions, {CATALOG}),
        _words(section.deny or (), {CATALOG} if every else set()),
    )


def _words(actions: Sequence[str], besides: set[str]) -> frozenset[str]:
    """Return `actions`, with `*` replaced by all actions on a repository and `besides`."""
    words = frozenset(actions)
    return words - {_ALL} | _ACTIONS | besides if _ALL in words else words


def _by_member(members: Mapping[str, Iterable[str]]) -> Mapping[str, _Groups]:
    groups: dict[str, set[str]] = {}
    for group, names in members.items():
        for name in names:
            groups.setdefault(name, set()).add(group)
    return {name: frozenset(joined) for name, joined in groups.items()}


_Applicable: TypeAlias = tuple[tuple[Rule, tuple[Glob, ...]], ...]


def _applicable(rules: Sequence[Rule], name: str, groups: _Groups) -> _Applicable:
    """Return the rules that apply to a caller, with the caller's name in their globs."""
    applicable = []
    for rule in rules:
        if rule.applies_to(name, groups):
            globs = (glob.bound(name) for glob in rule.globs)
            applicable.append((rule, tuple(glob for glob in globs if glob is not None)))
    return tuple(applicable)


def _matches(rules: _Applicable, name: str) -> list[_Match]:
    matches = []
    for rule, globs in rules:
        matching = [glob for glob in globs if glob.matches(name)]
        if matching:
            matches.append(_Match(rule, max(matching, key=lambda glob: glob.rank)))
    return matches


def _decide(matches: Sequence[_Match], action: str) -> Decision:
    for match in matches:
        if action in match.rule.denies:
            return Decision(False, f"{match} denies {action}")
    with_actions = [match for match in matches if match.rule.grants is not None]
    best = max((match.glob.rank for match in with_actions), default=None)
    deciding = [match for match in with_actions if match.glob.rank == best]
    for match in deciding:
        if match.grants(action):
            return Decision(True, str(match))
    if not deciding:
        return Decision(False, _nothing(matches, action))
    return Decision(False, _replaced(deciding[0], with_actions, action))


def _nothing(applying: Sequence[object], action: str) -> str:
    return f"no rule grants {action}" if applying else "no rule applies"


def _replaced(decisive: _Match, with_actions: Sequence[_Match], action: str) -> str:
    """Return that the most specific rule does not grant an action, and a rule that would."""
    reason = f"{decisive} does not grant {action}"
    granting = next((match for match in with_actions if match.grants(action)), None)
    return reason if granting is None else f"{reason}, and is more specific than {granting}"
