"""Robot accounts over HTTP: create, list, show, revoke, as with the command line."""

from __future__ import annotations

import logging
from asyncio import to_thread
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends
from starlette.requests import Request

from registry_server.access.robots import (
    CreatedRobot,
    Robot,
    RobotExists,
    RobotsDamaged,
    TooManyRobots,
    parse_lifetime,
)
from registry_server.api.bodies import body_of
from registry_server.api.models import NewKey, NewRobot, RobotAnswer, RobotList
from registry_server.api.paths import ROBOTS, ROOT
from registry_server.api.refusals import RobotsFull, RobotsUnusable, RobotTaken, RobotUnknown
from registry_server.api.routes import Admission, ApiRoute
from registry_server.http.context import context_of
from registry_server.http.response import Response
from registry_server.v2.urls import Urls
from storage.errors import OperationDisabled

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ONE = f"{ROBOTS}/{{name}}"
_ABSENT, _OFF = 404, 405
_REFUSED_BODIES = (400, 409, 413, 415)


class Robots(Protocol):
    """A `RobotStore` or a wrapper around it; all methods block."""

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        """Create a robot and its secret."""

    def list(self) -> list[Robot]:
        """Return all robots, in the order of their names."""

    def revoke(self, name: str) -> bool:
        """Remove a robot; return whether it existed."""


class ReadOnlyRobots:
    """Refuses changes of robots while the registry is read-only."""

    def __init__(self, inner: Robots) -> None:
        self._inner = inner

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        raise OperationDisabled("writing")

    def revoke(self, name: str) -> bool:
        raise OperationDisabled("writing")

    def list(self) -> list[Robot]:
        return self._inner.list()


class RobotRoutes:
    """The endpoints below `/robots`."""

    def __init__(self, robots: Robots, urls: Urls) -> None:
        self._robots = robots
        self._urls = urls

    def table(self, admits: Admission) -> tuple[ApiRoute, ...]:
        """Return the endpoints, for callers that `admits` accepts."""
        return (
            ApiRoute("GET", ROBOTS, self.list, admits, "List the robots"),
            ApiRoute(
                "POST",
                ROBOTS,
                self.create,
                admits,
                "Create a robot; its key is shown only once",
                status=201,
                reads=NewRobot,
                refused=(*_REFUSED_BODIES, _OFF),
            ),
            ApiRoute("GET", _ONE, self.get, admits, "Show a robot", refused=(_ABSENT,)),
            ApiRoute(
                "DELETE",
                _ONE,
                self.revoke,
                admits,
                "Revoke a robot; its key and its tokens become invalid immediately",
                status=204,
                refused=(_ABSENT, _OFF),
            ),
        )

    async def list(self) -> RobotList:
        """Return all robots, expired ones too, in the order of their names."""
        now = datetime.now(UTC)
        robots = await _in_thread(self._robots.list)
        return RobotList(robots=[RobotAnswer.of(robot, now) for robot in robots])

    async def create(
        self,
        request: Request,
        response: Response,
        wanted: Annotated[NewRobot, Depends(body_of(NewRobot))],
    ) -> NewKey:
        """Create a robot with an unused name, optionally with an expiry."""
        context_of(request.scope).robot = wanted.name
        now = datetime.now(UTC)
        expiry = None if wanted.expires is None else now + parse_lifetime(wanted.expires)
        created = await _in_thread(
            lambda: self._robots.create(wanted.name, expiry, wanted.description)
        )
        response.headers["Location"] = self._urls.at(request, f"{ROOT}{ROBOTS}/{wanted.name}")
        return NewKey.of_created(created, now)

    async def get(self, name: str) -> RobotAnswer:
        """Return a robot, without its key."""
        for robot in await _in_thread(self._robots.list):
            if robot.name == name:
                return RobotAnswer.of(robot, datetime.now(UTC))
        raise RobotUnknown

    async def revoke(self, name: str) -> None:
        """Remove a robot. Its name can be used again."""
        if not await _in_thread(lambda: self._robots.revoke(name)):
            raise RobotUnknown


async def _in_thread(act: Callable[[], T]) -> T:
    """Run `act` in a thread, and translate errors of the store into errors of the API."""
    try:
        return await to_thread(act)
    except RobotExists as error:
        raise RobotTaken(str(error)) from None
    except TooManyRobots as error:
        raise RobotsFull(str(error)) from None
    except RobotsDamaged as error:
        logger.error("%s", error)
        raise RobotsUnusable from None
