"""What can be wrong with a request to the management API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a field of a body, or with the `body`."""

    field: str
    message: str


class RequestInvalid(Exception):
    """A body does not say what it should; `faults` are the first few things wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the body does not say what it should")
        self.faults = tuple(faults)


class NotJson(Exception):
    """A body is not said to be JSON."""

    def __init__(self) -> None:
        super().__init__("the Content-Type must be application/json")


class PathUnknown(Exception):
    """There is nothing at that path."""

    def __init__(self) -> None:
        super().__init__("there is nothing at this path of the API")


class RobotUnknown(Exception):
    """There is no robot of that name."""

    def __init__(self) -> None:
        super().__init__("there is no robot of that name")


class RobotTaken(Exception):
    """There is a robot of that name."""


class RobotsFull(Exception):
    """There are as many robots as there may be."""


class RobotsUnusable(Exception):
    """The file of the robots is damaged, and only the log says how."""

    def __init__(self) -> None:
        super().__init__("the file of the robots is damaged; the registry's log says how")
