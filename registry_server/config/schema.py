"""The schema of the configuration: distribution's keys and ours, fully typed.

Attributes have the names of the keys. Defaults apply when there is a file; `load.py` has those that
apply without one. `unimplemented.py` lists the known keys that are not implemented.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le

from registry_server.config.access import Access
from registry_server.config.auth import Auth
from registry_server.config.cipher_suites import CipherSuite
from registry_server.config.cors import Cors
from registry_server.config.header_text import Headers
from registry_server.config.limits import Limits
from registry_server.config.listen_address import ListenAddress
from registry_server.config.section import CONFIG, Section
from registry_server.config.validators import AfterValidator, BeforeValidator
from registry_server.config.values import (
    Age,
    BaseUrl,
    DailyWindow,
    FilePath,
    FilePathOrNone,
    Grace,
    HostName,
    Interval,
    LogLevel,
    PathPrefix,
    Platforms,
    ProxyLocation,
    ProxyText,
    Secret,
    TrustedProxy,
    UrlExpression,
    Wait,
)
from registry_server.config.worker_count import WORKERS

if TYPE_CHECKING:
    from pydantic import ValidationInfo

Formatter: TypeAlias = Literal["text", "json", "logstash"]

# The root of a registry without a configuration file. It is created if it is missing.
TRIAL_ROOT = Path("data")

DEFAULT_ENTRIES = 1000
_FEWEST_THREADS = 25


def _enough_threads(value: int) -> int:
    return max(value, _FEWEST_THREADS)  # as in distribution


def _default_unless_positive(value: int) -> int:
    return value if value > 0 else DEFAULT_ENTRIES  # as in distribution


def _addr_suits_net(addr: str, info: "ValidationInfo") -> str:
    if "net" in info.data:
        ListenAddress.parse(info.data["net"], addr)
    return addr


class AccessLog(Section):
    """`log.accesslog`: one line for each request, unless `disabled`."""

    disabled: bool = False


class LogSettings(Section):
    """`log`: what is logged, and in which format."""

    accesslog: AccessLog = AccessLog()
    level: LogLevel = "info"
    formatter: Annotated[Formatter, BeforeValidator(lambda named: named or "text")] = "text"
    fields: dict[str, object] = field(default_factory=dict, hash=False)

    reportcaller: bool = False


class Filesystem(Section):
    """`storage.filesystem`: the root of the tree, and the most concurrent disk operations.

    Without `fsync` an accepted push may be lost in a power cut.
    """

    rootdirectory: FilePath = Path("/var/lib/registry")
    maxthreads: Annotated[int, AfterValidator(_enough_threads)] = 100
    fsync: bool = True


class Delete(Section):
    """`storage.delete`: whether clients may delete manifests and blobs."""

    enabled: bool = False


class Redirect(Section):
    """`storage.redirect`: redirects to an object store, which the filesystem driver does not do."""

    disable: bool = False


class TagLookup(Section):
    """`storage.tag`: how many tags distribution looks up concurrently."""

    concurrencylimit: Annotated[int, Ge(0)] = 0


class Cache(Section):
    """`storage.cache`: where distribution caches facts about blobs."""

    blobdescriptor: str = "inmemory"
    blobdescriptorsize: Annotated[int, Ge(0)] = 10_000
    layerinfo: str = ""


class UploadPurging(Section):
    """`storage.maintenance.uploadpurging`: deletion of abandoned upload sessions."""

    enabled: bool = True
    age: Age = timedelta(hours=168)
    interval: Interval = timedelta(hours=24)
    dryrun: bool = False


class ReadOnly(Section):
    """`storage.maintenance.readonly`: refuses all requests that write."""

    enabled: bool = False


class GarbageCollection(Section):
    """`storage.maintenance.garbagecollection`: deletion of unreferenced blobs and manifests.

    Content that was touched within the grace period stays, for the command as well. `window` is a
    daily time window in the machine's local time.
    """

    enabled: bool = False
    interval: Interval = timedelta(hours=24)
    grace: Grace = timedelta(hours=1)
    deleteuntagged: bool = False
    window: DailyWindow = None


class Maintenance(Section):
    """`storage.maintenance`."""

    uploadpurging: UploadPurging = UploadPurging()
    garbagecollection: GarbageCollection = GarbageCollection()
    readonly: ReadOnly = ReadOnly()


class Storage(Section):
    """`storage`: one driver, and settings for every driver.

    The registry does not start with a driver other than `filesystem` and `inmemory`. The parameters
    of such a driver are not checked, and not shown, because some are secrets. Those of `inmemory`
    are ignored.
    """

    filesystem: Filesystem = Filesystem()
    azure: dict[str, object] | None = field(default=None, repr=False, hash=False)
    gcs: dict[str, object] | None = field(default=None, repr=False, hash=False)
    inmemory: dict[str, object] | None = field(default=None, repr=False, hash=False)
    oss: dict[str, object] | None = field(default=None, repr=False, hash=False)
    s3: dict[str, object] | None = field(default=None, repr=False, hash=False)
    s3aws: dict[str, object] | None = field(default=None, repr=False, hash=False)
    swift: dict[str, object] | None = field(default=None, repr=False, hash=False)
    cache: Cache = Cache()
    delete: Delete = Delete()
    maintenance: Maintenance = Maintenance()
    redirect: Redirect = Redirect()
    tag: TagLookup = TagLookup()

    @property
    def root(self) -> Path | None:
        """The root folder, or None if images are in memory."""
        return self.filesystem.rootdirectory if self.inmemory is None else None


class Tls(Section):
    """`http.tls`: the server's certificate, and the verification of client certificates."""

    certificate: FilePathOrNone = None
    key: FilePathOrNone = None
    clientcas: tuple[FilePath, ...] = ()
    clientauth: Literal[
        "request-client-cert",
        "require-any-client-cert",
        "verify-client-cert-if-given",
        "require-and-verify-client-cert",
    ] = "require-and-verify-client-cert"
    minimumtls: Literal["tls1.0", "tls1.1", "tls1.2", "tls1.3"] = "tls1.2"
    ciphersuites: tuple[CipherSuite, ...] = ()

    @property
    def admits_by_certificate(self) -> bool:
        """Whether only clients with a verified certificate get a connection."""
        return bool(self.clientcas) and self.clientauth == "require-and-verify-client-cert"


