"""Errors and warnings about keys that are not implemented, and about keys that conflict.

A key that is not implemented is a warning. It is an error if the registry would serve other images
than intended, or serve them without the intended protection.
"""

from collections.abc import Iterator

from registry_server.config import in_memory, key_tree
from registry_server.config.auth import Auth
from registry_server.config.document import DRIVERS, STORAGE, Document, Value
from registry_server.config.document_shape import Leaf
from registry_server.config.exposure import unknown_realm
from registry_server.config.problems import Problem, listed
from registry_server.config.rule_checks import unmatched_entries
from registry_server.config.schema import Settings
from registry_server.config.units import is_bare

_OPEN = "is not implemented, because it accepts any credentials: use auth.htpasswd or auth: none"
_DRIVER = "is not implemented yet: copy the images to a folder and use storage.filesystem"

REFUSED = {
    "auth.silly": _OPEN,
    "proxy.remoteurl": (
        "is not implemented yet: remove proxy to start a registry that is not a cache and "
        "accepts pushes"
    ),
    "storage.azure": _DRIVER,
    "storage.gcs": _DRIVER,
    "storage.oss": _DRIVER,
    "storage.s3": _DRIVER,
    "storage.s3aws": _DRIVER,
    "storage.swift": _DRIVER,
    "http.tls.letsencrypt": (
        "is not implemented: set http.tls.certificate and http.tls.key to files of a certificate"
    ),
}

_NOT_YET = "is not implemented yet and has no effect"

WARNED = {
    "log.hooks": f"{_NOT_YET}: no mail is sent",
    "http.debug": f"{_NOT_YET}: no server listens there",
    "http.h2c": "has no effect: the registry serves HTTP/1.1",
    "notifications": f"{_NOT_YET}: no endpoint is notified",
    "redis": "has no effect: facts about blobs are cached in memory",
    "health": f"{_NOT_YET}: these checks do not run",
    "middleware": "has no effect: the registry has no such middleware",
    "policy": f"{_NOT_YET}",
    "reporting": "has no effect: nothing is reported to other services",
    "compatibility": f"{_NOT_YET}: schema 1 manifests are not accepted",
}

# Keys without a warning. Distribution's own files enable the health check of the storage; here
# each request shows whether the storage works.
_SILENT = frozenset({"health.storagedriver", "notifications.events"})


# In these sections a key is a choice, even without a value.
_CHOICES = ("storage", "auth")


def conflicts(document: Document) -> list[Problem]:
    """Return an error for each section with several choices where only one is allowed."""
    drivers = ("filesystem", *sorted(DRIVERS - {"filesystem"}))
    return [*_several(document, STORAGE, drivers), *_several(document, "auth", Auth.field_names())]


def refusals(settings: Settings, document: Document) -> list[Problem]:
    """Return the errors in these settings."""
    problems = [*_set_keys(document, REFUSED)]
    problems.extend(_tls(settings, document))
    problems.extend(_auth(settings, document))
    problems.extend(_certificates(settings, document))
    problems.extend(_rules(settings, document))
    problems.extend(unknown_realm(settings, document))
    problems.extend(in_memory.refusals(settings, document))
    return problems


def warnings(settings: Settings, document: Document) -> list[Problem]:
    """Return the warnings about these settings."""
    return [
        *_set_keys(document, WARNED),
        *_deprecated(settings, document),
        *_empty_auth(settings, document),
        *_unused_administrators(settings, document),
        *_unused_socket_trust(settings, document),
        *_unused_cache(settings, document),
        *_drain_timeout(document),
        *_client_authentication(settings, document),
        *_null_origin(settings, document),
        *in_memory.warnings(settings, document),
    ]


def _set_keys(document: Document, table: dict[str, str]) -> Iterator[Problem]:
    """Yield the entries of `table` whose key is set to more than its default."""
    for key, reason in table.items():
        path = tuple(key.split("."))
        value = document.value(path)
        if value is not None and (path[0] in _CHOICES or _is_set(value, path)):
            yield document.located(path, reason)


def _is_set(value: Value, path: tuple[str, ...]) -> bool:
    """Return whether a value differs from the default; disabled list items do not count."""
    if isinstance(value, dict):
        below = (((*path, name), child) for name, child in value.items())
        return any(_is_set(child, key) for key, child in below if ".".join(key) not in _SILENT)
    if isinstance(value, list):
        return any(
            not (isinstance(item, dict) and item.get("disabled") == "true") for item in value
        )
    shape = key_tree.at(path)
    kind = shape.kind if isinstance(shape, Leaf) else None
    return value not in (None, "", "false" if kind is bool else "0" if kind is int else None)


