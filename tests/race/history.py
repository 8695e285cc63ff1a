"""The record of a race: every request with its times and answer, and all violations."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_SHORT = 19  # "sha256:" and a dozen digits are unique
_MOST_LINES = 60
# A violation that repeats a thousand times is printed a few times.
_ENOUGH = 10


@dataclass(frozen=True, slots=True)
class Event:
    """Something with a beginning and an end, by `time.monotonic`."""

    began: float
    ended: float
    who: str
    what: str


@dataclass(frozen=True, slots=True)
class _Wrong:
    at: float
    what: str
    about: tuple[str, ...]


class History:
    """Shared by all threads of a race; times are relative to `start`."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.counts: Counter[str] = Counter()
        self._events: list[Event] = []
        self._wrong: list[_Wrong] = []
        self._lock = threading.Lock()

    def note(self, began: float, who: str, what: str, ended: float | None = None) -> None:
        """Record something that ended just now, or at `ended`."""
        self._events.append(Event(began, ended or time.monotonic(), who, what))

    def count(self, what: str, number: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self.counts[what] += number

    def wrong(self, who: str, what: str, about: Iterable[str]) -> None:
        """Record a violation, and what it is `about`: digests, or parts of requests."""
        terms = tuple(one[:_SHORT] if one.startswith("sha256:") else one for one in about)
        with self._lock:
            self._wrong.append(_Wrong(time.monotonic(), f"{who}: {what}", terms))

    def violations(self) -> int:
        """Return the number of violations so far."""
        return len(self._wrong)

    def told(self) -> str:
        """Report the first violations, each with all events about its subject."""
        parts = [self._account(wrong) for wrong in self._wrong[:_ENOUGH]]
        if len(self._wrong) > len(parts):
            parts.append(f"and {len(self._wrong) - len(parts)} more")
        return "\n".join(parts)

    def _account(self, wrong: _Wrong) -> str:
        events = [
            one
            for one in self._events
            if one.began <= wrong.at and any(term in one.what for term in wrong.about)
        ]
        events.sort(key=lambda one: one.began)
        lines = [f"    {self._line(one)}" for one in events[-_MOST_LINES:]]
        return "\n".join([f"[{wrong.at - self.start:8.3f}] {wrong.what}", *lines])

    def _line(self, one: Event) -> str:
        at, until = one.began - self.start, one.ended - self.start
        return f"[{at:8.3f} - {until:8.3f}] {one.who}: {one.what}"


def short(digest: str) -> str:
    """Return a digest shortened for a report."""
    return digest[:_SHORT]
