"""Warnings about a registry that is open to other machines, or receives passwords without TLS.

These are warnings because registry:2 starts with such settings. With `auth: none` the operator
states that the registry is open, so that is no warning.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from registry_server.config.listen_address import ListenAddress
from registry_server.config.problems import Origins, Problem, listed
from registry_server.config.schema import Settings

_ADDR = ("http", "addr")

_OPEN = (
    "is not on loopback, and every client may {}: configure auth or access, listen on 127.0.0.1, "
    "or set auth to none if that is intended"
)
_READABLE = (
    "is not on loopback, and clients send passwords there without TLS: configure http.tls, listen "
    "on 127.0.0.1 behind a proxy that ends TLS, or name a proxy on another machine in "
    "http.trustedproxies"
)
_CLEAR = "begins with http://, and clients send passwords there for tokens: use an https:// URL"


def exposure(settings: Settings, origins: Origins) -> Iterator[Problem]:
    """Yield the warnings, which only the server and `check` show."""
    address = settings.http.listen_address
    if not address.is_loopback and address.path is None:
        if _is_open(settings):
            yield origins.located(_ADDR, _OPEN.format(_actions(settings)))
            return
        if _takes_passwords(settings) and not _may_be_encrypted(settings):
            yield origins.located(_ADDR, _READABLE)
            return
    yield from _sent_in_clear(settings, origins)


def unknown_realm(settings: Settings, origins: Origins) -> Iterator[Problem]:
    """Yield an error for a unix socket if no setting gives the URL for tokens.

    Only a proxy connects to a unix socket, so a request does not show the URL that clients use. A
    reload checks this again for the socket that stays open.
    """
    http, access = settings.http, settings.access
    is_known = http.host or access.tokens.realm or "unix" in http.trustedproxies
    if http.net == "unix" and settings.gives_tokens and not is_known:
        yield origins.located(
            ("http", "net"),
            "is unix, and clients would be sent to http:// for tokens, with their passwords: set "
            "http.host to the URL that they use, such as https://registry.example.com, or "
            "access.tokens.realm, or http.trustedproxies: [unix] if the proxy sets "
            "X-Forwarded-Proto and X-Forwarded-Host",
        )


def _takes_passwords(settings: Settings) -> bool:
    return settings.has_access_control and settings.auth.token is None


def _may_be_encrypted(settings: Settings) -> bool:
    """Return whether TLS ends here or at a proxy on another machine.

    A proxy on this machine does not count: the registry could then listen on loopback.
    """
    proxies = settings.http.trusted
    is_behind = any(isinstance(proxy, str) or not proxy.is_loopback for proxy in proxies)
    return settings.http.tls.certificate is not None or is_behind


def _sent_in_clear(settings: Settings, origins: Origins) -> Iterator[Problem]:
    """Yield a warning if the URL for tokens is http:// and not on this machine."""
    realm = _realm(settings)
    if realm is None:
        return
    path, url = realm
    parts = urlsplit(url)
    if parts.scheme == "http" and not ListenAddress(parts.hostname or "").is_loopback:
        yield origins.located(path, _CLEAR)


def _realm(settings: Settings) -> tuple[tuple[str, ...], str] | None:
    """Return the key and the value of the URL for tokens; None if it is derived from requests."""
    http, tokens = settings.http, settings.access.tokens
    if settings.auth.token is not None:
        is_fixed = not settings.auth.token.autoredirect
        return (("auth", "token", "realm"), settings.auth.token.realm) if is_fixed else None
    if not settings.gives_tokens:
        return None
    if tokens.realm:
        return ("access", "tokens", "realm"), tokens.realm
    return (("http", "host"), http.host) if http.host else None


def _is_open(settings: Settings) -> bool:
    """Return whether every client has full access without `auth: none` in the configuration."""
    is_closed = settings.has_access_control or settings.http.tls.admits_by_certificate
    return not is_closed and settings.auth.none is None


def _actions(settings: Settings) -> str:
    storage = settings.storage
    if storage.maintenance.readonly.enabled:
        return "pull"
    return listed(["pull", "push", *(["delete"] if storage.delete.enabled else [])])
