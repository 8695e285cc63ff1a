"""Robot accounts: names and keys for machines, created by an operator, optionally with an expiry.

    <rootdirectory>/access/robots.json     {"version": 1, "robots": [{name, hash, created, ...}]}

    RobotStore ─► edit_file ─► robots.json ─► RobotsFile ─► RobotKeys
    (management)                              (each server) (Credentials)

The file is always replaced atomically. Servers check it for changes at every use of a robot's key
or token, so every server refuses a revoked one immediately.
"""

from registry_server.access.robots.document import (
    Robots,
    format_moment,
    format_robots,
    parse_robots,
)
from registry_server.access.robots.keys import RobotKeys, RobotsFile
from registry_server.access.robots.robot import (
    Robot,
    check_description,
    parse_lifetime,
)
from registry_server.access.robots.store import (
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
