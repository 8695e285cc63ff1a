"""The token server: where a client that was sent away with a challenge gets its token.

    GET  ?service=&scope=&offline_token=     Basic credentials, or nobody's
    POST grant_type=password|refresh_token   the OAuth2 form of the same

What a token grants is what was asked for and the rules allow, action by action: a request never
fails because it asks for too much. (Docker's "Token Authentication Specification" and "OAuth2".)
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

from registry_server import envelope
from registry_server.answers import Response
from registry_server.audit import notes_of
from registry_server.auth.access import ANONYMOUS, Action, Actor, Grants, Policy, PolicyInForce
from registry_server.auth.basic import has_controls, parse_basic
from registry_server.auth.challenges import quoted
from registry_server.auth.keys import jwks
from registry_server.auth.login import Login
from registry_server.auth.problems import TokenInvalid
from registry_server.auth.refresh import RefreshTokens
from registry_server.auth.scopes import Scope, ScopeInvalid, parse_scopes, scopes_of
from registry_server.auth.tokens import Issued, TokenIssuer
from registry_server.clients import client_address, counted_as
from registry_server.pages import is_from_page
from registry_server.presence import while_connected
from storage.concurrency import to_completion
from storage.errors import NameInvalid
from storage.fairness import FairSemaphore
from storage.names import RepositoryName

T = TypeVar("T")

_LONGEST = 64 << 10  # bytes, of a query or a form
_MOST_FIELDS = 600  # a field for each scope, and some more
# Clients ask for one scope to three, and for a few dozen where images share layers. A request for
# more than `_FEW` is decided about in one of `_AT_ONCE` places.
_FEW = 16
_AT_ONCE = 2
_FORM = "application/x-www-form-urlencoded"
_SECRET = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PUBLIC = {"Cache-Control": "public, max-age=300"}


class _Refused(Exception):
    """The request can't be answered with a token."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _unusable(message: str) -> _Refused:
    return _Refused(400, "UNSUPPORTED", message)


def _unauthorized() -> _Refused:
    # One text for every reason: which part was wrong is nobody's business.
    return _Refused(401, "UNAUTHORIZED", "the credentials are not accepted")


