"""Tokens of another issuer: `auth.token`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import HTTPConnection

from registry_server.access.authenticator import HeaderAuthenticator
from registry_server.access.challenges import BearerChallenges
from registry_server.access.controller import RuledAccess
from registry_server.access.interfaces import Action, Actor, Policy
from registry_server.access.login import Login
from registry_server.access.tokens.bearer import ALGORITHMS, TokenVerifier
from registry_server.access.tokens.keyring import Keyring, parse_certificates, parse_jwks
from registry_server.access.tokens.verifiers import ReloadingVerifier
from registry_server.config import Settings
from registry_server.config.auth import TokenAuth
from registry_server.files.watched_file import WatchedFile
from registry_server.http.context import Decision
from registry_server.v2.urls import Urls
from registry_server.wiring.access.policy import policy_source
from registry_server.wiring.access.setup import TOKEN_PATH, AccessSetup
from storage.values.names import RepositoryName

_NO_TOKEN = Decision(False, "the request has no token")


def access_by_foreign_tokens(settings: Settings, token: TokenAuth, urls: Urls) -> AccessSetup:
    """Return access control for tokens of another issuer.

    With rules, a client may do what the token and the rules both grant, and nothing without a
    token. The files of keys and rules are read and watched. Raises OSError or ValueError for an
    unusable file.
    """
    challenges = BearerChallenges(_realm(token, urls), token.service)
    authenticator = HeaderAuthenticator(Login(()), verifiers(token), challenges)
    rules = policy_source(settings)

    async def for_bearers() -> Policy:
        return _ForBearers(await rules())

    return AccessSetup(RuledAccess(authenticator, for_bearers, challenges))


class _ForBearers:
    """The rules for clients with a token; without a token, everything is refused."""

    def __init__(self, rules: Policy) -> None:
        self._rules = rules

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        return _NO_TOKEN if actor.grants is None else self._rules.decide(actor, action, name)

    def decide_catalog(self, actor: Actor) -> Decision:
        return _NO_TOKEN if actor.grants is None else self._rules.decide_catalog(actor)

    def decide_administration(self, actor: Actor) -> Decision:
        return _NO_TOKEN if actor.grants is None else self._rules.decide_administration(actor)


def verifiers(token: TokenAuth) -> ReloadingVerifier:
    """Return the source of the verifier for the configured keys, and watch their files.

    Raises OSError or ValueError for an unusable file.
    """
    files = [
        *([WatchedFile(token.jwks, _keys_of_jwks)] if token.jwks else ()),
        *([WatchedFile(token.rootcertbundle, _keys_of_bundle)] if token.rootcertbundle else ()),
    ]
    make = partial(
        TokenVerifier,
        issuer=token.issuer,
        service=token.service,
        algorithms=token.signingalgorithms or ALGORITHMS,
        push_overwrites=True,
    )
    return ReloadingVerifier(files, make)


def _realm(token: TokenAuth, urls: Urls) -> Callable[[HTTPConnection], str]:
    """Return a function for the token server's URL, on the request's host with `autoredirect`."""
    if not token.autoredirect:
        return lambda _: token.realm
    path = token.autoredirectpath or TOKEN_PATH
    return lambda connection: urls.secure(connection, path)


def _keys_of_jwks(content: bytes) -> Keyring:
    return Keyring.of(parse_jwks(content))


def _keys_of_bundle(pem: bytes) -> Keyring:
    return Keyring.of(roots=parse_certificates(pem))
