"""The result of a load generator."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """The number of right responses, the wall-clock time, and the median latency."""

    requests: int
    seconds: float
    median_seconds: float

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.requests / self.seconds
