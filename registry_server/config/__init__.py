"""The registry's configuration: distribution's schema, read from a file and the environment.

`load.load` is the only way to read it. The settings that it returns are frozen and typed. A
configuration that it refuses is a ConfigError with a line for each problem. `load` imports pydantic
and a YAML library. This package does not, so a server can run without them.
"""

from registry_server.config.endpoint import Endpoint
from registry_server.config.problems import ConfigError
from registry_server.config.result import Loaded, Overrides
from registry_server.config.schema import LogSettings, Settings

# The variable that names the file where the command line names none.
CONFIGURATION_PATH = "REGISTRY_CONFIGURATION_PATH"

__all__ = [
    "CONFIGURATION_PATH",
    "ConfigError",
    "Endpoint",
    "Loaded",
    "LogSettings",
    "Overrides",
    "Settings",
]