def _several(document: Document, section: str, choices: tuple[str, ...]) -> Iterator[Problem]:
    data = document.data.get(section) if isinstance(document.data, dict) else None
    named = [choice for choice in choices if isinstance(data, dict) and choice in data]
    if len(named) > 1:
        yield document.located((section,), f"has {listed(named)}: exactly one is allowed")


def _tls(settings: Settings, document: Document) -> Iterator[Problem]:
    tls, path = settings.http.tls, ("http", "tls")
    if tls.certificate is None and tls.key is not None:
        yield document.located((*path, "key"), "needs http.tls.certificate too")
    if tls.key is None and tls.certificate is not None:
        yield document.located((*path, "certificate"), "needs http.tls.key too")
    if tls.clientcas and tls.certificate is None:
        yield document.located((*path, "clientcas"), "needs http.tls.certificate and http.tls.key")
    if tls.clientcas and tls.clientauth == "require-any-client-cert":
        yield document.located(
            (*path, "clientauth"),
            "cannot be require-any-client-cert, which skips verification: use "
            "require-and-verify-client-cert",
        )


def _auth(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield the keys that a way to authenticate needs: without them no client could log in."""
    token, htpasswd = settings.auth.token, settings.auth.htpasswd
    if htpasswd is not None and htpasswd.path is None:
        yield document.located(("auth", "htpasswd"), "needs path, the file of users")
    if htpasswd is not None and not htpasswd.realm:
        yield document.located(("auth", "htpasswd"), "needs realm, which clients show to users")
    if token is not None:
        for key in ("realm", "service", "issuer"):
            if not getattr(token, key):
                yield document.located(("auth", "token"), f"needs {key}")
        if token.rootcertbundle is None and token.jwks is None:
            yield document.located(("auth", "token"), "needs rootcertbundle or jwks")


def _certificates(settings: Settings, document: Document) -> Iterator[Problem]:
    if settings.access.certificates and not settings.http.tls.clientcas:
        yield document.located(
            ("access", "certificates"), "needs http.tls.clientcas to verify the certificates"
        )


def _rules(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield the entries of access rules that can never match."""
    for path, text in unmatched_entries(settings.access, users_in_file=settings.users_in_file):
        yield document.located(("access", *path), text)


def _deprecated(settings: Settings, document: Document) -> Iterator[Problem]:
    if settings.loglevel is not None:
        yield document.located(("loglevel",), "is deprecated: use log.level")


def _empty_auth(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield a warning for an `auth` without a way to authenticate, which distribution accepts."""
    ways = (settings.auth.none, settings.auth.token, settings.auth.htpasswd)
    is_there = isinstance(document.data, dict) and "auth" in document.data
    if is_there and not any(way is not None for way in ways):
        yield document.located(("auth",), "is empty: clients need no password")


def _unused_administrators(settings: Settings, document: Document) -> Iterator[Problem]:
    named = settings.access.administrators
    if settings.auth.token is not None and (named.users or named.groups):
        path = ("access", "administrators")
        yield document.located(path, "has no effect: with auth.token there are no robots")


def _unused_socket_trust(settings: Settings, document: Document) -> Iterator[Problem]:
    if settings.http.net != "unix" and "unix" in settings.http.trustedproxies:
        path = ("http", "trustedproxies", settings.http.trustedproxies.index("unix"))
        yield document.located(path, "unix has no effect: http.net is not unix")


def _unused_cache(settings: Settings, document: Document) -> Iterator[Problem]:
    cache = settings.storage.cache
    for name, value in (("blobdescriptor", cache.blobdescriptor), ("layerinfo", cache.layerinfo)):
        if value not in ("", "inmemory"):
            path = ("storage", "cache", name)
            yield document.located(path, "has no effect: facts about blobs are cached in memory")


def _drain_timeout(document: Document) -> Iterator[Problem]:
    """Yield a warning for a drain timeout of 60: as in Go, that is 60 nanoseconds."""
    path = ("http", "draintimeout")
    text = document.value(path)
    if isinstance(text, str) and is_bare(text) and text.strip("+-0.") != "":
        yield document.located(path, "has no unit and counts nanoseconds: write 60s for seconds")
    elif isinstance(text, str) and text.startswith("-"):
        yield document.located(path, "is negative and counts as 0: requests are cut immediately")


def _client_authentication(settings: Settings, document: Document) -> Iterator[Problem]:
    tls = settings.http.tls
    if tls.clientcas and tls.clientauth == "request-client-cert":
        path = ("http", "tls", "clientauth")
        yield document.located(
            path,
            "counts as verify-client-cert-if-given: a certificate that a client sends is verified",
        )


def _null_origin(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield a warning for the origin `null`, which any page can have in a sandboxed frame."""
    for name, values in settings.http.headers.items():
        if name.lower() == "access-control-allow-origin" and "null" in values:
            yield document.located(
                ("http", "headers", name),
                "is null, an origin that any web page can have: list the origins of your pages",
            )
