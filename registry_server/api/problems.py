"""The errors of the management API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a field, or of the whole `body`."""

    field: str
    message: str


class RequestInvalid(Exception):
    """The body does not fit the model; `faults` has the first few faults."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the body is invalid")
        self.faults = tuple(faults)


class NotJson(Exception):
    """The Content-Type is not JSON."""

    def __init__(self) -> None:
        super().__init__("the Content-Type must be application/json")


class PathUnknown(Exception):
    """The API has no such path."""

    def __init__(self) -> None:
        super().__init__("the API has no such path")


class RobotUnknown(Exception):
    """No robot has that name."""

    def __init__(self) -> None:
        super().__init__("no robot has that name")


class RobotTaken(Exception):
    """A robot of that name already exists."""


class RobotsFull(Exception):
    """The number of robots is at its limit."""


class RobotsUnusable(Exception):
    """The file of the robots is damaged; the reason is only in the log."""

    def __init__(self) -> None:
        super().__init__("the robots' file is damaged; see the registry's log")
