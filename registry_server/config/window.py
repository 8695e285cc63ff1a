"""A part of each day, in the time of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_PATTERN = re.compile(r"\s*\d\d:\d\d\s*-\s*\d\d:\d\d\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, not including, `end`, which may lie in the next day."""

    start: time
    end: time

    @staticmethod
    def parse(text: str) -> Window:
        """Read `HH:MM-HH:MM`; raise ValueError, also when it would be no time or all the time."""
        if _PATTERN.fullmatch(text) is None:
            raise ValueError("a window is two times of the day, as HH:MM-HH:MM")
        start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
        if start == end:
            raise ValueError("a window begins and ends at different times")
        return Window(start, end)

    def contains(self, now: datetime) -> bool:
        """Tell whether it is open."""
        at = now.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def left(self, now: datetime) -> float:
        """Return for how many seconds it stays open, being open."""
        end = now.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0)
        if end <= now:
            end += timedelta(days=1)
        return (end - now).total_seconds()

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"
