"""What a client asks a token for, and what a token says it is for, in the words of the protocol.

    repository:team/app:pull,push     repository(plugin):team/app:pull     registry:catalog:*

`registry:administration:*` is ours: a token for images alone manages nothing.

A client sends whatever it likes: of a scope that can't be read, of a type or an action that is
not known, nothing is granted, and the others count. (Docker's "Token Scope Documentation".)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from registry_server.auth.access import Action, Grants

MOST = 500
LONGEST = 48 << 10  # characters, of all scopes of a request together

REPOSITORY = "repository"
EVERYTHING = "*"
_CATALOG = ("registry", "catalog")
_ADMINISTRATION = ("registry", "administration")

# What stands in a token's `access` claim: type, name and actions.
Access: TypeAlias = list[dict[str, object]]

_TYPE = re.compile(r"([a-z0-9]+)(?:\(([a-z0-9]+)\))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*", re.ASCII)
_ACTIONS = re.compile(r"[a-z*]*(?:,[a-z*]*)*", re.ASCII)
_KNOWN = {action.value: action for action in Action}


class ScopeInvalid(ValueError):
    """A scope does not follow the grammar, or a request asks for too many."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing and what is to be done with it.

    The class, `plugin` of `repository(plugin)`, is a hint to people and decides nothing.
    """

    type: str
    name: str
    actions: frozenset[str]
    kind: str = ""

    def __str__(self) -> str:
        kind = f"({self.kind})" if self.kind else ""
        return f"{self.type}{kind}:{self.name}:{','.join(sorted(self.actions))}"

    @staticmethod
    def parse(text: str) -> Scope:
        """Read one scope, or raise `ScopeInvalid`.

        A name may hold colons, as in `localhost:5000/app`: it ends at the last one.
        """
        type_, _, rest = text[: LONGEST + 1].partition(":")
        name, _, actions = rest.rpartition(":")
        typed = _TYPE.fullmatch(type_)
        if len(text) > LONGEST or not typed or not _NAME.fullmatch(name):
            raise ScopeInvalid("a scope is type:name:actions")
        if not _ACTIONS.fullmatch(actions):
            raise ScopeInvalid("the actions of a scope are words between commas")
        words = frozenset(filter(None, actions.split(",")))
        return Scope(typed[1], name, words, typed[2] or "")

    def wanted(self) -> frozenset[Action]:
        """Return the known ones of the actions that are named; `*` names all."""
        if EVERYTHING in self.actions:
            return frozenset(Action)
        return frozenset(_KNOWN[word] for word in self.actions if word in _KNOWN)

    @property
    def is_repository(self) -> bool:
        """Whether this is about one repository."""
        return self.type == REPOSITORY

    @property
    def is_catalog(self) -> bool:
        """Whether this is about listing repositories: `registry:catalog:*` and nothing less."""
        return (self.type, self.name) == _CATALOG and EVERYTHING in self.actions

    @property
    def is_administration(self) -> bool:
        """Whether this is about managing the registry: `registry:administration:*` likewise."""
        return (self.type, self.name) == _ADMINISTRATION and EVERYTHING in self.actions


def parse_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Read the `scope` parameters of a request, each of which may hold several between spaces.

    What can't be read is left out. Raises `ScopeInvalid` for more than `MOST` or `LONGEST`.
    """
    whole = " ".join(texts)
    if len(whole) > LONGEST:
        raise ScopeInvalid(
            f"scopes have at most {LONGEST} characters together, and these {len(whole)}"
        )
    words = whole.split()
    if len(words) > MOST:
        raise ScopeInvalid(
            f"a request asks for at most {MOST} scopes, and this one for {len(words)}"
        )
    return tuple(scope for scope in map(_parse_or_none, words) if scope is not None)


def _parse_or_none(text: str) -> Scope | None:
    try:
        return Scope.parse(text)
    except ScopeInvalid:
        return None


def scopes_of(grants: Grants) -> tuple[Scope, ...]:
    """Return what is granted as scopes, in the order of the names; the inverse of `grants_of`."""
    made = [
        Scope(REPOSITORY, name, frozenset(action.value for action in actions))
        for name, actions in sorted(grants.repositories.items())
        if actions
    ]
    if grants.catalog:
        made.append(Scope(*_CATALOG, frozenset({EVERYTHING})))
    if grants.administration:
        made.append(Scope(*_ADMINISTRATION, frozenset({EVERYTHING})))
    return tuple(made)


def grants_of(scopes: Iterable[Scope]) -> Grants:
    """Return what scopes grant where nothing else is asked: those of a token that was verified."""
    repositories: dict[str, frozenset[Action]] = {}
    catalog = administration = False
    for scope in scopes:
        catalog = catalog or scope.is_catalog
        administration = administration or scope.is_administration
        if scope.is_repository and scope.wanted():
            before = repositories.get(scope.name, frozenset())
            repositories[scope.name] = before | scope.wanted()
    return Grants(repositories, catalog, administration)


def access_of(grants: Grants) -> Access:
    """Write grants as the `access` claim of a token."""
    return [
        {"type": scope.type, "name": scope.name, "actions": sorted(scope.actions)}
        for scope in scopes_of(grants)
    ]


def parse_access(claim: object) -> Grants:
    """Read an `access` claim; raise `ScopeInvalid` if it is not one.

    A claim that is missing or null grants nothing; so does a list of actions that is null, which
    is how Go writes an empty one.
    """
    if claim is None:
        return Grants({})
    if not isinstance(claim, list):
        raise ScopeInvalid("the access claim is no list")
    return grants_of(map(_parse_entry, claim))


def _parse_entry(entry: object) -> Scope:
    if not isinstance(entry, Mapping):
        raise ScopeInvalid("an entry of the access claim is no object")
    type_, name, actions = entry.get("type"), entry.get("name"), entry.get("actions") or []
    if not isinstance(type_, str) or not isinstance(name, str) or not isinstance(actions, list):
        raise ScopeInvalid("an entry of the access claim lacks a type, a name or actions")
    if not all(isinstance(action, str) for action in actions):
        raise ScopeInvalid("an action of the access claim is no text")
    return Scope(type_, name, frozenset(actions))
