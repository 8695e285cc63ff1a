"""Scrubs as tests run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from storage.drivers.base import Driver, Editor
from storage.maintenance.progress import Silence
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.run import Options, Scrub, Summary
from tests.storage.wrappers import Change, T, WrappedDriver


class Around(WrappedDriver):
    """A driver around a driver, whose editor is the inner one's own."""

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        """Change."""
        return await self.change(Change("exclusive", ""), lambda: self.inner.exclusively(job))


@dataclass(slots=True)
class Findings:
    """What was found, in order."""

    all: list[Finding] = field(default_factory=list)

    def found(self, finding: Finding) -> None:
        """Keep it."""
        self.all.append(finding)

    @property
    def kinds(self) -> list[Kind]:
        """What was wrong."""
        return [finding.kind for finding in self.all]


async def scrub(driver: Driver, **options: float) -> tuple[list[Finding], Summary]:
    """Scrub with some `Options`; return what was found and the summary."""
    found = Findings()
    summary = await Scrub(driver, Options(**options), found, Silence()).run()  # type: ignore[arg-type]
    return found.all, summary
