"""`auth`: who the callers are, in distribution's schema; what they may do is `access`."""

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
    """`auth: none`: the same as no `auth` at all."""


class SillyAuth(Section):
    """`auth.silly`: accepts any credentials."""

    realm: str = ""
    service: str = ""


class TokenAuth(Section):
    """`auth.token`: tokens from an issuer elsewhere, and what they are verified with.

    `autoredirectpath` begins with a slash and has its escapes, or is empty.
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
    """`auth.htpasswd`: users and passwords from a file, which is watched."""

    realm: HeaderText = ""
    path: FilePath | None = None


class Auth(Section):
    """`auth`: who may use the registry."""

    none: NoAuth | None = None
    silly: SillyAuth | None = None
    token: TokenAuth | None = None
    htpasswd: HtpasswdAuth | None = None
