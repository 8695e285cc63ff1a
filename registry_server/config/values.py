"""The leaf types of the schema, each with the conversion from text.

Every scalar reaches the schema as the text of the file, and the schema converts it: `secret: 0123`
keeps its zero and `enabled: yes` is true.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from registry_server.config.expression import Expression
from registry_server.config.header_text import ascii_url
from registry_server.config.time_window import TimeWindow
from registry_server.config.units import parse_duration, parse_duration_with_unit, parse_size
from registry_server.config.validators import AfterValidator, BeforeValidator, PlainValidator

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TrustedProxy = Network | Literal["unix"]

_A_WINDOW = "a daily time window, such as 02:00-05:30"
_URL_PATH = re.compile(r"[A-Za-z0-9._~/-]*", re.ASCII)
_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?", re.ASCII)
_LOCATION = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or a key. Its `repr`, and so messages and tracebacks, do not show the text."""

    text: str = field(default="", repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        # Not a union of `str` and `Secret`: pydantic would add its member to the path of an error.
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.no_info_before_validator_function(_secret_text, from_text)


def _secret_text(value: object) -> object:
    return value.text if isinstance(value, Secret) else value


def _text(value: object, wanted: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be {wanted}")
    return value


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return parse_duration(_text(value, "a duration, such as 30s or 1h30m"))


def _duration_with_unit(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return parse_duration_with_unit(_text(value, "a duration, such as 168h"))


def _size(value: object) -> int:
    # In a file every value is a text.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return parse_size(_text(value, "a number of bytes, such as 50MB or 100MiB"))


def _at_least_zero(value: timedelta) -> timedelta:
    return max(value, timedelta(0))


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("must not be negative")
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be greater than 0")
    return value


def _second_or_more(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("must be at least 1s")
    return value


def _minute_or_more(value: timedelta) -> timedelta:
    if value < timedelta(minutes=1):
        raise ValueError("must be at least 1m")
    return value


def _window(value: object) -> TimeWindow | None:
    if value is None or isinstance(value, TimeWindow):
        return value
    text = _text(value, _A_WINDOW)
    if not text:
        return None
    try:
        return TimeWindow.parse(text)
    except ValueError:
        raise ValueError(f"must be {_A_WINDOW}") from None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _proxy(value: object) -> TrustedProxy:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network) or value == "unix":
        return value
    try:
        return ipaddress.ip_network(_text(value, "an IP network"), strict=False)
    except ValueError:
        raise ValueError("must be an IP address or network, such as 10.0.0.0/8, or unix") from None


def _expression(value: object) -> Expression:
    if isinstance(value, Expression):
        return value
    text = _text(value, "a regular expression")
    try:
        return Expression.parse(text)
    except ValueError as error:
        raise ValueError(f"must be a regular expression in Go's syntax: {error}") from None


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError("must not contain NUL characters")
    return value


def _path_text(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _url(value: str) -> str:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        complete = False
    if not complete or not value.isprintable() or " " in value:
        raise ValueError("must be a full URL, such as https://registry.example.com")
    return value.rstrip("/")


def _prefix(value: str) -> str:
    if _URL_PATH.fullmatch(value) is None:
        raise ValueError("must be a URL path, such as /registry/")
    stripped = value.strip("/")
    return f"/{stripped}/" if stripped else ""


def _location(value: str) -> str:
    """Return the path of an nginx location; refuse one that nginx would decode or normalize."""
    if not value:
        return value
    if _LOCATION.fullmatch(value) is None:
        raise ValueError("must be the path of an nginx location, such as /blobs-internal/")
    return value.rstrip("/") + "/"


def _host_name(value: object) -> str:
    """Return a host as clients send it, without a port: in lower case, with IPv6 in brackets."""
    text = _text(value, "a host").lower().removesuffix(".")
    bare = text.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        if _HOST_NAME.fullmatch(text) is None:
            raise ValueError("must be a host without a port, such as registry.lan") from None
        return text
    return f"[{address}]" if address.version == 6 else str(address)


Duration = Annotated[timedelta, PlainValidator(_duration)]
Wait = Annotated[timedelta, PlainValidator(_duration), AfterValidator(_at_least_zero)]
Age = Annotated[timedelta, PlainValidator(_duration_with_unit), AfterValidator(_not_negative)]
Interval = Annotated[timedelta, PlainValidator(_duration_with_unit), AfterValidator(_positive)]
Grace = Annotated[timedelta, PlainValidator(_duration_with_unit), AfterValidator(_second_or_more)]
TokenLifetime = Annotated[
    timedelta, PlainValidator(_duration_with_unit), AfterValidator(_minute_or_more)
]
Size = Annotated[int, PlainValidator(_size)]
DailyWindow = Annotated[TimeWindow | None, PlainValidator(_window)]
HostName = Annotated[str, PlainValidator(_host_name)]
ProxyText = Annotated[TrustedProxy, PlainValidator(_proxy)]
UrlExpression = Annotated[Expression, PlainValidator(_expression)]
FilePath = Annotated[Path, BeforeValidator(_path_text), AfterValidator(_path)]
FilePathOrNone = Annotated[FilePath | None, BeforeValidator(lambda path: path or None)]
BaseUrl = Annotated[str, AfterValidator(_url), AfterValidator(ascii_url)]
PathPrefix = Annotated[str, AfterValidator(_prefix)]
ProxyLocation = Annotated[str, AfterValidator(_location)]
LogLevel = Annotated[Literal["error", "warn", "info", "debug"], BeforeValidator(_lower)]
Platforms = Annotated[Literal["all", "none", "list"], BeforeValidator(_lower)]
