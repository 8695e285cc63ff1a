"""Which URLs the layers of a pushed manifest may have, by the operator's expressions; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.errors import ManifestInvalid

# The most steps for one manifest: the instructions of all expressions, times the bytes of its URLs.
# A step takes RE2 8 ns at worst (so a manifest takes 2 s), and usually less than 1 ns. Twenty
# expressions like distribution's example can check 390 kB of URLs.
MOST_STEPS = 250_000_000
# A call of an expression costs as much as so many bytes.
_BYTES_OF_A_CALL = 64

_SURROGATE = re.compile("[\ud800-\udfff]")


class Matcher(Protocol):
    """A compiled expression, whose work for each byte of a text is at most `size` steps."""

    @property
    def size(self) -> int:
        """The number of steps."""

    def matches(self, text: bytes) -> bool:
        """Tell whether it matches some part of a text in UTF-8."""


@dataclass(frozen=True, slots=True)
class UrlRules:
    """A URL must match one of `allow`, if there are any, and none of `deny`."""

    allow: tuple[Matcher, ...] = ()
    deny: tuple[Matcher, ...] = ()

    def permits(self, url: str) -> bool:
        """Tell whether a layer may have this URL."""
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


ANY_URL = UrlRules()


def _in_utf8(url: str) -> bytes:
    """Encode a URL; half a surrogate pair, which JSON may have, is U+FFFD as in Go."""
    try:
        return url.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", url).encode()
