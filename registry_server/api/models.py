"""The JSON models of the management API: robot accounts and refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from registry_server.access.robots import (
    CreatedRobot,
    Robot,
    check_description,
    parse_lifetime,
)
from registry_server.access.robots.robot import LONGEST_DESCRIPTION
from registry_server.config.robot_names import NAME, check_robot_name


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that calls the check of the command line; its ValueError is the fault."""

    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


# Patterns for the OpenAPI schema. The checks are stricter: a lifetime is at least one second, and a
# description is printable.
_DURATION = r"[0-9]{1,5}d|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(h|m|s|ms|us|ns))+"
_NAME = {"pattern": f"^{NAME}$", "examples": ["ci"]}
_DESCRIPTION = {"maxLength": LONGEST_DESCRIPTION, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_LIFETIME = {"pattern": f"^({_DURATION})$", "examples": ["90d", "12h"]}

Name = Annotated[str, _checked(check_robot_name), Field(json_schema_extra=_NAME)]
Description = Annotated[str, _checked(check_description), Field(json_schema_extra=_DESCRIPTION)]
Lifetime = Annotated[str, _checked(parse_lifetime), Field(json_schema_extra=_LIFETIME)]


class NewRobot(BaseModel):
    """A robot to be created. `expires` is a duration; without it the robot never expires."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    expires: Lifetime | None = None
    description: Description = ""


class RobotAnswer(BaseModel):
    """A robot: `name` is its own name, `login` the name that it logs in with."""

    name: str
    login: str
    description: str
    created: datetime
    expires: datetime | None
    expired: bool

    @classmethod
    def of(cls, robot: Robot, now: datetime) -> RobotAnswer:
        """Return the public fields of a robot."""
        return cls(
            name=robot.name,
            login=robot.login,
            description=robot.description,
            created=robot.created,
            expires=robot.expires,
            expired=robot.is_expired(now),
        )


class NewKey(RobotAnswer):
    """A new robot and its key, which is shown only once."""

    key: str

    @classmethod
    def of_created(cls, created: CreatedRobot, now: datetime) -> NewKey:
        """Return the public fields of a new robot, and its key."""
        robot = RobotAnswer.of(created.robot, now)
        return cls(**robot.model_dump(), key=created.secret)


class RobotList(BaseModel):
    """All robots, in the order of their names."""

    robots: list[RobotAnswer]


class Refusal(BaseModel):
    """An error: `code` is for programs, `message` for people."""

    code: str
    message: str
    detail: JsonValue = None


class Refusals(BaseModel):
    """The errors of a refused request."""

    errors: list[Refusal]
