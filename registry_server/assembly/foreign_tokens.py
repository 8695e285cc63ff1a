"""Tokens of another issuer: `auth.token`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import HTTPConnection

from registry_server.assembly.policy import policy_in_force
from registry_server.auth.authenticator import HeaderAuthenticator
from registry_server.auth.challenges import BearerChallenges
from registry_server.auth.controller import RuledAccess
from registry_server.auth.keyring import Keyring, parse_certificates, parse_jwks
from registry_server.auth.login import Login
from registry_server.auth.tokens import ALGORITHMS, TokenVerifier
from registry_server.auth.verifiers import WatchedVerifier
from registry_server.auth.watched import Watched
from registry_server.config import Settings
from registry_server.config.auth import TokenAuth
from registry_server.guard import TOKEN_PATH, Guard
from registry_server.v2.urls import Urls


def guard_by_tokens(settings: Settings, token: TokenAuth, urls: Urls) -> Guard:
    """Return a guard that admits clients with a token of the issuer.

    With rules, a client may do only what the token and the rules both grant. Files of keys and of
    rules are read, and watched. Raises OSError or ValueError for one that can't be used.
    """
    challenges = BearerChallenges(_realm(token, urls), token.service)
    authenticator = HeaderAuthenticator(Login(()), verifiers(token), challenges)
    return Guard(RuledAccess(authenticator, policy_in_force(settings), challenges))


def verifiers(token: TokenAuth) -> WatchedVerifier:
    """Return the source of the verifier for the configured keys; their files are read and watched.

    Raises OSError or ValueError for a file that can't be used.
    """
    files = [
        *([Watched(token.jwks, _keys_of_jwks)] if token.jwks else ()),
        *([Watched(token.rootcertbundle, _keys_of_bundle)] if token.rootcertbundle else ()),
    ]
    make = partial(
        TokenVerifier,
        issuer=token.issuer,
        service=token.service,
        algorithms=token.signingalgorithms or ALGORITHMS,
        push_overwrites=True,
    )
    return WatchedVerifier(files, make)


def _realm(token: TokenAuth, urls: Urls) -> Callable[[HTTPConnection], str]:
    """Return what finds the token server's URL; with `autoredirect` it has the request's host."""
    if not token.autoredirect:
        return lambda _: token.realm
    path = token.autoredirectpath or TOKEN_PATH
    return lambda connection: urls.secure(connection, path)


def _keys_of_jwks(content: bytes) -> Keyring:
    return Keyring.of(parse_jwks(content))


def _keys_of_bundle(pem: bytes) -> Keyring:
    return Keyring.of(roots=parse_certificates(pem))
