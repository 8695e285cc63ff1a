"""The record of a running scrub: its checkpoint, saved regularly, and the findings it reports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from storage.drivers.base import Driver
from storage.maintenance.scrub.checkpoint import Checkpoint, read_checkpoint
from storage.maintenance.scrub.findings import Finding

logger = logging.getLogger(__name__)

# Seconds after which the progress is saved again.
_SAVE_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a scrub did and found, including the part before an interruption.

    `errors` and `notes` are findings that were not repaired. `position` says how far the scrub
    got, if it is incomplete, and `continued_from` where it began, if it continued another one.
    Blobs that were being read at an interruption count twice.
    """

    blobs: int
    size: int
    repositories: int
    repaired: int
    errors: int
    notes: int
    continued_from: str
    position: str


class Listener(Protocol):
    """Receives each finding, from the event loop or a thread, one at a time."""

    def found(self, finding: Finding) -> None:
        """Take a finding, repaired or not."""


class Record:
    """The progress and the findings of one scrub."""

    def __init__(self, driver: Driver, listener: Listener, *, repairs: bool) -> None:
        self._driver = driver
        self._listener = listener
        self._saved_at = time.monotonic()
        self.checkpoint = Checkpoint(repairs=repairs)
        self.is_complete = False

    async def resume(self) -> list[Finding]:
        """Continue an interrupted scrub, if there is one; report and return what it found."""
        earlier = await read_checkpoint(self._driver, repairs=self.checkpoint.repairs)
        if earlier is None:
            return []
        self.checkpoint = earlier
        findings = list(earlier.findings.values())
        for finding in findings:
            self._listener.found(finding)
        return findings

    def add(self, finding: Finding) -> None:
        """Record and report a finding, with its remedy."""
        if not finding.how and not finding.repaired:
            finding = finding.as_left(finding.kind.remedy)
        if self.checkpoint.add(finding):
            self._listener.found(finding)

    @property
    def summary(self) -> Summary:
        """The summary of what was done so far."""
        checkpoint = self.checkpoint
        left = {kind: n for (kind, repaired), n in checkpoint.counts.items() if not repaired}
        return Summary(
            blobs=checkpoint.blobs,
            size=checkpoint.size,
            repositories=checkpoint.repositories,
            repaired=sum(n for (_, repaired), n in checkpoint.counts.items() if repaired),
            errors=sum(n for kind, n in left.items() if not kind.is_note),
            notes=sum(n for kind, n in left.items() if kind.is_note),
            continued_from=checkpoint.continued_from,
            position="" if self.is_complete else checkpoint.position,
        )

    async def save(self) -> None:
        """Save the progress; an error is logged, because the scrub can go on without."""
        self._saved_at = time.monotonic()
        try:
            await self.checkpoint.save(self._driver)
        except OSError as error:
            logger.warning("could not save the progress of the scrub: %s", error)

    async def save_if_due(self) -> None:
        """Save the progress, unless it was saved lately."""
        if time.monotonic() - self._saved_at > _SAVE_EVERY:
            await self.save()

    @asynccontextmanager
    async def saved_regularly(self) -> AsyncIterator[None]:
        """Save the progress every few seconds for the length of the block."""
        saving = asyncio.create_task(self._save_regularly())
        try:
            yield
        finally:
            saving.cancel()
            await asyncio.wait([saving])

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY)
            await self.save()