class Http(Section):
    """`http`: the listener, and how requests are served.

    `host` is empty, or the base of absolute URLs without a final slash. `prefix` and
    `accelredirect` are empty, or begin and end with a slash. `relativeurls` is None if it is not
    set. Without `allowedhosts` requests for any host are served.
    """

    net: Annotated[Literal["tcp", "unix"], BeforeValidator(lambda net: net or "tcp")] = "tcp"
    addr: Annotated[str, AfterValidator(_addr_suits_net)] = ":5000"
    host: BaseUrl = ""
    prefix: PathPrefix = ""
    secret: Secret = Secret()
    relativeurls: bool | None = None
    draintimeout: Wait = timedelta(seconds=8)
    tls: Tls = Tls()
    headers: Headers = field(default_factory=dict, hash=False)
    cors: Cors = Cors()

    allowedhosts: tuple[HostName, ...] = ()
    trustedproxies: tuple[ProxyText, ...] = ()
    accelredirect: ProxyLocation = ""
    workers: Annotated[int, Ge(1), Le(1024)] = WORKERS

    # Defaults are validated as well: that of `addr` is not valid for every `net`.
    __pydantic_config__: ClassVar[Mapping[str, Any]] = {**CONFIG, "validate_default": True}

    @property
    def listen_address(self) -> ListenAddress:
        """The address to listen on."""
        return ListenAddress.parse(self.net, self.addr)

    @property
    def trusted(self) -> tuple[TrustedProxy, ...]:
        """The trusted proxies, without `unix` for a TCP listener.

        A TCP connection that was reset can lose its address and then looks like a unix socket.
        """
        return tuple(
            proxy for proxy in self.trustedproxies if self.net == "unix" or proxy != "unix"
        )


class Catalog(Section):
    """`catalog`: the most repositories in a page of the catalog."""

    maxentries: Annotated[int, AfterValidator(_default_unless_positive)] = DEFAULT_ENTRIES


class Tags(Section):
    """`tags`: the most tags in a page of a tag list; 0 means no limit.

    registry:3 sends at most 1000, which breaks clients that ignore the Link header, as they could
    with registry:2.
    """

    maxtags: Annotated[int, Ge(0)] = 0


class Urls(Section):
    """`validation.manifests.urls`: which URLs the layers of a pushed manifest may have."""

    allow: tuple[UrlExpression, ...] = ()
    deny: tuple[UrlExpression, ...] = ()


class Platform(Section):
    """A platform, as an image index names it."""

    architecture: str = ""
    os: str = ""


class Indexes(Section):
    """`validation.manifests.indexes`: which children of an index must exist when it is pushed."""

    platforms: Platforms = "all"
    platformlist: tuple[Platform, ...] = ()


class ManifestValidation(Section):
    """`validation.manifests`."""

    urls: Urls = Urls()
    indexes: Indexes = Indexes()


class Validation(Section):
    """`validation`: checks of pushed manifests."""

    enabled: bool = False
    disabled: bool = False
    manifests: ManifestValidation = ManifestValidation()

    @property
    def active(self) -> bool:
        """Whether the checks are on; `enabled`, the older key, wins over `disabled`."""
        return self.enabled or not self.disabled


class Audit(Section):
    """`audit`: a line for each change and each refusal, in `file`, or in the log if it is None."""

    enabled: bool = False
    file: FilePath | None = None


class Settings(Section):
    """The whole configuration."""

    version: Literal["0.1"] = "0.1"
    log: LogSettings = LogSettings()
    loglevel: LogLevel | None = None
    storage: Storage = Storage()
    http: Http = field(default_factory=Http)
    catalog: Catalog = Catalog()
    tags: Tags = Tags()
    validation: Validation = Validation()
    auth: Auth = Auth()
    access: Access = Access()
    audit: Audit = Audit()
    limits: Limits = Limits()

    @property
    def has_access_control(self) -> bool:
        """Whether access control is configured: users, external tokens, or access rules."""
        auth = self.auth
        return auth.token is not None or auth.htpasswd is not None or self.access.configured

    @property
    def users_in_file(self) -> bool:
        """Whether all user names come from the file of users, not from tokens or certificates."""
        return self.auth.token is None and not self.access.certificates

    @property
    def gives_tokens(self) -> bool:
        """Whether this registry issues tokens: it has access rules and no external issuer."""
        return self.access.configured and self.auth.token is None
