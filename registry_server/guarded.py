"""Access that is configured, assembled; `guard` has the table of what comes of what."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from starlette.requests import HTTPConnection
from starlette.routing import Route

from registry_server.api.application import Api
from registry_server.api.robots import ReadOnlyRobots, RobotEndpoints, Robots
from registry_server.auth import default_user
from registry_server.auth.access import Policy, PolicyInForce
from registry_server.auth.authenticator import HeaderAuthenticator
from registry_server.auth.challenges import BasicChallenges, BearerChallenges
from registry_server.auth.controller import RuledAccess
from registry_server.auth.htpasswd import HtpasswdUsers
from registry_server.auth.htpasswd_file import read_htpasswd, watch_htpasswd
from registry_server.auth.keyring import Keyring, parse_certificates, parse_jwks
from registry_server.auth.keys import (
    SigningKey,
    load_or_create_signing_key,
    load_signing_key,
    temporary_signing_key,
)
from registry_server.auth.known import AnyoneKnown
from registry_server.auth.login import Login
from registry_server.auth.refresh import RefreshTokens
from registry_server.auth.robot_names import is_robots
from registry_server.auth.robots import RobotKeys, RobotsFile, RobotStore, robots_file
from registry_server.auth.rules import parse_rules, policy_of
from registry_server.auth.token_server import TokenServer
from registry_server.auth.tokens import ALGORITHMS, TokenIssuer, TokenVerifier
from registry_server.auth.verifiers import SameVerifier, WatchedVerifier
from registry_server.auth.watched import Watched
from registry_server.clients import client_address
from registry_server.config import Settings
from registry_server.config.access import IssuedTokens
from registry_server.config.auth import TokenAuth
from registry_server.config.in_memory import NO_RULES, lacks_folder
from registry_server.config.problems import Problem
from registry_server.guard import TOKEN_PATH, Guard
from registry_server.limits import LoginLimits
from registry_server.v2.urls import Urls
from storage.errors import reason_of
from storage.paths import ACCESS

# Returns the key that signs tokens.
FindKey: TypeAlias = Callable[[Settings], SigningKey]

_KEY = "token-key.pem"
_JWKS_PATH = "/auth/jwks"


def assemble(settings: Settings, urls: Urls, find_key: FindKey | None = None) -> Guard:
    """Do as `guard.make_guard`, where something is configured.

    `find_key` returns the key that signs tokens; without it a missing one is created.
    """
    if settings.auth.token is not None:
        return _by_tokens(settings, settings.auth.token, urls)
    if settings.access.configured:
        return _by_rules(settings, urls, (find_key or _signing_key)(settings))
    assert settings.auth.htpasswd is not None
    challenges = BasicChallenges(settings.auth.htpasswd.realm)
    login = Login(_users(settings), _limits(settings))
    authenticator = HeaderAuthenticator(login, None, challenges)
    return Guard(RuledAccess(authenticator, _rules(settings), challenges))


def check(settings: Settings) -> tuple[Problem, ...]:
    """Do as `guard.check`."""
    path = _users_file(settings)
    warnings = read_htpasswd(path).warnings(path) if path is not None else ()
    _check_others(settings)
    return warnings


def check_before_start(settings: Settings) -> tuple[Problem, ...]:
    """Do as `guard.check_before_start`."""
    path = _users_file(settings)
    if path is None or path.exists():
        return check(settings)
    default_user.check_folder(path)
    _check_others(settings)
    return (default_user.announcement(path),)


def _check_others(settings: Settings) -> None:
    _rules(settings)
    if settings.auth.token is not None:
        _verifiers(settings.auth.token)
    elif lacks_folder(settings):
        raise ValueError(f"access {NO_RULES}")
    elif settings.access.configured:
        RobotsFile(_robots_file(settings))
        _existing_key(settings)


def prepare(settings: Settings) -> tuple[Problem, ...]:
    """Do as `guard.prepare`; raise for unusable files before any file is created."""
    check_before_start(settings)
    path = _users_file(settings)
    if path is not None:
        default_user.create_if_missing(path)
    warnings = check(settings)
    if settings.access.configured and settings.auth.token is None:
        _signing_key(settings)
    return warnings


def _robots_file(settings: Settings) -> Path:
    return robots_file(settings.storage.filesystem.rootdirectory)


def _users_file(settings: Settings) -> Path | None:
    htpasswd = settings.auth.htpasswd
    return None if htpasswd is None else htpasswd.path


def _users(settings: Settings) -> list[HtpasswdUsers]:
    path = _users_file(settings)
    return [] if path is None else [HtpasswdUsers(watch_htpasswd(path))]


def _limits(settings: Settings) -> LoginLimits:
    logins = settings.limits.logins
    address = partial(client_address, trusted=settings.http.trustedproxies)
    return LoginLimits(logins.failures, logins.window.total_seconds(), address)


def _rules(settings: Settings) -> PolicyInForce:
    access = settings.access
    if access.file is not None:
        return Watched(access.file, parse_rules).now
    policy: Policy = policy_of(access) if access.configured else AnyoneKnown()

    async def same() -> Policy:
        return policy

    return same


def _by_tokens(settings: Settings, token: TokenAuth, urls: Urls) -> Guard:
    challenges = BearerChallenges(_foreign_realm(token, urls), token.service)
    authenticator = HeaderAuthenticator(Login(()), _verifiers(token), challenges)
    return Guard(RuledAccess(authenticator, _rules(settings), challenges))


def _foreign_realm(token: TokenAuth, urls: Urls) -> Callable[[HTTPConnection], str]:
    """Return the URL of the token server: the realm, or with `autoredirect` the host asked for."""
    if not token.autoredirect:
        return lambda _: token.realm
    path = token.autoredirectpath or TOKEN_PATH
    return lambda connection: urls.secure(connection, path)


def _verifiers(token: TokenAuth) -> WatchedVerifier:
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


def _keys_of_jwks(content: bytes) -> Keyring:
    return Keyring.of(parse_jwks(content))


def _keys_of_bundle(pem: bytes) -> Keyring:
    return Keyring.of(roots=parse_certificates(pem))


def _by_rules(settings: Settings, urls: Urls, key: SigningKey) -> Guard:
    users, rules = _users(settings), _rules(settings)
    robots = RobotKeys(RobotsFile(_robots_file(settings)))
    # Robots first: another's name costs them nothing, and a robot's costs users a whole check.
    # One for header and token server, so wrong passwords are counted together.
    login = Login([robots, *users], _limits(settings))
    challenges = _own_challenges(settings.access.tokens, urls)
    authenticator = HeaderAuthenticator(
        login,
        _own_verifier(settings.access.tokens, key),
        challenges,
        certificates=settings.access.certificates,
        is_known=_is_known(users, robots, certificates=settings.access.certificates),
    )
    access = RuledAccess(authenticator, rules, challenges)
    server = _token_server(settings.access.tokens, key, users, login, rules)
    return Guard(access, _routes(server), _api(settings, access, urls))


def _own_challenges(tokens: IssuedTokens, urls: Urls) -> BearerChallenges:
    def realm(connection: HTTPConnection) -> str:
        return tokens.realm or urls.absolute(connection, TOKEN_PATH)

    return BearerChallenges(realm, tokens.service)


def _own_verifier(tokens: IssuedTokens, key: SigningKey) -> SameVerifier:
    return SameVerifier(TokenVerifier(Keyring.of([key.public]), tokens.issuer, tokens.service))


def _token_server(
    tokens: IssuedTokens,
    key: SigningKey,
    users: list[HtpasswdUsers],
    login: Login,
    rules: PolicyInForce,
) -> TokenServer:
    issuer = TokenIssuer(key, tokens.issuer, int(tokens.lifetime.total_seconds()))
    refresh = RefreshTokens(key, tokens.issuer, tokens.service, _generation(users))
    return TokenServer(issuer, refresh, login, rules, tokens.service)


def _api(settings: Settings, access: RuledAccess, urls: Urls) -> Api:
    robots: Robots = RobotStore(_robots_file(settings))
    if settings.storage.maintenance.readonly.enabled:
        robots = ReadOnlyRobots(robots)
    endpoints = RobotEndpoints(robots, urls).table(access.authorize_administration)
    return Api(endpoints, access.authorize_base, urls.prefix)


def _routes(server: TokenServer) -> tuple[Route, ...]:
    return (
        Route(TOKEN_PATH, server.get, methods=["GET"]),
        Route(TOKEN_PATH, server.post, methods=["POST"]),
        Route(TOKEN_PATH, server.options, methods=["OPTIONS"]),
        Route(_JWKS_PATH, server.jwks, methods=["GET"]),
    )


def _is_known(
    users: list[HtpasswdUsers], robots: RobotKeys, *, certificates: bool
) -> Callable[[str, str], Awaitable[bool]]:
    async def is_known(name: str, generation: str) -> bool:
        if is_robots(name):
            return await robots.is_known(name, generation)
        # A user with a certificate need not be in the file, and can get a token without it.
        return certificates or any([await each.has(name) for each in users])

    return is_known


def _generation(users: list[HtpasswdUsers]) -> Callable[[str], Awaitable[str | None]]:
    async def generation(name: str) -> str | None:
        return await users[0].generation(name) if users else None

    return generation


def existing_or_temporary_key(settings: Settings) -> SigningKey:
    """Return the key that signs tokens, or a temporary one when it does not exist yet."""
    return _existing_key(settings) or temporary_signing_key()


def _existing_key(settings: Settings) -> SigningKey | None:
    """Read the key that signs tokens; one of ours need not exist yet."""
    configured = settings.access.tokens.key
    if configured is not None:
        return load_signing_key(configured)
    try:
        return load_signing_key(_own_key(settings))
    except FileNotFoundError:
        root = settings.storage.filesystem.rootdirectory
        if root.exists() and not os.access(root, os.W_OK):
            raise _no_key(_own_key(settings), "the volume can't be written") from None
        return None


def _own_key(settings: Settings) -> Path:
    return settings.storage.filesystem.rootdirectory / ACCESS / _KEY


def _signing_key(settings: Settings) -> SigningKey:
    if settings.access.tokens.key is not None:
        return load_signing_key(settings.access.tokens.key)
    path = _own_key(settings)
    if path.exists():
        return load_signing_key(path)
    try:
        if not path.parent.is_dir():
            os.makedirs(path.parent, mode=0o700, exist_ok=True)
        return load_or_create_signing_key(path)
    except OSError as error:
        raise _no_key(path, reason_of(error)) from None


def _no_key(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"rules need a key that signs tokens; {path} does not exist and can't be created "
        f"({reason}): name the file of a key in access.tokens.key"
    )
