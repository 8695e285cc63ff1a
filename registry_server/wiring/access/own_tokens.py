"""Access rules with this registry's own tokens, robot accounts and management API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from starlette.requests import HTTPConnection
from starlette.routing import Route

from registry_server.access.authenticator import HeaderAuthenticator
from registry_server.access.challenges import BearerChallenges
from registry_server.access.controller import RuledAccess
from registry_server.access.interfaces import Actor, PolicySource
from registry_server.access.login import Login
from registry_server.access.robots import RobotKeys, RobotsFile, RobotStore, robots_file
from registry_server.access.tokens.bearer import TokenIssuer, TokenVerifier
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.refresh import RefreshTokens
from registry_server.access.tokens.signing_keys import SigningKey
from registry_server.access.tokens.token_server import TokenServer
from registry_server.access.tokens.verifiers import FixedVerifier
from registry_server.access.users.htpasswd import HtpasswdUsers
from registry_server.api.application import Api
from registry_server.api.robots import ReadOnlyRobots, RobotRoutes, Robots
from registry_server.config import Settings
from registry_server.config.access import IssuedTokens
from registry_server.config.robot_names import is_robots
from registry_server.http.clients import client_address
from registry_server.v2.urls import Urls
from registry_server.wiring.access.policy import policy_source
from registry_server.wiring.access.setup import TOKEN_PATH, AccessSetup
from registry_server.wiring.access.signing_key import existing_key
from registry_server.wiring.access.users import login_limits, users_of

_JWKS_PATH = "/auth/jwks"


def access_by_rules(settings: Settings, urls: Urls, key: SigningKey) -> AccessSetup:
    """Return access control by rules for users, robot accounts, and tokens that `key` signed.

    The files of users, robots and rules are read and watched. Raises OSError or ValueError for an
    unusable file.
    """
    users, rules = users_of(settings), policy_source(settings)
    robots = RobotKeys(RobotsFile(_robots_file(settings)))
    # Robots come first: a user's name costs nothing there, but a robot's name among the users
    # costs as much as checking a password.
    # The header and the token server share the login, so wrong passwords are counted together.
    login = Login([robots, *map(_NoRobots, users)], login_limits(settings))
    challenges = _own_challenges(settings.access.tokens, urls)
    authenticator = HeaderAuthenticator(
        login,
        _own_verifier(settings.access.tokens, key),
        challenges,
        certificates=settings.access.certificates,
        subject_exists=_subject_exists(users, robots),
    )
    access = RuledAccess(authenticator, rules, challenges)
    server = _token_server(settings, key, users, login, rules)
    return AccessSetup(access, _routes(server), _api(settings, access, urls))


class _NoRobots:
    """The users, except those with the name of a robot account, which rules reserve for robots."""

    def __init__(self, users: HtpasswdUsers) -> None:
        self._users = users

    async def verify(self, name: str, password: str) -> Actor | None:
        return None if is_robots(name) else await self._users.verify(name, password)


def check_files(settings: Settings) -> None:
    """Read the robots and the signing key; raise OSError or ValueError for an unusable file."""
    RobotsFile(_robots_file(settings))
    existing_key(settings)


def _robots_file(settings: Settings) -> Path:
    return robots_file(settings.storage.filesystem.rootdirectory)


def _own_challenges(tokens: IssuedTokens, urls: Urls) -> BearerChallenges:
    def realm(connection: HTTPConnection) -> str:
        return tokens.realm or urls.absolute(connection, TOKEN_PATH)

    return BearerChallenges(realm, tokens.service)


def _own_verifier(tokens: IssuedTokens, key: SigningKey) -> FixedVerifier:
    return FixedVerifier(TokenVerifier(Keyring.of([key.public]), tokens.issuer, tokens.service))


def _token_server(
    settings: Settings,
    key: SigningKey,
    users: list[HtpasswdUsers],
    login: Login,
    rules: PolicySource,
) -> TokenServer:
    tokens = settings.access.tokens
    address = partial(client_address, trusted=settings.http.trusted)
    issuer = TokenIssuer(key, tokens.issuer, int(tokens.lifetime.total_seconds()))
    refresh = RefreshTokens(key, tokens.issuer, tokens.service, _generation(users))
    return TokenServer(issuer, refresh, login, rules, tokens.service, address)


def _api(settings: Settings, access: RuledAccess, urls: Urls) -> Api:
    robots: Robots = RobotStore(_robots_file(settings))
    if settings.storage.maintenance.readonly.enabled:
        robots = ReadOnlyRobots(robots)
    endpoints = RobotRoutes(robots, urls).table(access.authorize_administration)
    return Api(endpoints, access.authorize_base, urls.prefix)


def _routes(server: TokenServer) -> tuple[Route, ...]:
    return (
        Route(TOKEN_PATH, server.get, methods=["GET"]),
        Route(TOKEN_PATH, server.post, methods=["POST"]),
        Route(TOKEN_PATH, server.options, methods=["OPTIONS"]),
        Route(_JWKS_PATH, server.jwks, methods=["GET"]),
    )


def _subject_exists(
    users: list[HtpasswdUsers], robots: RobotKeys
) -> Callable[[str, str], Awaitable[bool]]:
    async def subject_exists(name: str, generation: str) -> bool:
        if is_robots(name):
            return await robots.exists(name, generation)
        # A user who has only a certificate gets no token, because that takes a password.
        return any([await source.has(name) for source in users])

    return subject_exists


def _generation(users: list[HtpasswdUsers]) -> Callable[[str], Awaitable[str | None]]:
    async def generation(name: str) -> str | None:
        return await users[0].generation(name) if users else None

    return generation
