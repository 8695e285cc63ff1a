"""The token server: gives tokens to clients that got a challenge.

    GET  ?service=&scope=&offline_token=     with Basic credentials, or anonymous
    POST grant_type=password|refresh_token   the OAuth2 form of the same

A token grants the requested actions that the rules allow; a request never fails because it asks
for more. (Docker's "Token Authentication Specification" and "OAuth2".)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import Scope as HttpScope

from registry_server.access.challenges import quoted
from registry_server.access.interfaces import (
    ANONYMOUS,
    Action,
    Actor,
    Grants,
    Policy,
    PolicySource,
)
from registry_server.access.login import Login
from registry_server.access.refusals import (
    NO_STORE,
    LoginRefused,
    TokenInvalid,
    TokenRequestInvalid,
    TokenRequestTooLarge,
)
from registry_server.access.tokens.bearer import IssuedToken, TokenIssuer
from registry_server.access.tokens.refresh import RefreshTokens
from registry_server.access.tokens.scopes import Scope, ScopeInvalid, parse_scopes, scopes_of
from registry_server.access.tokens.signing_keys import jwks
from registry_server.access.users.basic import has_controls, parse_basic
from registry_server.http.clients import client_address, limit_key
from registry_server.http.context import Authentication, context_of
from registry_server.http.disconnects import while_connected
from registry_server.http.origins import is_from_page
from registry_server.http.response import Response
from storage.concurrency.cancellation import to_completion
from storage.concurrency.fairness import FairSemaphore
from storage.errors import NameInvalid
from storage.values.names import RepositoryName

T = TypeVar("T")

_LONGEST = 64 << 10  # bytes, of a query or a form
_MOST_FIELDS = 600  # a field for each scope, and some more
# Clients ask for one to three scopes, or a few dozen if images share layers. At most
# `_CONCURRENT_LARGE` requests with more than `_FEW` scopes are decided concurrently.
_FEW = 16
_CONCURRENT_LARGE = 2
_FORM = "application/x-www-form-urlencoded"
_PUBLIC = {"Cache-Control": "public, max-age=300"}


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of a query or a form."""

    fields: Sequence[tuple[str, str]]

    @staticmethod
    def parse(content: bytes) -> _Form:
        if len(content) > _LONGEST:
            raise TokenRequestTooLarge(_LONGEST)
        try:
            fields = parse_qsl(content.decode("ascii"), True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise TokenRequestInvalid(
                f"the request is not a form in ASCII with at most {_MOST_FIELDS} fields"
            ) from None
        return _Form(fields)

    def get(self, name: str) -> str:
        """Return the first value of a field, or ""."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for key, value in self.fields if key == name]


def grants_for(actor: Actor, scopes: Sequence[Scope], policy: Policy) -> Grants:
    """Return the part of `scopes` that the rules allow `actor`.

    Clients have no word for moving a tag, so a granted PUSH includes OVERWRITE if the rules allow
    it.
    """
    repositories: dict[str, frozenset[Action]] = {}
    for scope in scopes:
        name = _repository(scope)
        if name is not None:
            allowed = _allowed(actor, scope.known_actions(), name, policy)
            repositories[name.text] = repositories.get(name.text, frozenset()) | allowed
    catalog = any(scope.is_catalog for scope in scopes) and policy.decide_catalog(actor).allowed
    administers = any(scope.is_administration for scope in scopes)
    return Grants(
        {name: actions for name, actions in repositories.items() if actions},
        catalog,
        administers and policy.decide_administration(actor).allowed,
    )


def _repository(scope: Scope) -> RepositoryName | None:
    if not scope.is_repository:
        return None
    try:
        return RepositoryName.parse(scope.name)
    except NameInvalid:
        return None


def _allowed(
    actor: Actor, wanted: frozenset[Action], name: RepositoryName, policy: Policy
) -> frozenset[Action]:
    def is_allowed(action: Action) -> bool:
        return policy.decide(actor, action, name).allowed

    allowed = frozenset(filter(is_allowed, wanted))
    if Action.PUSH in allowed and is_allowed(Action.OVERWRITE):
        return allowed | {Action.OVERWRITE}
    return allowed


class TokenServer:
    """Gives tokens to users, robot accounts and anonymous clients."""

    def __init__(
        self,
        issuer: TokenIssuer,
        refresh: RefreshTokens,
        login: Login,
        policy: PolicySource,
        service: str,
        address: Callable[[HttpScope], str] = client_address,
    ) -> None:
        """Issue tokens for `service`; `address` distinguishes anonymous clients."""
        self._issuer = issuer
        self._refresh = refresh
        self._login = login
        self._policy = policy
        self._service = service
        self._address = address
        self._large = FairSemaphore(_CONCURRENT_LARGE)

    async def get(self, request: Request) -> Response:
        """Answer the `GET` form: 200 with a token, 400, or 401 for invalid credentials."""
        return _secret(await self._get(request))

    async def post(self, request: Request) -> Response:
        """Answer the OAuth2 form: 200 with a token, 400, 401 or 413."""
        return _secret(await self._post(request))

    async def options(self, request: Request) -> Response:
        """Answer OPTIONS, for preflights of web pages; `http.cors` adds its headers elsewhere."""
        return Response(headers={"Allow": "GET, HEAD, POST"})

    async def jwks(self, request: Request) -> Response:
        """Return the public key that verifies tokens (RFC 7517, section 5)."""
        body = json.dumps(jwks([self._issuer.key.public])).encode()
        return Response(body, 200, _PUBLIC, media_type="application/json")

    async def _get(self, request: Request) -> dict[str, object]:
        form = _Form.parse(request.scope["query_string"])
        self._check_service(form)
        scopes = _scopes(form, with_administration=not is_from_page(request.scope))
        actor = await self._authenticated(request)
        if not actor.is_anonymous:
            _logged_in(request, actor)
        issued, _ = await self._issue(request, actor, scopes)
        wants_refresh = form.get("offline_token").lower() in ("true", "1")
        return {
            "token": issued.text,
            **_common(issued),
            **(await self._refresh_token(request, actor) if wants_refresh else {}),
        }

    async def _post(self, request: Request) -> dict[str, object]:
        form = _Form.parse(await _body(request))
        self._check_service(form)
        has_password = form.get("grant_type") == "password"
        # Tools keep refresh tokens in files for weeks, so they are limited to images.
        may_administer = has_password and not is_from_page(request.scope)
        scopes = _scopes(form, with_administration=may_administer)
        actor = await self._granted_by(request, form)
        if has_password:
            _logged_in(request, actor)
        issued, granted = await self._issue(request, actor, scopes)
        # A refresh token that could renew itself would never expire, so it takes a password.
        wants_refresh = has_password and form.get("access_type") == "offline"
        return {
            **_common(issued),
            "scope": " ".join(map(str, scopes_of(granted))),
            **(await self._refresh_token(request, actor) if wants_refresh else {}),
        }

    def _check_service(self, form: _Form) -> None:
        if any(service != self._service for service in form.all("service")):
            raise TokenRequestInvalid("this token server issues no tokens for that service")

    async def _authenticated(self, request: Request) -> Actor:
        fields = request.headers.getlist("authorization")
        if not fields:
            return ANONYMOUS
        # A proxy may read another one of several headers.
        credentials = parse_basic(fields[0]) if len(fields) == 1 else None
        if credentials is None:
            raise self._unauthorized(request)
        return await self._logged_in(request, *credentials)

    async def _granted_by(self, request: Request, form: _Form) -> Actor:
        kind = form.get("grant_type")
        if kind == "password":
            return await self._logged_in(request, form.get("username"), form.get("password"))
        if kind == "refresh_token":
            return await self._refreshed(request, form.get("refresh_token"))
        raise TokenRequestInvalid("grant_type must be password or refresh_token")

    async def _logged_in(self, request: Request, name: str, password: str) -> Actor:
        # A form can hold a name that a header cannot.
        if not name or has_controls(name):
            raise self._unauthorized(request)
        actor = await self._login.attempt(request.scope, name, password)
        if actor is None:
            raise self._unauthorized(request)
        return actor

    async def _refreshed(self, request: Request, text: str) -> Actor:
        try:
            actor = Actor(await self._refresh.verify(text))
        except TokenInvalid as error:
            raise self._unauthorized(request, "invalid refresh token", error.outcome) from None
        context_of(request.scope).authentication = "token"
        return actor

    async def _issue(
        self, request: Request, actor: Actor, scopes: Sequence[Scope]
    ) -> tuple[IssuedToken, Grants]:
        signing = partial(self._sign_in_thread, actor, scopes)
        try:
            if len(scopes) <= _FEW:
                return await signing()
            caller = actor.name or limit_key(self._address(request.scope))
            return await while_connected(request.receive, self._in_turn(caller, signing))
        except ValueError as error:
            raise TokenRequestInvalid(str(error)) from None

    async def _in_turn(self, caller: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` when a place is free; each caller has at most one place."""
        async with self._large.of(caller or object()):
            # To completion, so that the place is taken for as long as the thread.
            return await to_completion(work())

    async def _sign_in_thread(
        self, actor: Actor, scopes: Sequence[Scope]
    ) -> tuple[IssuedToken, Grants]:
        # Hundreds of scopes by hundreds of rules, and a signature with a large RSA key, would block
        # the event loop.
        return await asyncio.to_thread(self._sign, actor, scopes, await self._policy())

    def _sign(
        self, actor: Actor, scopes: Sequence[Scope], policy: Policy
    ) -> tuple[IssuedToken, Grants]:
        granted = grants_for(actor, scopes, policy)
        issued = self._issuer.sign(actor.name, granted, self._service, actor.generation)
        return issued, granted

    async def _refresh_token(self, request: Request, actor: Actor) -> Mapping[str, str]:
        """Return the field with a refresh token, which is valid for weeks; web pages get none."""
        if actor.is_anonymous or is_from_page(request.scope):
            return {}
        text = await self._refresh.issue(actor.name)
        return {} if text is None else {"refresh_token": text}

    def _unauthorized(
        self,
        request: Request,
        message: str = "invalid username or password",
        outcome: Authentication = "failed",
    ) -> LoginRefused:
        context_of(request.scope).authentication = outcome
        # The message must not reveal whether the name or the password is wrong.
        return LoginRefused(message, f'Basic realm={quoted(self._service)}, charset="UTF-8"')


def _scopes(form: _Form, *, with_administration: bool) -> tuple[Scope, ...]:
    """Return the requested scopes, without administration unless `with_administration`.

    Web pages never get it, because a browser may add stored passwords to their requests.
    """
    try:
        scopes = parse_scopes(form.all("scope"))
    except ScopeInvalid as error:
        raise TokenRequestInvalid(str(error)) from None
    return tuple(scope for scope in scopes if with_administration or not scope.is_administration)


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise TokenRequestInvalid(f"the Content-Type must be {_FORM}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            break
    return bytes(body)


def _common(issued: IssuedToken) -> dict[str, object]:
    issued_at = datetime.fromtimestamp(issued.issued_at, UTC)
    return {
        "access_token": issued.text,
        "expires_in": issued.expires_in,
        "issued_at": issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _secret(answer: Mapping[str, object]) -> Response:
    return Response(json.dumps(answer).encode(), 200, NO_STORE, media_type="application/json")


def _logged_in(request: Request, actor: Actor) -> None:
    context = context_of(request.scope)
    context.actor, context.logged_in = actor.name, True