@dataclass(frozen=True, slots=True)
class _Form:
    """The fields of a query or a form; of one that is repeated, the first counts."""

    fields: Sequence[tuple[str, str]]

    @staticmethod
    def parse(content: bytes) -> _Form:
        if len(content) > _LONGEST:
            raise _Refused(413, "SIZE_INVALID", f"a query or a form has at most {_LONGEST} bytes")
        try:
            fields = parse_qsl(content.decode("ascii"), True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            limit = f"it has at most {_MOST_FIELDS} fields"
            raise _unusable(f"what is sent is no form: {limit}, and is ASCII") from None
        return _Form(fields)

    def get(self, name: str) -> str:
        """Return a field, or nothing."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Return a field as often as it is there."""
        return [value for key, value in self.fields if key == name]


def grants_for(actor: Actor, scopes: Sequence[Scope], policy: Policy) -> Grants:
    """Return what of `scopes` the rules allow `actor`, and nothing else.

    Clients have no word for moving a tag: who asks to push, and may, is granted it as well if the
    rules allow that.
    """
    repositories: dict[str, frozenset[Action]] = {}
    for scope in scopes:
        name = _repository(scope)
        if name is not None:
            allowed = _allowed(actor, scope.wanted(), name, policy)
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
    def holds(action: Action) -> bool:
        return policy.decide(actor, action, name).allowed

    allowed = frozenset(filter(holds, wanted))
    if Action.PUSH in allowed and holds(Action.OVERWRITE):
        return allowed | {Action.OVERWRITE}
    return allowed


class TokenServer:
    """Gives tokens to people and robots, and to nobody for what everybody may do."""

    def __init__(
        self,
        issuer: TokenIssuer,
        refresh: RefreshTokens,
        login: Login,
        policy: PolicyInForce,
        service: str,
        address: Callable[[HttpScope], str] = client_address,
    ) -> None:
        """Serve tokens for `service`; `address` tells clients apart that show no name."""
        self._issuer = issuer
        self._refresh = refresh
        self._login = login
        self._policy = policy
        self._service = service
        self._address = address
        self._many = FairSemaphore(_AT_ONCE)

    async def get(self, request: Request) -> Response:
        """Answer the `GET` form: 200 with a token, 400, or 401 for credentials that don't hold."""
        try:
            return _secret(await self._get(request))
        except _Refused as refusal:
            return self._refusal(refusal)

    async def post(self, request: Request) -> Response:
        """Answer the OAuth2 form: 200 with a token, 400, 401 or 413."""
        try:
            return _secret(await self._post(request))
        except _Refused as refusal:
            return self._refusal(refusal)

    async def options(self, request: Request) -> Response:
        """Answer OPTIONS, for preflights of web pages; configured headers are added elsewhere."""
        return Response(headers={"Allow": "GET, HEAD, POST"})

    async def jwks(self, request: Request) -> Response:
        """Return the public keys that tokens are verified with (RFC 7517, section 5)."""
        body = json.dumps(jwks([self._issuer.key.public])).encode()
        return Response(body, 200, _PUBLIC, media_type="application/json")

    async def _get(self, request: Request) -> dict[str, object]:
        form = _Form.parse(request.scope["query_string"])
        self._check_service(form)
        scopes = _scopes(form, with_administration=not is_from_page(request.scope))
        actor = await self._who(request)
        if not actor.is_anonymous:
            notes_of(request.scope).welcomed(actor)
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
        shows_password = form.get("grant_type") == "password"
        # A refresh token is kept for weeks, in files and by tools: it is good for images alone.
        may_administer = shows_password and not is_from_page(request.scope)
        scopes = _scopes(form, with_administration=may_administer)
        actor = await self._granted_by(request, form)
        if shows_password:
            notes_of(request.scope).welcomed(actor)
        issued, granted = await self._issue(request, actor, scopes)
        # A token that refreshes itself would never end: it is only had for a password.
        wants_refresh = shows_password and form.get("access_type") == "offline"
        return {
            **_common(issued),
            "scope": " ".join(map(str, scopes_of(granted))),
            **(await self._refresh_token(request, actor) if wants_refresh else {}),
        }

    def _check_service(self, form: _Form) -> None:
        if any(service != self._service for service in form.all("service")):
            raise _unusable("there are no tokens for that service here")

    async def _who(self, request: Request) -> Actor:
        fields = request.headers.getlist("authorization")
        if not fields:
            return ANONYMOUS
        # Of several a proxy may look at another one than we do.
        shown = parse_basic(fields[0]) if len(fields) == 1 else None
        if shown is None:
            raise _unauthorized()
        return await self._logged_in(request, *shown)

    async def _granted_by(self, request: Request, form: _Form) -> Actor:
        kind = form.get("grant_type")
        if kind == "password":
            return await self._logged_in(request, form.get("username"), form.get("password"))
        if kind == "refresh_token":
            return await self._refreshed(form.get("refresh_token"))
        raise _unusable("grant_type is password or refresh_token")

    async def _logged_in(self, request: Request, name: str, password: str) -> Actor:
        # A form can hold a name that a header cannot.
        if not name or has_controls(name):
            raise _unauthorized()
        actor = await self._login.attempt(request.scope, name, password)
        if actor is None:
            raise _unauthorized()
        return actor

    async def _refreshed(self, text: str) -> Actor:
        try:
            return Actor(await self._refresh.verify(text))
        except TokenInvalid:
            raise _unauthorized() from None

    async def _issue(
        self, request: Request, actor: Actor, scopes: Sequence[Scope]
    ) -> tuple[Issued, Grants]:
        signing = partial(self._sign_in_thread, actor, scopes)
        try:
            if len(scopes) <= _FEW:
                return await signing()
            caller = actor.name or counted_as(self._address(request.scope))
            return await while_connected(request.receive, self._in_turn(caller, signing))
        except ValueError as error:
            raise _unusable(str(error)) from None

    async def _in_turn(self, caller: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` in one of the places, of which a caller has one."""
        async with self._many.of(caller or object()):
            # To its end, so that the place is taken for as long as the thread is.
            return await to_completion(work())

    async def _sign_in_thread(self, actor: Actor, scopes: Sequence[Scope]) -> tuple[Issued, Grants]:
        # Hundreds of scopes by hundreds of rules, and a signature with a large RSA key, would keep
        # other requests waiting.
        return await asyncio.to_thread(self._sign, actor, scopes, await self._policy())

    def _sign(self, actor: Actor, scopes: Sequence[Scope], policy: Policy) -> tuple[Issued, Grants]:
        granted = grants_for(actor, scopes, policy)
        issued = self._issuer.sign(actor.name, granted, self._service, actor.generation)
        return issued, granted

    async def _refresh_token(self, request: Request, actor: Actor) -> Mapping[str, str]:
        """Return the field with a refresh token; a web page gets none: it lasts for weeks."""
        if actor.is_anonymous or is_from_page(request.scope):
            return {}
        text = await self._refresh.issue(actor.name)
        return {} if text is None else {"refresh_token": text}

    def _refusal(self, refusal: _Refused) -> Response:
        headers = dict(_SECRET)
        if refusal.status == 401:
            realm = quoted(self._service)
            headers["WWW-Authenticate"] = f'Basic realm={realm}, charset="UTF-8"'
        body = envelope.body([envelope.entry(refusal.code, str(refusal))])
        return Response(body, refusal.status, headers, media_type=envelope.MEDIA_TYPE)


def _scopes(form: _Form, *, with_administration: bool) -> tuple[Scope, ...]:
    """Return what a token is asked for, perhaps without the administration of the registry.

    No web page may have that, whatever passwords its visitor's browser keeps.
    """
    try:
        scopes = parse_scopes(form.all("scope"))
    except ScopeInvalid as error:
        raise _unusable(str(error)) from None
    return tuple(each for each in scopes if with_administration or not each.is_administration)


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _unusable(f"a form is {_FORM}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            break
    return bytes(body)


def _common(issued: Issued) -> dict[str, object]:
    since = datetime.fromtimestamp(issued.issued_at, UTC)
    return {
        "access_token": issued.text,
        "expires_in": issued.expires_in,
        "issued_at": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _secret(answer: Mapping[str, object]) -> Response:
    return Response(json.dumps(answer).encode(), 200, _SECRET, media_type="application/json")
