"""Keys of distribution that are known and not implemented.

`tolerance` takes these sections out of a document before the schema validates it, and checks their
keys and values, so that a mistake in an old file is still named. `support` decides what happens
when one of them is set.
"""

from collections.abc import Iterator, Mapping

from registry_server.config.document import Value
from registry_server.config.document_shape import Keys, Leaf, ListOf, MapOf, Shape
from registry_server.config.problems import Path
from registry_server.config.values import Duration

_FLAG = Leaf(bool)
_NUMBER = Leaf(int)
_TEXT = Leaf(str)
_DURATION = Leaf(Duration)
_TEXTS = ListOf(_TEXT)
_HEADERS = MapOf(_TEXTS)
_OPTIONS = MapOf(Leaf(object))

SECTIONS = (
    "log.hooks",
    "http.tls.letsencrypt",
    "http.debug",
    "http.http2",
    "http.h2c",
    "proxy",
    "notifications",
    "redis",
    "health",
    "middleware",
    "policy",
    "reporting",
    "compatibility",
)

# `[]` stands for an item of a list. `reporting`, `compatibility` and `redis.pool` are only in the
# schema of 2.8.
_KEYS: Mapping[str, Shape] = {
    "log.hooks[].disabled": _FLAG,
    "log.hooks[].type": _TEXT,
    "log.hooks[].levels": _TEXTS,
    "log.hooks[].options.smtp.addr": _TEXT,
    "log.hooks[].options.smtp.username": _TEXT,
    "log.hooks[].options.smtp.password": _TEXT,
    "log.hooks[].options.smtp.insecure": _FLAG,
    "log.hooks[].options.from": _TEXT,
    "log.hooks[].options.to": _TEXTS,
    "http.tls.letsencrypt.cachefile": _TEXT,
    "http.tls.letsencrypt.email": _TEXT,
    "http.tls.letsencrypt.hosts": _TEXTS,
    "http.tls.letsencrypt.directoryurl": _TEXT,
    "http.debug.addr": _TEXT,
    "http.debug.prometheus.enabled": _FLAG,
    "http.debug.prometheus.path": _TEXT,
    "http.http2.disabled": _FLAG,
    "http.h2c.enabled": _FLAG,
    "proxy.remoteurl": _TEXT,
    "proxy.username": _TEXT,
    "proxy.password": _TEXT,
    "proxy.exec.command": _TEXT,
    "proxy.exec.lifetime": _DURATION,
    "proxy.ttl": _DURATION,
    "proxy.cachewritetimeout": _DURATION,
    "notifications.events.includereferences": _FLAG,
    "notifications.endpoints[].name": _TEXT,
    "notifications.endpoints[].disabled": _FLAG,
    "notifications.endpoints[].url": _TEXT,
    "notifications.endpoints[].headers": _HEADERS,
    "notifications.endpoints[].timeout": _DURATION,
    "notifications.endpoints[].threshold": _NUMBER,
    "notifications.endpoints[].backoff": _DURATION,
    "notifications.endpoints[].ignoredmediatypes": _TEXTS,
    "notifications.endpoints[].ignore.mediatypes": _TEXTS,
    "notifications.endpoints[].ignore.actions": _TEXTS,
    "redis.addr": _TEXT,
    "redis.pool.maxidle": _NUMBER,
    "redis.pool.maxactive": _NUMBER,
    "redis.pool.idletimeout": _DURATION,
    "redis.tls.enabled": _FLAG,
    "redis.tls.certificate": _TEXT,
    "redis.tls.key": _TEXT,
    "redis.tls.rootcas": _TEXTS,
    "redis.addrs": _TEXTS,
    "redis.clientname": _TEXT,
    "redis.db": _NUMBER,
    "redis.protocol": _NUMBER,
    "redis.username": _TEXT,
    "redis.password": _TEXT,
    "redis.sentinelusername": _TEXT,
    "redis.sentinelpassword": _TEXT,
    "redis.maxretries": _NUMBER,
    "redis.minretrybackoff": _DURATION,
    "redis.maxretrybackoff": _DURATION,
    "redis.dialtimeout": _DURATION,
    "redis.readtimeout": _DURATION,
    "redis.writetimeout": _DURATION,
    "redis.contexttimeoutenabled": _FLAG,
    "redis.poolfifo": _FLAG,
    "redis.poolsize": _NUMBER,
    "redis.pooltimeout": _DURATION,
    "redis.minidleconns": _NUMBER,
    "redis.maxidleconns": _NUMBER,
    "redis.maxactiveconns": _NUMBER,
    "redis.connmaxidletime": _DURATION,
    "redis.connmaxlifetime": _DURATION,
    "redis.maxredirects": _NUMBER,
    "redis.readonly": _FLAG,
    "redis.routebylatency": _FLAG,
    "redis.routerandomly": _FLAG,
    "redis.mastername": _TEXT,
    "redis.disableidentity": _FLAG,
    "redis.identitysuffix": _TEXT,
    "redis.unstableresp3": _FLAG,
    "health.storagedriver.enabled": _FLAG,
    "health.storagedriver.interval": _DURATION,
    "health.storagedriver.threshold": _NUMBER,
    "health.file[].file": _TEXT,
    "health.file[].interval": _DURATION,
    "health.file[].threshold": _NUMBER,
    "health.http[].uri": _TEXT,
    "health.http[].headers": _HEADERS,
    "health.http[].statuscode": _NUMBER,
    "health.http[].timeout": _DURATION,
    "health.http[].interval": _DURATION,
    "health.http[].threshold": _NUMBER,
    "health.tcp[].addr": _TEXT,
    "health.tcp[].timeout": _DURATION,
    "health.tcp[].interval": _DURATION,
    "health.tcp[].threshold": _NUMBER,
    "middleware.registry[].name": _TEXT,
    "middleware.registry[].disabled": _FLAG,
    "middleware.registry[].options": _OPTIONS,
    "middleware.repository[].name": _TEXT,
    "middleware.repository[].disabled": _FLAG,
    "middleware.repository[].options": _OPTIONS,
    "middleware.storage[].name": _TEXT,
    "middleware.storage[].disabled": _FLAG,
    "middleware.storage[].options": _OPTIONS,
    "policy.repository.classes": _TEXTS,
    "reporting.bugsnag.apikey": _TEXT,
    "reporting.bugsnag.releasestage": _TEXT,
    "reporting.bugsnag.endpoint": _TEXT,
    "reporting.newrelic.licensekey": _TEXT,
    "reporting.newrelic.name": _TEXT,
    "reporting.newrelic.verbose": _FLAG,
    "compatibility.schema1.signingkeyfile": _TEXT,
    "compatibility.schema1.enabled": _FLAG,
}


def shape() -> Keys:
    """Return these keys as a tree."""
    return _tree(_KEYS)


def take_out(data: Value) -> Iterator[tuple[Path, Value]]:
    """Remove these sections from `data`, and yield the path and the value of each."""
    for section in SECTIONS:
        *parents, name = section.split(".")
        parent = data
        for part in parents:
            parent = parent.get(part) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and name in parent:
            yield (*parents, name), parent.pop(name)


def _tree(keys: Mapping[str, Shape]) -> Keys:
    grouped: dict[str, dict[str, Shape]] = {}
    for path, kind in keys.items():
        first, _, rest = path.partition(".")
        grouped.setdefault(first, {})[rest] = kind
    children: dict[str, Shape] = {}
    for first, below in grouped.items():
        name = first.removesuffix("[]")
        tree = below[""] if "" in below else _tree(below)
        children[name] = tree if name == first else ListOf(tree)
    return Keys(children)
