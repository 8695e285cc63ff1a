"""Loads settings from a file, the environment and the command line; the later ones win."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from registry_server.config import empty_keys, environment, in_memory, scalars, support, tolerance
from registry_server.config.document import STORAGE, Document, Value, parse
from registry_server.config.exposure import exposure
from registry_server.config.listen_address import ListenAddress
from registry_server.config.loaded_settings import LoadedSettings, Overrides
from registry_server.config.problems import ConfigError, Place, Problem
from registry_server.config.schema import TRIAL_ROOT, Formatter, Settings
from registry_server.config.shorthand import expand

_LARGEST_FILE = 1 << 20
_NO_OVERRIDES = Overrides()

# The folder of registry:3's configuration. The file of that image enables deletion.
REGISTRY_3 = Path("/etc/distribution")

# The settings of a trial without a file: images are in the current folder, only this machine can
# connect, and clients may delete.
_WITHOUT_FILE: Value = {
    "version": "0.1",
    "storage": {"filesystem": {"rootdirectory": str(TRIAL_ROOT)}, "delete": {"enabled": "true"}},
    "http": {"addr": "127.0.0.1:5000"},
}
_THIS_MACHINE = ("localhost",)


def load(
    path: Path | None, environ: Mapping[str, str], overrides: Overrides = _NO_OVERRIDES
) -> LoadedSettings:
    """Load the configuration from `path`, or from the file that the environment names, if any.

    Raises ConfigError with all problems of the first stage that has any: YAML syntax, variables,
    keys and values, then combinations and keys that are not implemented.
    """
    path = path or environment.file(environ)
    document = Document() if path is None else _read(path)
    if document.data is not None and not isinstance(document.data, dict):
        raise ConfigError([document.located((), "must be a mapping of keys such as storage, http")])
    expand(document)
    environment.apply(document, environ)
    if conflicts := [*support.conflicts(document), *empty_keys.problems(document)]:
        raise ConfigError(conflicts)
    _complete(document, path)
    _override(document, overrides)
    scalars.resolve(document)
    settings = _with_log_level(tolerance.settings_of(document), document)
    if path is None and document.value(("http", "allowedhosts")) is None:
        settings = _for_this_machine(settings)
    if refusals := support.refusals(settings, document):
        raise ConfigError(refusals)
    notices = (*document.warnings, *support.warnings(settings, document))
    exposure_warnings = tuple(exposure(settings, document))
    settings = in_memory.with_one_worker(settings)
    return LoadedSettings(settings, tuple(map(str, notices)), notices, path, exposure_warnings)


def _complete(document: Document, path: Path | None) -> None:
    """Add the defaults that depend on the path of the file."""
    if path is None:
        _fill(document, _WITHOUT_FILE)
        return
    if not isinstance(document.data, dict) or document.data.get("version") is None:
        message = 'is missing: the first line should be "version: 0.1"'
        raise ConfigError([Problem(Place(str(path)), "version", message)])
    key = (STORAGE, "delete", "enabled")
    if REGISTRY_3 in path.absolute().parents and document.value(key) is None:
        _fill(document, {STORAGE: {"delete": {"enabled": "true"}}})
        message = f"is not set and counts as true in {REGISTRY_3}, as in the file of registry:3"
        document.warnings.append(Problem(Place(str(path)), ".".join(key), message))


def formatter_of(path: Path | None, environ: Mapping[str, str]) -> Formatter:
    """Return `log.formatter` of an invalid configuration; `text` if it cannot be read."""
    path = path or environment.file(environ)
    document = Document()
    with suppress(ConfigError):
        document = Document() if path is None else _read(path)
    with suppress(ConfigError):
        environment.apply(document, environ)
    log = document.data.get("log") if isinstance(document.data, dict) else None
    named = log.get("formatter") if isinstance(log, dict) else None
    return next((name for name in get_args(Formatter) if name == named), "text")


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError([Problem(Place(str(path)), "", message)]) from None
    except ValueError:
        raise ConfigError(["the path of the configuration contains a NUL character"]) from None
    if len(content) > _LARGEST_FILE:
        message = "is larger than 1 MiB, the limit for a configuration"
        raise ConfigError([Problem(Place(str(path)), "", message)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(Place(str(path), line), "", "is not UTF-8 text")]) from None
    return parse(text, lambda line: Place(str(path), line))


def _fill(document: Document, defaults: Value) -> None:
    """Add defaults for keys that the document does not set."""
    document.data = _filled(document.data, copy.deepcopy(defaults))


def _filled(value: Value, defaults: Value) -> Value:
    if value is None:
        return defaults
    if not isinstance(value, dict) or not isinstance(defaults, dict):
        return value
    missing = dict.fromkeys(defaults)
    return {name: _filled(child, defaults.get(name)) for name, child in (missing | value).items()}


def _override(document: Document, overrides: Overrides) -> None:
    if overrides.root is not None:
        if document.value((STORAGE, "inmemory")) is not None:
            message = "is set, and --root names a folder for the images: remove one of them"
            raise ConfigError([document.located((STORAGE, "inmemory"), message)])
        _option(document, ("storage", "filesystem", "rootdirectory"), str(overrides.root), "--root")
    if overrides.workers is not None:
        _option(document, ("http", "workers"), str(overrides.workers), "--workers")
    if overrides.host is not None or overrides.port is not None:
        _listen(document, overrides.host, overrides.port)


def _listen(document: Document, host: str | None, port: int | None) -> None:
    """Replace the host, the port or both in the address of the document."""
    given = (("--host", host is not None), ("--port", port is not None))
    origin = " and ".join(name for name, is_given in given if is_given)
    before = _address(document)
    if before.path is not None:
        before = ListenAddress("127.0.0.1", 5000)
    after = ListenAddress(
        before.host if host is None else host.strip("[]"), before.port if port is None else port
    )
    _option(document, ("http", "net"), "tcp", origin)
    _option(document, ("http", "addr"), str(after), origin)


def _address(document: Document) -> ListenAddress:
    http = document.data.get("http") if isinstance(document.data, dict) else None
    net = http.get("net") if isinstance(http, dict) else None
    addr = http.get("addr") if isinstance(http, dict) else None
    if not isinstance(addr, str):
        addr = ":5000"
    try:
        return ListenAddress.parse("unix" if net == "unix" else "tcp", addr)
    except ValueError as error:
        raise ConfigError([document.located(("http", "addr"), str(error))]) from None


def _option(document: Document, path: tuple[str, ...], value: str, origin: str) -> None:
    if not document.put(path, Document(value, {(): Place(origin)})):
        raise ConfigError([document.located(path[:1], "must be a mapping")])


def _with_log_level(settings: Settings, document: Document) -> Settings:
    """Use the deprecated `loglevel` if `log.level` is not set."""
    if settings.loglevel is None or document.value(("log", "level")) is not None:
        return settings
    return replace(settings, log=replace(settings.log, level=settings.loglevel))


def _for_this_machine(settings: Settings) -> Settings:
    """Allow only the host `localhost` for a registry on loopback without a file.

    Variables that set a proxy, a URL, TLS or access control show that clients may use other hosts.
    """
    http = settings.http
    is_set_up = (
        http.host or http.trustedproxies or http.tls.certificate or settings.has_access_control
    )
    if is_set_up or not http.listen_address.is_loopback:
        return settings
    return replace(settings, http=replace(http, allowedhosts=_THIS_MACHINE))
