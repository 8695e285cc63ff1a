"""What goes over the wire: robots, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from registry_server.auth.robot_names import NAME, check_robot_name
from registry_server.auth.robots import (
    CreatedRobot,
    Robot,
    check_description,
    parse_lifetime,
)
from registry_server.auth.robots.robot import LONGEST_DESCRIPTION


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """Have a text checked by the same function as the command's; what it says is the fault."""

    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


# What a schema can say of them. The checks decide, which ask for more: for a second at least, and
# for what can be printed.
_DURATION = r"[0-9]{1,5}d|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(h|m|s|ms|us|ns))+"
_NAME = {"pattern": f"^{NAME}$", "examples": ["ci"]}
_DESCRIPTION = {"maxLength": LONGEST_DESCRIPTION, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_LIFETIME = {"pattern": f"^({_DURATION})$", "examples": ["90d", "12h"]}

Name = Annotated[str, _checked(check_robot_name), Field(json_schema_extra=_NAME)]
Description = Annotated[str, _checked(check_description), Field(json_schema_extra=_DESCRIPTION)]
Lifetime = Annotated[str, _checked(parse_lifetime), Field(json_schema_extra=_LIFETIME)]


class NewRobot(BaseModel):
    """A robot that is to be made. Without `expires`, a duration, it never ends."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    expires: Lifetime | None = None
    description: Description = ""


class RobotAnswer(BaseModel):
    """A robot, by its own name and by the one that it logs in with."""

    name: str
    login: str
    description: str
    created: datetime
    expires: datetime | None
    expired: bool

    @classmethod
    def of(cls, robot: Robot, now: datetime) -> RobotAnswer:
        """Say what may be said of a robot."""
        return cls(
            name=robot.name,
            login=robot.login,
            description=robot.description,
            created=robot.created,
            expires=robot.expires,
            expired=robot.is_expired(now),
        )


class NewKey(RobotAnswer):
    """A robot that was made, and its key, which is shown this once."""

    key: str

    @classmethod
    def of_created(cls, made: CreatedRobot, now: datetime) -> NewKey:
        """Say the same of a robot that was just made, and its key."""
        robot = RobotAnswer.of(made.robot, now)
        return cls(**robot.model_dump(), key=made.secret)


class RobotList(BaseModel):
    """All robots in the order of their names."""

    robots: list[RobotAnswer]


class Refusal(BaseModel):
    """A reason: `code` is for programs, `message` for people."""

    code: str
    message: str
    detail: JsonValue = None


class Refusals(BaseModel):
    """Why something was refused."""

    errors: list[Refusal]
