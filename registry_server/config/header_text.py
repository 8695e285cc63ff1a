"""Texts of the configuration that become header values of answers.

They are sent as UTF-8, as CNCF distribution sends them. A line break would end the header and begin
another one, so control characters are refused. A line break in `http.headers` becomes a space, as
in Go.
"""

import re
import unicodedata
from typing import Annotated
from urllib.parse import quote, urlsplit

from registry_server.config.validators import AfterValidator

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# A proxy may believe the one of two lengths that the client does not (RFC 9112 section 6.3).
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_TAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Characters that `quote` keeps. The percent sign is one, because a URL may hold escapes already.
_URL_SAFE = "/%:@?!$&'()*+,;=~[]"


def _without_controls(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not have control characters")
    return value


def _name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise ValueError("is a name that HTTP does not allow for a header")
    if name.lower() in _FRAMING:
        raise ValueError("belongs to each answer, which would have two lengths with it")
    return name


def _value(value: str) -> str:
    # As Go writes it: a text that YAML folded or kept in several lines ends with a line break.
    value = value.replace("\r", " ").replace("\n", " ").strip(" \t")
    if _CONTROL_BUT_TAB.search(value):
        raise ValueError("holds a value with control characters, which HTTP does not allow")
    return value


def ascii_url(value: str) -> str:
    """Write a URL as every client reads it: its host by IDNA, the rest with escapes (RFC 3986).

    Raises ValueError for a host that clients may read as another one.
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
    # Python knows the IDNA of 2003, which has no sharp s, final sigma or joiners: it would write
    # another domain, which another party may own, and clients would send passwords there.
    if encoded.decode("idna") != unicodedata.normalize("NFC", host).lower():
        raise ValueError("has a host that can be read as two names: write it in ASCII, as xn--...")
    return encoded.decode("ascii")


HeaderText = Annotated[str, AfterValidator(_without_controls)]
HeaderName = Annotated[str, AfterValidator(_name)]
HeaderValue = Annotated[str, AfterValidator(_value)]
Headers = dict[HeaderName, tuple[HeaderValue, ...]]
