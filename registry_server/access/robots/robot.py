"""A robot account, and the checks of its fields."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from registry_server.config.robot_names import PREFIX
from registry_server.config.units import parse_duration_with_unit

LONGEST_DESCRIPTION = 256

_DAYS = re.compile(r"([0-9]{1,5})d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot account, with the SHA-256 of its secret as `digest`.

    A slow hash such as bcrypt protects secrets that can be guessed; this one is 256 random bits,
    and is checked with every request.
    """

    name: str
    digest: bytes = field(repr=False)
    created: datetime
    expires: datetime | None = None
    description: str = ""

    @property
    def generation(self) -> str:
        """An id that distinguishes robots of the same name; it reveals nothing of the secret."""
        return hashlib.sha256(b"generation\0" + self.digest).hexdigest()[:32]

    @property
    def login(self) -> str:
        """Its name in rules, tokens and logs."""
        return f"{PREFIX}:{self.name}"

    def is_expired(self, now: datetime) -> bool:
        return self.expires is not None and now >= self.expires


def check_description(text: str) -> None:
    """Raise ValueError unless `text` is one printable line of limited length."""
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise ValueError(f"a description is one line of up to {LONGEST_DESCRIPTION} characters")


def parse_lifetime(text: str) -> timedelta:
    """Parse the lifetime of a robot, such as `90d` or `12h`; raise ValueError."""
    days = _DAYS.fullmatch(text)
    try:
        lifetime = timedelta(days=int(days[1])) if days else parse_duration_with_unit(text)
    except ValueError:
        raise ValueError("must be a duration, such as 90d or 12h") from None
    if lifetime < timedelta(seconds=1):
        raise ValueError("must be at least one second")
    return lifetime
