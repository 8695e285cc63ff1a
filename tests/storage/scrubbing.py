"""Helpers that run a scrub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from storage.drivers.base import Driver, ExclusiveEditor
from storage.maintenance.progress import NoProgress
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.record import Summary
from storage.maintenance.scrub.run import Options, Scrub
from tests.storage.wrappers import Change, ObservedDriver, T


class Around(ObservedDriver):
    """A wrapped driver that passes the inner editor to jobs."""

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        return await self.change(Change("exclusive", ""), lambda: self._inner.exclusively(job))


@dataclass(slots=True)
class Findings:
    """The findings, in order."""

    all: list[Finding] = field(default_factory=list)

    def found(self, finding: Finding) -> None:
        self.all.append(finding)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the findings."""
        return [finding.kind for finding in self.all]


async def scrub(driver: Driver, **options: float) -> tuple[list[Finding], Summary]:
    """Scrub with some `Options`; return the findings and the summary."""
    found = Findings()
    summary = await Scrub(driver, Options(**options), found, NoProgress()).run()  # type: ignore[arg-type]
    return found.all, summary
