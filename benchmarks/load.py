"""What a run of a load generator found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """Right answers in a span of wall-clock time, and the median latency of one answer."""

    requests: int
    seconds: float
    median_seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds
