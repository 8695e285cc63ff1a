"""`access`: the access rules, which grant users actions on repositories.

This module validates each rule by itself, and `rule_checks` the rules together.
`registry_server.access.rules` evaluates them. A rule that can never match is refused: a typing
mistake in a denial would grant access.
"""

import re
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Literal

from registry_server.config.callers import EVERY_USER, caller_name, plain_name
from registry_server.config.header_text import HeaderText
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import BaseUrl, FilePath, TokenLifetime

LONGEST_NAME = 255  # of a repository

# Repeats the grammar of `storage.values.names`: this package does not import the storage.
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)

Action = Literal["pull", "push", "overwrite", "delete", "catalog", "*"]


def _glob(text: str) -> str:
    if len(text) > LONGEST_NAME:
        raise ValueError(f"must be a glob of at most {LONGEST_NAME} characters")
    for part in text.split("/"):
        if part not in ("**", "{user}"):
            _check_part(part)
    return text


def _check_part(part: str) -> None:
    if "**" in part:
        raise ValueError("must have ** as a whole component, as in team/**")
    if "{" in part or "}" in part:
        raise ValueError("must have {user} as a whole component, as in home/{user}/**")
    if not is_component(sample(part)):
        raise ValueError("must be a glob of repository names, such as team/** or library/*")


def is_component(text: str) -> bool:
    """Return whether `text` may stand between two slashes of a repository name."""
    return _COMPONENT.fullmatch(text) is not None


def sample(part: str) -> str:
    """Return a component that this part of a glob matches, if it can match any.

    Each wildcard becomes a letter, which is valid wherever another character is: inside a
    separator it leaves a shorter separator on each side.
    """
    return part.replace("*", "a").replace("?", "a")


def _user(text: str) -> str:
    return text if text == EVERY_USER else caller_name(text)


def _no_star(text: str) -> str:
    if text == EVERY_USER:
        raise ValueError('must be a name; to match every logged-in user, write users: ["*"]')
    return text


def _no_star_administers(text: str) -> str:
    if text == EVERY_USER:
        raise ValueError("must be a name: with * every user could create robot accounts")
    return text


def _groups(groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for group in groups:
        plain_name(_no_star(group))
    return groups


Glob = Annotated[str, AfterValidator(_glob)]
User = Annotated[str, AfterValidator(_user)]
Member = Annotated[str, AfterValidator(_no_star), AfterValidator(caller_name)]
Group = Annotated[str, AfterValidator(_no_star), AfterValidator(plain_name)]
Administrator = Annotated[str, AfterValidator(_no_star_administers), AfterValidator(caller_name)]
AdministratorGroup = Annotated[
    str, AfterValidator(_no_star_administers), AfterValidator(plain_name)
]
Groups = Annotated[dict[str, tuple[Member, ...]], AfterValidator(_groups)]


class Rule(Section):
    """`access.rules[]`: actions that callers are granted or denied on repositories.

    A key that is missing from the file is None. Without `actions` a rule only denies.
    """

    repositories: tuple[Glob, ...] = ("**",)
    users: tuple[User, ...] | None = None
    groups: tuple[Group, ...] | None = None
    anonymous: bool | None = None
    actions: tuple[Action, ...] | None = None
    deny: tuple[Action, ...] | None = None

    # An empty list is valid: the operator may have just removed the last user. If a reload refused
    # it, the previous rules, with that user, would stay in force.
    def __post_init__(self) -> None:
        # `anonymous: false` alone reads like "every user who is logged in", but matches no caller.
        if self.users is None and self.groups is None and not self.anonymous:
            raise ValueError("needs users, groups or anonymous: true")
        if self.actions is None and self.deny is None:
            raise ValueError("needs actions or deny")


class Administrators(Section):
    """`access.administrators`: the users that may use the management API; `*` is not allowed."""

    users: tuple[Administrator, ...] = ()
    groups: tuple[AdministratorGroup, ...] = ()


class RulesFile(Section):
    """The content of the file that `access.file` names."""

    groups: Groups = field(default_factory=dict, hash=False)
    rules: tuple[Rule, ...]
    administrators: Administrators = Administrators()


class IssuedTokens(Section):
    """`access.tokens`: the tokens that this registry issues when it has access rules.

    `realm` is the URL where clients get them; if empty, it is derived from each request. `key` is
    a private key in PEM; without it, a key is created and kept in the root.
    """

    realm: BaseUrl = ""
    service: HeaderText = "registry"
    issuer: HeaderText = "registry-server"
    key: FilePath | None = None
    lifetime: TokenLifetime = timedelta(minutes=5)


class Access(Section):
    """`access`: `groups`, `rules` and `administrators`, or the `file` with them; and tokens.

    With `rules` None and no `file` there is no access control by rules. An empty list of rules
    denies everything. With `certificates`, the common name of a client certificate is the user
    name.
    """

    file: FilePath | None = None
    groups: Groups = field(default_factory=dict, hash=False)
    rules: tuple[Rule, ...] | None = None
    administrators: Administrators = Administrators()
    tokens: IssuedTokens = IssuedTokens()
    certificates: bool = False

    @property
    def configured(self) -> bool:
        """Whether access rules are in force, which deny everything that they do not grant."""
        return self.file is not None or self.rules is not None

    def __post_init__(self) -> None:
        administered = self.administrators != Administrators()
        if self.file is not None and (self.groups or self.rules is not None or administered):
            raise ValueError("has a file: move groups, rules and administrators to that file")
        if self.groups and not self.configured:
            raise ValueError("has groups but no rules to use them: add rules or remove groups")
        if administered and not self.configured:
            raise ValueError("has administrators but no rules, which the management API needs")
