"""The robots over HTTP: made, listed and revoked as by the command."""

from __future__ import annotations

import logging
from asyncio import to_thread
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends
from starlette.requests import Request

from registry_server.answers import Response
from registry_server.api.bodies import sent
from registry_server.api.endpoints import Admission, Endpoint
from registry_server.api.models import NewKey, NewRobot, RobotAnswer, RobotList
from registry_server.api.paths import ROBOTS, ROOT
from registry_server.api.problems import RobotsFull, RobotsUnusable, RobotTaken, RobotUnknown
from registry_server.audit import notes_of
from registry_server.auth.robots import (
    CreatedRobot,
    Robot,
    RobotExists,
    RobotsDamaged,
    TooManyRobots,
    parse_lifetime,
)
from registry_server.v2.urls import Urls
from storage.errors import OperationDisabled

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ONE = f"{ROBOTS}/{{name}}"
_ABSENT, _OFF = 404, 405
_REFUSED_BODIES = (400, 409, 413, 415)


class Robots(Protocol):
    """`RobotStore`, and what stands around it; everything blocks."""

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        """Make a robot and its secret."""

    def list(self) -> list[Robot]:
        """Return all robots by name."""

    def revoke(self, name: str) -> bool:
        """Remove a robot; return whether there was one."""


class ReadOnlyRobots:
    """Robots that stay as they are while the registry is read-only."""

    def __init__(self, inner: Robots) -> None:
        self._inner = inner

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        """Refuse."""
        raise OperationDisabled("writing")

    def revoke(self, name: str) -> bool:
        """Refuse."""
        raise OperationDisabled("writing")

    def list(self) -> list[Robot]:
        """Return all robots by name."""
        return self._inner.list()


class RobotEndpoints:
    """Answers below `/robots`."""

    def __init__(self, robots: Robots, urls: Urls) -> None:
        self._robots = robots
        self._urls = urls

    def table(self, admits: Admission) -> tuple[Endpoint, ...]:
        """Return the endpoints, for those whom `admits` lets in."""
        return (
            Endpoint("GET", ROBOTS, self.list, admits, "List the robots"),
            Endpoint(
                "POST",
                ROBOTS,
                self.create,
                admits,
                "Make a robot; its key is shown this once",
                status=201,
                reads=NewRobot,
                refused=(*_REFUSED_BODIES, _OFF),
            ),
            Endpoint("GET", _ONE, self.get, admits, "Show a robot", refused=(_ABSENT,)),
            Endpoint(
                "DELETE",
                _ONE,
                self.revoke,
                admits,
                "Revoke a robot; its key and its tokens end at once",
                status=204,
                refused=(_ABSENT, _OFF),
            ),
        )

    async def list(self) -> RobotList:
        """Return all of them by name, those that are expired as well."""
        now = datetime.now(UTC)
        found = await _worked(self._robots.list)
        return RobotList(robots=[RobotAnswer.of(each, now) for each in found])

    async def create(
        self,
        request: Request,
        response: Response,
        wanted: Annotated[NewRobot, Depends(sent(NewRobot))],
    ) -> NewKey:
        """Make one of a name that is free, for a time or for ever."""
        notes_of(request.scope).about(wanted.name)
        now = datetime.now(UTC)
        ends = None if wanted.expires is None else now + parse_lifetime(wanted.expires)
        made = await _worked(lambda: self._robots.create(wanted.name, ends, wanted.description))
        response.headers["Location"] = self._urls.at(request, f"{ROOT}{ROBOTS}/{wanted.name}")
        return NewKey.of_created(made, now)

    async def get(self, name: str) -> RobotAnswer:
        """Return what is known of it, which is not its key."""
        for robot in await _worked(self._robots.list):
            if robot.name == name:
                return RobotAnswer.of(robot, datetime.now(UTC))
        raise RobotUnknown

    async def revoke(self, name: str) -> None:
        """Remove it, after which another may have its name."""
        if not await _worked(lambda: self._robots.revoke(name)):
            raise RobotUnknown


async def _worked(act: Callable[[], T]) -> T:
    """Work with the robots in a thread, and say what was in the way in the words of the API."""
    try:
        return await to_thread(act)
    except RobotExists as error:
        raise RobotTaken(str(error)) from None
    except TooManyRobots as error:
        raise RobotsFull(str(error)) from None
    except RobotsDamaged as error:
        logger.error("%s", error)
        raise RobotsUnusable from None
