"""Requests of one client: kept connections, retries during outages, and a full record."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from tests.race.history import History, short
from tests.support.wire import Answer, Body, origin_form

_TIMEOUT = 30.0
# A server may close a connection that is idle for some seconds.
_IDLE = 1.0
_PAUSE = 0.05
_SHOWN = 300


class Lost(Exception):
    """No answer arrived: the server was killed or is starting."""


class Given(Exception):
    """A violation was recorded, and the current operation cannot continue."""


@dataclass(slots=True)
class Outages:
    """When servers were killed on purpose; an answer lost at another time is a violation."""

    since: float | None = None
    until: float = 0.0

    def begin(self) -> None:
        """Record that a server is about to be killed."""
        self.since = time.monotonic()

    def end(self) -> None:
        """Record that all servers answer again."""
        self.until = time.monotonic()

    def explain(self, began: float) -> bool:
        """Return whether the answer to a request that began then may be lost."""
        is_on = self.since is not None and self.since > self.until
        return is_on or began <= self.until


@dataclass(slots=True)
class _Kept:
    connection: HTTPConnection
    used: float


@dataclass(slots=True)
class Courier:
    """Sends one client's requests to random servers."""

    who: str
    ports: tuple[int, ...]
    history: History
    outages: Outages
    rng: random.Random
    _kept: dict[int, _Kept] = field(default_factory=dict)

    def send(
        self,
        method: str,
        target: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        about: Iterable[str] = (),
    ) -> Answer:
        """Send a request that may be repeated, until it is answered."""
        while True:
            with suppress(Lost):
                return self.once(method, target, body, headers, about)
            self.history.count("lost answers")
            time.sleep(_PAUSE)

    def once(
        self,
        method: str,
        target: str,
        body: Body | Callable[[], Body] = None,
        headers: Mapping[str, str] | None = None,
        about: Iterable[str] = (),
    ) -> Answer:
        """Send a request once; raise `Lost`. An answer that is never legal is a violation."""
        began = time.monotonic()
        port = self.rng.choice(self.ports)
        what = " ".join([f"{method} :{port}{_legible(origin_form(target))}", *map(short, about)])
        try:
            content = body() if callable(body) else body
            answer = self._exchange(port, method, target, content, headers)
        except (OSError, HTTPException) as error:
            self._kept.pop(port).connection.close()
            self.history.note(began, self.who, f"{what} -> {error!r}")
            if not self.outages.explain(began):
                self.history.wrong(self.who, f"{what} lost: {error!r}", self._about(target, about))
                raise Given from None
            raise Lost from None
        detail = "" if answer.status < 400 else answer.body[:_SHOWN].decode(errors="replace")
        self.history.note(began, self.who, f"{what} -> {answer.status} {detail}")
        self.history.count("requests")
        if answer.status >= 500:
            said = f"{what} answered {answer.status} {detail}"
            self.history.wrong(self.who, said, self._about(target, about))
            raise Given
        return answer

    def close(self) -> None:
        """Close the connections."""
        for kept in self._kept.values():
            kept.connection.close()
        self._kept.clear()

    def _exchange(
        self,
        port: int,
        method: str,
        target: str,
        body: Body,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        kept = self._connection(port)
        kept.connection.request(method, origin_form(target), body=body, headers=dict(headers or {}))
        response = kept.connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        kept.used = time.monotonic()
        return answer

    def _connection(self, port: int) -> _Kept:
        kept = self._kept.get(port)
        if kept is not None and time.monotonic() - kept.used < _IDLE:
            return kept
        if kept is not None:
            kept.connection.close()
        connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
        self._kept[port] = _Kept(connection, time.monotonic())
        return self._kept[port]

    def _about(self, target: str, about: Iterable[str]) -> list[str]:
        return [*about, origin_form(target).rpartition("/")[2].partition("?")[0]]


def _legible(target: str) -> str:
    """Shorten the digests in a path."""
    head, colon, rest = target.partition("sha256:")
    if not colon:
        return target
    return f"{head}{short(colon + rest[:64])}{_legible(rest[64:])}"
