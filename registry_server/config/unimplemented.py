"""Sections of distribution's schema that are known and typed, and that nothing reads yet.

They are here so that an old file is checked to its leaves, and so that setting one of them is
answered by name; `support.py` says how.
"""

from dataclasses import field

from registry_server.config.secret import Secret
from registry_server.config.section import Section
from registry_server.config.values import Duration, SecretHeaders

NO_SECRET = Secret()


class Smtp(Section):
    """`log.hooks[].options.smtp`."""

    addr: str = ""
    username: str = ""
    password: Secret = NO_SECRET
    insecure: bool = False


class MailOptions(Section):
    """`log.hooks[].options`."""

    smtp: Smtp = Smtp()
    from_: str = ""
    to: tuple[str, ...] = ()


class LogHook(Section):
    """`log.hooks[]`: a mail for certain entries of the log."""

    disabled: bool = False
    type: str = ""
    levels: tuple[str, ...] = ()
    options: MailOptions = MailOptions()


class LetsEncrypt(Section):
    """`http.tls.letsencrypt`: certificates obtained by the server."""

    cachefile: str = ""
    email: str = ""
    hosts: tuple[str, ...] = ()
    directoryurl: str = ""


class Prometheus(Section):
    """`http.debug.prometheus`."""

    enabled: bool = False
    path: str = ""


class Debug(Section):
    """`http.debug`: a second listener, for operators."""

    addr: str = ""
    prometheus: Prometheus = Prometheus()


class Exec(Section):
    """`proxy.exec`: a program that knows the upstream's credentials."""

    command: str = ""
    lifetime: Duration | None = None


class Proxy(Section):
    """`proxy`: a pull-through cache of another registry."""

    remoteurl: str = ""
    username: str = ""
    password: Secret = NO_SECRET
    exec: Exec = Exec()
    ttl: Duration | None = None
    cachewritetimeout: Duration | None = None


class Ignore(Section):
    """`notifications.endpoints[].ignore`."""

    mediatypes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


class NotificationEndpoint(Section):
    """`notifications.endpoints[]`: a service that is notified of pushes, pulls and deletions."""

    name: str = ""
    disabled: bool = False
    url: str = ""
    headers: SecretHeaders = field(default_factory=dict, hash=False)
    timeout: Duration | None = None
    threshold: int = 0
    backoff: Duration | None = None
    ignoredmediatypes: tuple[str, ...] = ()
    ignore: Ignore = Ignore()


class Events(Section):
    """`notifications.events`."""

    includereferences: bool = False


class Notifications(Section):
    """`notifications`."""

    events: Events = Events()
    endpoints: tuple[NotificationEndpoint, ...] = ()


class RedisPool(Section):
    """`redis.pool`, of the 2.8 schema."""

    maxidle: int = 0
    maxactive: int = 0
    idletimeout: Duration | None = None


class RedisTls(Section):
    """`redis.tls`."""

    enabled: bool = False
    certificate: str = ""
    key: str = ""
    rootcas: tuple[str, ...] = ()


class Redis(Section):
    """`redis`: `addr` and `pool` are 2.8's, `addrs` and most of the rest are 3's."""

    addr: str = ""
    pool: RedisPool = RedisPool()
    tls: RedisTls = RedisTls()
    addrs: tuple[str, ...] = ()
    clientname: str = ""
    db: int = 0
    protocol: int = 0
    username: str = ""
    password: Secret = NO_SECRET
    sentinelusername: str = ""
    sentinelpassword: Secret = NO_SECRET
    maxretries: int = 0
    minretrybackoff: Duration | None = None
    maxretrybackoff: Duration | None = None
    dialtimeout: Duration | None = None
    readtimeout: Duration | None = None
    writetimeout: Duration | None = None
    contexttimeoutenabled: bool = False
    poolfifo: bool = False
    poolsize: int = 0
    pooltimeout: Duration | None = None
    minidleconns: int = 0
    maxidleconns: int = 0
    maxactiveconns: int = 0
    connmaxidletime: Duration | None = None
    connmaxlifetime: Duration | None = None
    maxredirects: int = 0
    readonly: bool = False
    routebylatency: bool = False
    routerandomly: bool = False
    mastername: str = ""
    disableidentity: bool = False
    identitysuffix: str = ""
    unstableresp3: bool = False


class FileCheck(Section):
    """`health.file[]`: unhealthy while a file exists."""

    file: str = ""
    interval: Duration | None = None
    threshold: int = 0


class HttpCheck(Section):
    """`health.http[]`: unhealthy while a URL does not answer as expected."""

    uri: str = ""
    headers: SecretHeaders = field(default_factory=dict, hash=False)
    statuscode: int = 0
    timeout: Duration | None = None
    interval: Duration | None = None
    threshold: int = 0


class TcpCheck(Section):
    """`health.tcp[]`: unhealthy while an address does not accept."""

    addr: str = ""
    timeout: Duration | None = None
    interval: Duration | None = None
    threshold: int = 0


class StorageCheck(Section):
    """`health.storagedriver`: unhealthy while the storage does not answer."""

    enabled: bool = False
    interval: Duration | None = None
    threshold: int = 0


class Health(Section):
    """`health`."""

    storagedriver: StorageCheck = StorageCheck()
    file: tuple[FileCheck, ...] = ()
    http: tuple[HttpCheck, ...] = ()
    tcp: tuple[TcpCheck, ...] = ()


class Middleware(Section):
    """`middleware.*[]`: code linked into distribution."""

    name: str = ""
    disabled: bool = False
    # A signing key may be among them, so they are not shown.
    options: dict[str, object] = field(default_factory=dict, repr=False, hash=False)


class Middlewares(Section):
    """`middleware`."""

    registry: tuple[Middleware, ...] = ()
    repository: tuple[Middleware, ...] = ()
    storage: tuple[Middleware, ...] = ()


class RepositoryPolicy(Section):
    """`policy.repository`."""

    classes: tuple[str, ...] = ()


class Policy(Section):
    """`policy`."""

    repository: RepositoryPolicy = RepositoryPolicy()


class Bugsnag(Section):
    """`reporting.bugsnag`, of the 2.8 schema."""

    apikey: Secret = NO_SECRET
    releasestage: str = ""
    endpoint: str = ""


class NewRelic(Section):
    """`reporting.newrelic`, of the 2.8 schema."""

    licensekey: Secret = NO_SECRET
    name: str = ""
    verbose: bool = False


class Reporting(Section):
    """`reporting`, of the 2.8 schema."""

    bugsnag: Bugsnag = Bugsnag()
    newrelic: NewRelic = NewRelic()


class Schema1(Section):
    """`compatibility.schema1`, of the 2.8 schema."""

    signingkeyfile: str = ""
    enabled: bool = False


class Compatibility(Section):
    """`compatibility`, of the 2.8 schema."""

    schema1: Schema1 = Schema1()
