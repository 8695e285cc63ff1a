"""`access`: the rules that say who may do what with which repositories.

What rules mean together is decided in `registry_server.auth.rules`; here is what each may say. A
rule that could never match what it was written for is refused: if it denies, a typing mistake
would allow access.
"""

import re
from dataclasses import field
from datetime import timedelta
from typing import Annotated, Literal

from registry_server.config.header_text import HeaderText
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import BaseUrl, FilePath, TokenLifetime

EVERYBODY = "*"
_LONGEST = 255

# Nothing that no repository's name could have, and no wildcard that only looks like one.
_PART = re.compile(r"[a-z0-9*?](?:[a-z0-9._*?-]*[a-z0-9*?])?", re.ASCII)

Action = Literal["pull", "push", "overwrite", "delete", "catalog", "*"]


def _glob(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"must be a glob of at most {_LONGEST} characters")
    for part in text.split("/"):
        if part not in ("**", "{user}"):
            _check_part(part)
    return text


def _check_part(part: str) -> None:
    if "**" in part:
        raise ValueError("must have ** alone between slashes, as in team/**")
    if "{" in part or "}" in part:
        raise ValueError("must have {user} alone between slashes, as in home/{user}/**")
    if _PART.fullmatch(part) is None:
        raise ValueError("must be a glob of names of repositories, such as team/** or library/*")


def _user(text: str) -> str:
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise ValueError("must be a name: printable, without spaces around it, and not empty")
    return text


def _name(text: str) -> str:
    if text == EVERYBODY:
        raise ValueError('must be a name: for everybody who is known, a rule has users: ["*"]')
    return _user(text)


def _groups(groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for group in groups:
        _name(group)
    return groups


def _administrator(text: str) -> str:
    if text == EVERYBODY:
        raise ValueError("must be a name: whoever is known would make keys of any name")
    return _user(text)


Glob = Annotated[str, AfterValidator(_glob)]
User = Annotated[str, AfterValidator(_user)]
Name = Annotated[str, AfterValidator(_name)]
Administrator = Annotated[str, AfterValidator(_administrator)]
Groups = Annotated[dict[str, tuple[Name, ...]], AfterValidator(_groups)]


class Rule(Section):
    """`access.rules[]`: what some callers may, and must not, do with some repositories.

    A key that the file does not have is None. Without `actions` a rule only denies.
    """

    repositories: tuple[Glob, ...] = ("**",)
    users: tuple[User, ...] | None = None
    groups: tuple[Name, ...] | None = None
    anonymous: bool | None = None
    actions: tuple[Action, ...] | None = None
    deny: tuple[Action, ...] | None = None

    # Lists that are written and empty are no mistake: perhaps the last user was just taken out,
    # and to refuse that would leave the rules in force in which they still are.
    def __post_init__(self) -> None:
        if self.users is None and self.groups is None and self.anonymous is None:
            raise ValueError("needs users, groups or anonymous: true")
        if self.actions is None and self.deny is None:
            raise ValueError("needs actions or deny")


class Administrators(Section):
    """`access.administrators`: the only users who may manage the registry by its API.

    There is no way to name everybody here.
    """

    users: tuple[Administrator, ...] = ()
    groups: tuple[Administrator, ...] = ()


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
