"""Token scopes (Docker's "Token Scope Documentation") and the `access` claim of tokens.

    repository:team/app:pull,push     repository(plugin):team/app:pull     registry:catalog:*

`registry:administration:*` is this registry's own scope, for managing it.

Malformed scopes, unknown types and unknown actions grant nothing and are otherwise ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from registry_server.access.interfaces import Action, Grants

MOST = 500
LONGEST = 48 << 10  # characters, of all scopes of a request together

REPOSITORY = "repository"
EVERYTHING = "*"
_CATALOG = ("registry", "catalog")
_ADMINISTRATION = ("registry", "administration")

# A token's `access` claim: objects with type, name and actions.
Access: TypeAlias = list[dict[str, object]]

_TYPE = re.compile(r"([a-z0-9]+)(?:\(([a-z0-9]+)\))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*", re.ASCII)
_ACTIONS = re.compile(r"[a-z*]*(?:,[a-z*]*)*", re.ASCII)
_KNOWN = {action.value: action for action in Action}


class ScopeInvalid(ValueError):
    """A scope does not follow the grammar, or a request has too many."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A resource and the actions on it.

    `kind` is the resource class, such as `plugin` in `repository(plugin)`; it grants nothing.
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
        """Parse one scope, or raise `ScopeInvalid`.

        The last colon ends the name, which may have colons itself, as in `localhost:5000/app`.
        """
        type_, _, rest = text[: LONGEST + 1].partition(":")
        name, _, actions = rest.rpartition(":")
        typed = _TYPE.fullmatch(type_)
        if len(text) > LONGEST or not typed or not _NAME.fullmatch(name):
            raise ScopeInvalid("a scope is type:name:actions")
        if not _ACTIONS.fullmatch(actions):
            raise ScopeInvalid("the actions of a scope are words separated by commas")
        words = frozenset(filter(None, actions.split(",")))
        return Scope(typed[1], name, words, typed[2] or "")

    def known_actions(self) -> frozenset[Action]:
        """Return the known actions of this scope; `*` means all of them."""
        if EVERYTHING in self.actions:
            return frozenset(Action)
        return frozenset(_KNOWN[word] for word in self.actions if word in _KNOWN)

    @property
    def is_repository(self) -> bool:
        """Whether the resource is a repository."""
        return self.type == REPOSITORY

    @property
    def is_catalog(self) -> bool:
        """Whether this is `registry:catalog:*`, for listing repositories."""
        return (self.type, self.name) == _CATALOG and EVERYTHING in self.actions

    @property
    def is_administration(self) -> bool:
        """Whether this is `registry:administration:*`, for managing the registry."""
        return (self.type, self.name) == _ADMINISTRATION and EVERYTHING in self.actions


def parse_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Parse the `scope` parameters of a request, each with one or more scopes between spaces.

    Malformed scopes are ignored. Raises `ScopeInvalid` for more than `MOST` scopes or `LONGEST`
    characters.
    """
    joined = " ".join(texts)
    if len(joined) > LONGEST:
        raise ScopeInvalid(
            f"the scopes of a request have at most {LONGEST} characters; these have {len(joined)}"
        )
    words = joined.split()
    if len(words) > MOST:
        raise ScopeInvalid(f"a request has at most {MOST} scopes; this one has {len(words)}")
    return tuple(scope for scope in map(_parse_or_none, words) if scope is not None)


def _parse_or_none(text: str) -> Scope | None:
    try:
        return Scope.parse(text)
    except ScopeInvalid:
        return None


def scopes_of(grants: Grants) -> tuple[Scope, ...]:
    """Return grants as scopes, in the order of the names; the inverse of `grants_of`."""
    scopes = [
        Scope(REPOSITORY, name, frozenset(action.value for action in actions))
        for name, actions in sorted(grants.repositories.items())
        if actions
    ]
    if grants.catalog:
        scopes.append(Scope(*_CATALOG, frozenset({EVERYTHING})))
    if grants.administration:
        scopes.append(Scope(*_ADMINISTRATION, frozenset({EVERYTHING})))
    return tuple(scopes)


def grants_of(scopes: Iterable[Scope]) -> Grants:
    """Return the grants of the scopes in a verified token."""
    repositories: dict[str, frozenset[Action]] = {}
    catalog = administration = False
    for scope in scopes:
        catalog = catalog or scope.is_catalog
        administration = administration or scope.is_administration
        if scope.is_repository and scope.known_actions():
            before = repositories.get(scope.name, frozenset())
            repositories[scope.name] = before | scope.known_actions()
    return Grants(repositories, catalog, administration)


def access_of(grants: Grants) -> Access:
    """Return grants as the `access` claim of a token."""
    return [
        {"type": scope.type, "name": scope.name, "actions": sorted(scope.actions)}
        for scope in scopes_of(grants)
    ]


def parse_access(claim: object) -> Grants:
    """Parse an `access` claim; raise `ScopeInvalid` if it is malformed.

    A claim that is missing or null grants nothing. So does a null list of actions, which is how Go
    writes an empty one.
    """
    if claim is None:
        return Grants({})
    if not isinstance(claim, list):
        raise ScopeInvalid("the access claim is not a list")
    return grants_of(map(_parse_entry, claim))


def _parse_entry(entry: object) -> Scope:
    if not isinstance(entry, Mapping):
        raise ScopeInvalid("an entry of the access claim is not an object")
    type_, name, actions = entry.get("type"), entry.get("name"), entry.get("actions") or []
    if not isinstance(type_, str) or not isinstance(name, str) or not isinstance(actions, list):
        raise ScopeInvalid("an entry of the access claim lacks a type, a name or actions")
    if not all(isinstance(action, str) for action in actions):
        raise ScopeInvalid("an action of the access claim is not a string")
    return Scope(type_, name, frozenset(actions))
