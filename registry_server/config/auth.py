"""`auth`: how callers authenticate, in distribution's schema. `access` says what they may do."""

from typing import Annotated
from urllib.parse import quote

from registry_server.config.header_text import HeaderText
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import FilePath


def _token_path(value: str) -> str:
    return quote(f"/{value.lstrip('/')}") if value else value


TokenPath = Annotated[str, AfterValidator(_token_path)]


class NoAuth(Section):
    """`auth: none`: no authentication, as without `auth`."""


class SillyAuth(Section):
    """`auth.silly`: accepts any credentials."""

    realm: str = ""
    service: str = ""


class TokenAuth(Section):
    """`auth.token`: tokens of an external issuer, and the keys that verify them.

    `autoredirectpath` is empty, or begins with a slash and is percent-encoded.
    """

    realm: HeaderText = ""
    service: HeaderText = ""
    issuer: HeaderText = ""
    rootcertbundle: FilePath | None = None
    jwks: FilePath | None = None
    signingalgorithms: tuple[str, ...] = ()
    autoredirect: bool = False
    autoredirectpath: TokenPath = ""


class HtpasswdAuth(Section):
    """`auth.htpasswd`: users and passwords in a file, which is reloaded when it changes."""

    realm: HeaderText = ""
    path: FilePath | None = None


class Auth(Section):
    """`auth`: at most one way to authenticate."""

    none: NoAuth | None = None
    silly: SillyAuth | None = None
    token: TokenAuth | None = None
    htpasswd: HtpasswdAuth | None = None
