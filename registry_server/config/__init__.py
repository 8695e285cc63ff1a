"""The registry's configuration: distribution's schema, read from a file and the environment.

`load` is the only way in. Everything it returns is frozen and typed; everything it refuses is
a ConfigError with a line for each problem.
"""

from registry_server.config.endpoint import Endpoint
from registry_server.config.environment import FILE as CONFIGURATION_PATH
from registry_server.config.load import Loaded, Overrides, formatter_of, load
from registry_server.config.problems import ConfigError
from registry_server.config.schema import LogSettings, Settings

__all__ = [
    "CONFIGURATION_PATH",
    "ConfigError",
    "Endpoint",
    "Loaded",
    "LogSettings",
    "Overrides",
    "Settings",
    "formatter_of",
    "load",
]
