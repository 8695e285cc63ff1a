"""What happens to keys of distribution's that this registry knows and does not implement.

Mostly a warning. Where overlooking the key would break a promise the file makes (only these
people, only this cipher, that bucket), the registry refuses to start instead.
"""

from collections.abc import Iterator

from registry_server.config.auth import Auth
from registry_server.config.document import Document
from registry_server.config.durations import is_bare
from registry_server.config.problems import listed
from registry_server.config.schema import Settings
from registry_server.config.section import Section

_OPEN = "is not implemented, as it lets in whoever shows anything at all: not starting"
_DRIVER = "is not implemented yet, and another store would not hold your images: not starting"

REFUSED = {
    "auth.silly": _OPEN,
    "proxy.remoteurl": (
        "is not implemented yet, and without it the cache would be an empty registry that "
        "accepts pushes: not starting"
    ),
    "storage.azure": _DRIVER,
    "storage.gcs": _DRIVER,
    "storage.inmemory": _DRIVER,
    "storage.oss": _DRIVER,
    "storage.s3": _DRIVER,
    "storage.s3aws": _DRIVER,
    "storage.swift": _DRIVER,
    "http.tls.letsencrypt": (
        "is not implemented, and without it the registry would not speak TLS: not starting"
    ),
    "http.tls.ciphersuites": (
        "is not implemented yet, and without it ciphers you excluded would be used: not starting"
    ),
}

_NOT_YET = "is not implemented yet and has no effect"

WARNED = {
    "log.hooks": f"{_NOT_YET}: no mail is sent",
    "http.debug": f"{_NOT_YET}: nothing listens there",
    "http.h2c": "has no effect: HTTP/1.1 is what is spoken",
    "notifications": f"{_NOT_YET}: nobody is notified",
    "redis": "has no effect: no cache outside the processes is used",
    "health": f"{_NOT_YET}: nothing is checked",
    "middleware": "has no effect: there is no such code here",
    "policy": f"{_NOT_YET}",
    "reporting": "has no effect: nothing is reported to other services",
    "compatibility": f"{_NOT_YET}: schema 1 manifests are not accepted",
}

DRIVERS = ("filesystem", "azure", "gcs", "inmemory", "oss", "s3", "s3aws", "swift")


def doubts(document: Document) -> list[str]:
    """Sections that choose several of what there can be only one of, a line each."""
    ways = tuple(Auth.model_fields)
    return [*_several(document, "storage", DRIVERS), *_several(document, "auth", ways)]


def refusals(settings: Settings, document: Document) -> list[str]:
    """The reasons not to start with these settings, a line each."""
    problems = [*_changed(settings, document, REFUSED)]
    problems.extend(_tls(settings, document))
    problems.extend(_auth(settings, document))
    problems.extend(_certificates(settings, document))
    return problems


def warnings(settings: Settings, document: Document) -> list[str]:
    """What the operator should know about these settings, a line each."""
    return [
        *_changed(settings, document, WARNED),
        *_deprecated(settings, document),
        *_asks_nobody(settings, document),
        *_manages_nothing(settings, document),
        *_caches(settings, document),
        *_looks_short(document),
        *_verifies_more_than_asked(settings, document),
    ]


def _changed(settings: Settings, document: Document, table: dict[str, str]) -> Iterator[str]:
    """Yield the lines of `table` whose key is set to something else than its default."""
    defaults = Settings()
    for key, reason in table.items():
        path = tuple(key.split("."))
        if _value(settings, path) != _value(defaults, path):
            yield document.located(path, reason)


def _value(section: Section, path: tuple[str, ...]) -> object:
    value: object = section
    for name in path:
        value = getattr(value, name)
    return value


def _several(document: Document, section: str, choices: tuple[str, ...]) -> Iterator[str]:
    data = document.data.get(section) if isinstance(document.data, dict) else None
    named = [choice for choice in choices if isinstance(data, dict) and choice in data]
    if len(named) > 1:
        yield document.located((section,), f"names {listed(named)}: exactly one is allowed")


def _tls(settings: Settings, document: Document) -> Iterator[str]:
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
            "cannot be require-any-client-cert: certificates are verified or not asked for",
        )


def _auth(settings: Settings, document: Document) -> Iterator[str]:
    """Yield what is missing: without it nobody could be told from anybody."""
    token, htpasswd = settings.auth.token, settings.auth.htpasswd
    if htpasswd is not None and htpasswd.path is None:
        yield document.located(("auth", "htpasswd"), "needs path, the file of users")
    if htpasswd is not None and not htpasswd.realm:
        yield document.located(("auth", "htpasswd"), "needs realm, what clients are shown")
    if token is not None:
        for key in ("realm", "service", "issuer"):
            if not getattr(token, key):
                yield document.located(("auth", "token"), f"needs {key}")
        if token.rootcertbundle is None and token.jwks is None:
            yield document.located(("auth", "token"), "needs rootcertbundle or jwks")
        if token.autoredirect:
            yield document.located(
                ("auth", "token", "autoredirect"), "is not implemented: name the realm"
            )


def _certificates(settings: Settings, document: Document) -> Iterator[str]:
    if settings.access.certificates and not settings.http.tls.clientcas:
        yield document.located(
            ("access", "certificates"), "needs http.tls.clientcas: who else would vouch for them?"
        )


def _deprecated(settings: Settings, document: Document) -> Iterator[str]:
    if settings.loglevel is not None:
        yield document.located(("loglevel",), "is deprecated: use log.level")


def _asks_nobody(settings: Settings, document: Document) -> Iterator[str]:
    """An `auth` that names nothing is accepted, as distribution does, but hardly what was meant."""
    ways = (settings.auth.none, settings.auth.token, settings.auth.htpasswd)
    is_there = isinstance(document.data, dict) and "auth" in document.data
    if is_there and not any(way is not None for way in ways):
        yield document.located(("auth",), "is empty: nobody is asked who they are by it")


def _manages_nothing(settings: Settings, document: Document) -> Iterator[str]:
    named = settings.access.administrators
    if settings.auth.token is not None and (named.users or named.groups):
        path = ("access", "administrators")
        yield document.located(path, "has no effect: with auth.token there are no robots")


def _caches(settings: Settings, document: Document) -> Iterator[str]:
    cache = settings.storage.cache
    for name, value in (("blobdescriptor", cache.blobdescriptor), ("layerinfo", cache.layerinfo)):
        if value not in ("", "inmemory"):
            path = ("storage", "cache", name)
            yield document.located(path, "has no effect: facts about blobs are cached in memory")


def _looks_short(document: Document) -> Iterator[str]:
    """A drain of 60 is 60 nanoseconds, in Go and so here, and hardly ever what was meant."""
    http = document.data.get("http") if isinstance(document.data, dict) else None
    text = http.get("draintimeout") if isinstance(http, dict) else None
    if isinstance(text, str) and is_bare(text) and int(text) != 0:
        path = ("http", "draintimeout")
        yield document.located(path, "has no unit and counts nanoseconds: write 60s for seconds")


def _verifies_more_than_asked(settings: Settings, document: Document) -> Iterator[str]:
    tls = settings.http.tls
    if tls.clientcas and tls.clientauth == "request-client-cert":
        path = ("http", "tls", "clientauth")
        yield document.located(
            path,
            "request-client-cert verifies a certificate that is shown, "
            "as verify-client-cert-if-given does",
        )
