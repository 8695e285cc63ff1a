"""The errors of the management API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry_server.http.envelope import Entry, entry
from registry_server.http.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a field, or of the whole `body`."""

    field: str
    message: str


class RequestInvalid(Refusal):
    """The body does not fit the model; `faults` has the first few faults."""

    status = 400
    code = "REQUEST_INVALID"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the body is invalid")
        self.faults = tuple(faults)

    def entries(self) -> list[Entry]:
        """Return an error for each fault."""
        return [
            entry(self.code, f"{fault.field}: {fault.message}", {"field": fault.field})
            for fault in self.faults
        ]


class NotJson(Refusal):
    """The Content-Type is not JSON."""

    status = 415
    code = "UNSUPPORTED"

    def __init__(self) -> None:
        super().__init__("the Content-Type must be application/json")


class PathUnknown(Refusal):
    """The API has no such path."""

    status = 404
    code = "PATH_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("the API has no such path")


class RobotUnknown(Refusal):
    """No robot has that name."""

    status = 404
    code = "ROBOT_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("no robot has that name")


class RobotTaken(Refusal):
    """A robot of that name already exists."""

    status = 409
    code = "ROBOT_EXISTS"


class RobotsFull(Refusal):
    """The number of robots is at its limit."""

    status = 409
    code = "ROBOTS_FULL"


class RobotsUnusable(Refusal):
    """The file of the robots is damaged; the reason is only in the log."""

    status = 500
    code = "UNKNOWN"

    def __init__(self) -> None:
        super().__init__("the robots' file is damaged; see the registry's log")
