"""The operator's expressions for the URLs of layers in pushed manifests, free of I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.errors import ManifestInvalid

# The most steps for one manifest: the instructions of all expressions, times the bytes of its URLs.
# A step of RE2 takes 8 ns at worst (so a manifest takes 2 s), and usually less than 1 ns. Twenty
# expressions like distribution's example can check 390 kB of URLs.
MOST_STEPS = 250_000_000
# Matching an empty URL costs as much as matching so many bytes.
_BYTES_OF_A_CALL = 64

_SURROGATE = re.compile("[\ud800-\udfff]")


class Matcher(Protocol):
    """A compiled expression, which takes at most `size` steps for each byte of a text."""

    @property
    def size(self) -> int:
        """The most steps for each byte."""

    def matches(self, text: bytes) -> bool:
        """Return whether the expression matches some part of a text in UTF-8."""


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """A URL must match one of `allow`, if there are any, and none of `deny`."""

    allow: tuple[Matcher, ...] = ()
    deny: tuple[Matcher, ...] = ()

    def permits(self, url: str) -> bool:
        """Return whether a layer may have this URL."""
        if not (self.allow or self.deny):
            return True
        text = _in_utf8(url)
        if self.allow and not any(rule.matches(text) for rule in self.allow):
            return False
        return not any(rule.matches(text) for rule in self.deny)

    def check_work(self, urls: Sequence[str]) -> None:
        """Raise `ManifestInvalid` if `urls` would take too many steps."""
        size = sum(rule.size for rule in (*self.allow, *self.deny))
        if size and size * sum(_BYTES_OF_A_CALL + len(_in_utf8(url)) for url in urls) > MOST_STEPS:
            raise ManifestInvalid("the manifest has too many URLs, or too long ones, to check")


ANY_URL = UrlPolicy()


def _in_utf8(url: str) -> bytes:
    """Encode a URL; a lone surrogate, which JSON allows, becomes U+FFFD as in Go."""
    try:
        return url.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", url).encode()
