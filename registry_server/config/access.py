"""`access`: the rules that say who may do what with which repositories.

What rules mean together is decided in `registry_server.auth.rules`; here is what each may say, and
in `unmatched` what they may not say together. A rule that could never match what it was written for
is refused: if it denies, a typing mistake would allow access.
"""

import re
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Literal

from registry_server.config.callers import EVERYBODY, caller_name, plain_name
from registry_server.config.header_text import HeaderText
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import BaseUrl, FilePath, TokenLifetime

LONGEST_NAME = 255  # of a repository

# The grammar of `storage.names`, again: a configuration is a value and imports nothing of storage.
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
        raise ValueError("must have ** alone between slashes, as in team/**")
    if "{" in part or "}" in part:
        raise ValueError("must have {user} alone between slashes, as in home/{user}/**")
    if not is_component(sample(part)):
        raise ValueError("must be a glob of names of repositories, such as team/** or library/*")


def is_component(text: str) -> bool:
    """Tell whether `text` may stand between two slashes of a repository name."""
    return _COMPONENT.fullmatch(text) is not None


def sample(part: str) -> str:
    """Return a component that a part of a glob matches, if it matches any.

    Each wildcard becomes a letter, which is valid wherever another character is: inside a
    separator it leaves a shorter separator on each side.
    """
    return part.replace("*", "a").replace("?", "a")


def _user(text: str) -> str:
    return text if text == EVERYBODY else caller_name(text)


def _no_star(text: str) -> str:
    if text == EVERYBODY:
        raise ValueError('must be a name: for every user who is logged in, a rule has users: ["*"]')
    return text


def _no_star_administers(text: str) -> str:
    if text == EVERYBODY:
        raise ValueError("must be a name: otherwise every user could make keys of any name")
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
    """`access.rules[]`: what some callers may, and must not, do with some repositories.

    A key that the file does not have is None. Without `actions` a rule only denies.
    """

    repositories: tuple[Glob, ...] = ("**",)
    users: tuple[User, ...] | None = None
    groups: tuple[Group, ...] | None = None
    anonymous: bool | None = None
    actions: tuple[Action, ...] | None = None
    deny: tuple[Action, ...] | None = None

    # Lists that are written and empty are no mistake: perhaps the last user was just taken out,
    # and to refuse that would leave the rules in force in which they still are.
    def __post_init__(self) -> None:
        # `anonymous: false` alone reads like "every user who is logged in", but matches no caller.
        if self.users is None and self.groups is None and not self.anonymous:
            raise ValueError("needs users, groups or anonymous: true")
        if self.actions is None and self.deny is None:
            raise ValueError("needs actions or deny")


class Administrators(Section):
    """`access.administrators`: the only users who may manage the registry by its API.

    There is no way to name everybody here.
    """

    users: tuple[Administrator, ...] = ()
    groups: tuple[AdministratorGroup, ...] = ()


class RulesFile(Section):
    """What stands in the file that `access.file` names."""

    groups: Groups = field(default_factory=dict, hash=False)
    rules: tuple[Rule, ...]
    administrators: Administrators = Administrators()


class IssuedTokens(Section):
    """`access.tokens`: the tokens this registry gives itself where rules decide.

    `realm` is where clients get them, found out for each request if empty. `key` is a private key
    in PEM; without one it is made in the root and kept there.
    """

    realm: BaseUrl = ""
    service: HeaderText = "registry"
    issuer: HeaderText = "registry-server"
    key: FilePath | None = None
    lifetime: TokenLifetime = timedelta(minutes=5)


class Access(Section):
    """`access`: `groups`, `rules` and `administrators`, or the `file` they are in; and tokens.

    Without rules, which is another thing than an empty list of them, nothing is decided by rules.
    With `certificates` the common name of a client's certificate is its user's name.
    """

    file: FilePath | None = None
    groups: Groups = field(default_factory=dict, hash=False)
    rules: tuple[Rule, ...] | None = None
    administrators: Administrators = Administrators()
    tokens: IssuedTokens = IssuedTokens()
    certificates: bool = False

    @property
    def configured(self) -> bool:
        """Whether rules decide: what none of them grants is refused then."""
        return self.file is not None or self.rules is not None

    def __post_init__(self) -> None:
        administered = self.administrators != Administrators()
        if self.file is not None and (self.groups or self.rules is not None or administered):
            raise ValueError("has a file, so groups, rules and administrators must be in there")
        if self.groups and not self.configured:
            raise ValueError("has groups, and no rules that could name them")
        if administered and not self.configured:
            raise ValueError("has administrators, and no rules: what they manage comes with those")
