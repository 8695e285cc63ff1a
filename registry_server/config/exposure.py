"""Warnings about a listener that other machines reach: without access control, or without TLS.

They are no errors, because registry:2 starts so. `auth: none` says that a registry is meant to be
open to all, and then there is no warning about that.
"""

from collections.abc import Iterator

from registry_server.config.document import Document
from registry_server.config.problems import Problem, listed
from registry_server.config.schema import Settings

_ADDR = ("http", "addr")


def exposure(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield the warnings; only a server and `check` show them."""
    endpoint = settings.http.endpoint
    if endpoint.is_loopback or endpoint.path is not None:
        return
    auth, access = settings.auth, settings.access
    takes_passwords = auth.token is None and (auth.htpasswd is not None or access.configured)
    if _is_open(settings):
        yield document.located(
            _ADDR,
            f"is not on loopback, and every client may {_actions(settings)}: configure auth or "
            "access, listen on 127.0.0.1, or set auth to none if that is intended",
        )
    elif takes_passwords and settings.http.tls.certificate is None and not settings.http.believed:
        yield document.located(
            _ADDR,
            "is not on loopback, and clients send passwords there without TLS: configure http.tls, "
            "listen on 127.0.0.1 behind a proxy that ends TLS, or name that proxy in "
            "http.trustedproxies",
        )


def _is_open(settings: Settings) -> bool:
    """Tell whether every client may do everything, although nothing says that this is intended."""
    is_closed = settings.is_guarded or settings.http.tls.admits_by_certificate
    return not is_closed and settings.auth.none is None


def _actions(settings: Settings) -> str:
    storage = settings.storage
    if storage.maintenance.readonly.enabled:
        return "pull"
    return listed(["pull", "push", *(["delete"] if storage.delete.enabled else [])])
