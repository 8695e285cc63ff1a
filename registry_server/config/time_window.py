"""A daily time window, in the machine's local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

_PATTERN = re.compile(r"\s*\d\d:\d\d\s*-\s*\d\d:\d\d\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `start` until before `end`, which may be on the next day."""

    start: time
    end: time

    @staticmethod
    def parse(text: str) -> TimeWindow:
        """Parse `HH:MM-HH:MM`; raise ValueError if it is not that or both times are equal."""
        if _PATTERN.fullmatch(text) is None:
            raise ValueError("a window is written as HH:MM-HH:MM")
        start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
        if start == end:
            raise ValueError("a window must end at another time than it begins")
        return TimeWindow(start, end)

    def contains(self, now: datetime) -> bool:
        """Return whether `now` is in the window."""
        at = now.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def left(self, now: datetime) -> float:
        """Return the seconds until the window ends; `now` must be in it."""
        end = now.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0)
        if end <= now:
            end += timedelta(days=1)
        return (end - now).total_seconds()

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"
