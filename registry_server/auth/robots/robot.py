"""A robot, and what may be said of one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from registry_server.auth.robot_names import PREFIX
from registry_server.config.durations import parse_duration_with_unit

LONGEST_DESCRIPTION = 256

_DAYS = re.compile(r"([0-9]{1,5})d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot, and the SHA-256 of its secret.

    A plain hash is enough: the secret is 256 random bits, so there is nothing to guess, which is
    what bcrypt makes slow; and the hash is checked with each request of a build.
    """

    name: str
    digest: bytes = field(repr=False)
    created: datetime
    expires: datetime | None = None
    description: str = ""

    @property
    def generation(self) -> str:
        """What tells it from others of its name: a hash that says nothing of its secret."""
        return hashlib.sha256(b"generation\0" + self.digest).hexdigest()[:32]

    @property
    def login(self) -> str:
        """The name it is known by to rules and in logs."""
        return f"{PREFIX}:{self.name}"

    def is_expired(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.expires is not None and now >= self.expires


def check_description(text: str) -> None:
    """Raise ValueError unless `text` can be shown in one line."""
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise ValueError(f"a description is one line of up to {LONGEST_DESCRIPTION} characters")


def parse_lifetime(text: str) -> timedelta:
    """Read after how long a robot ends, as `90d` or `12h`; raise ValueError for what is no time."""
    days = _DAYS.fullmatch(text)
    try:
        after = timedelta(days=int(days[1])) if days else parse_duration_with_unit(text)
    except ValueError:
        raise ValueError("must be a duration, such as 90d or 12h") from None
    if after < timedelta(seconds=1):
        raise ValueError("must be a second at least")
    return after
