"""Robot keys: names and secrets for machines, made by an operator, which end at a set time.

    <rootdirectory>/access/robots.json     {"version": 1, "robots": [{name, hash, created, ...}]}

    RobotStore ─► edit_file ─► robots.json ─► RobotsFile ─► RobotKeys
    (who manages them)                        (each server) (Credentials)

The file is only ever replaced whole. Servers look at it whenever a robot's key or token is shown,
so one that is revoked is refused at once, by all of them.
"""

from registry_server.auth.robots.document import Robots, format_moment, format_robots, parse_robots
from registry_server.auth.robots.keys import RobotKeys, RobotsFile
from registry_server.auth.robots.robot import (
    Robot,
    check_description,
    parse_lifetime,
)
from registry_server.auth.robots.store import (
    CreatedRobot,
    RobotExists,
    RobotsDamaged,
    RobotStore,
    TooManyRobots,
    robots_file,
)

__all__ = [
    "CreatedRobot",
    "Robot",
    "RobotExists",
    "RobotKeys",
    "RobotStore",
    "Robots",
    "RobotsDamaged",
    "RobotsFile",
    "TooManyRobots",
    "check_description",
    "format_moment",
    "format_robots",
    "parse_lifetime",
    "parse_robots",
    "robots_file",
]
