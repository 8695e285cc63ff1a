"""Texts of the configuration that are sent in response headers.

They are sent as UTF-8, as in CNCF distribution. A line break would start another header, so control
characters are refused. In `http.headers` a line break becomes a space, as in Go.
"""

import re
import unicodedata
from typing import Annotated
from urllib.parse import quote, urlsplit

from registry_server.config.validators import AfterValidator

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# With two lengths, a proxy and the client may each use another one (RFC 9112 section 6.3).
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_TAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Characters that `quote` keeps. A URL may already contain escapes, so the percent sign is one.
_URL_SAFE = "/%:@?!$&'()*+,;=~[]"


def _without_controls(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise ValueError("is not a valid name for an HTTP header")
    if name.lower() in _FRAMING:
        raise ValueError("must be removed: the registry itself sends this header")
    return name


def _value(value: str) -> str:
    # As in Go. A text of several lines in YAML ends with a line break.
    value = value.replace("\r", " ").replace("\n", " ").strip(" \t")
    if _CONTROL_BUT_TAB.search(value):
        raise ValueError("must not contain control characters")
    return value


def ascii_url(value: str) -> str:
    """Return a URL in ASCII: the host in IDNA form, the rest percent-encoded (RFC 3986).

    Raises ValueError for a host that versions of IDNA encode differently.
    """
    if value.isascii():
        return value
    parts = urlsplit(value)
    user, at, location = parts.netloc.rpartition("@")
    host, colon, port = location.partition(":")
    netloc = f"{quote(user, safe=_URL_SAFE)}{at}{_ascii_host(host)}{colon}{port}"
    path, query, fragment = (quote(part, safe=_URL_SAFE) for part in parts[2:])
    return parts._replace(netloc=netloc, path=path, query=query, fragment=fragment).geturl()


def _ascii_host(host: str) -> str:
    try:
        encoded = host.encode("idna")
    except UnicodeError:
        return quote(host, safe=_URL_SAFE)
    # Python implements IDNA 2003, which maps sharp s, final sigma and joiners to other characters.
    # The result is another domain, to which clients would send passwords.
    if encoded.decode("idna") != unicodedata.normalize("NFC", host).lower():
        raise ValueError("has an ambiguous host name: write it in ASCII, as xn--...")
    return encoded.decode("ascii")


HeaderText = Annotated[str, AfterValidator(_without_controls)]
HeaderName = Annotated[str, AfterValidator(_name)]
HeaderValue = Annotated[str, AfterValidator(_value)]
Headers = dict[HeaderName, tuple[HeaderValue, ...]]
