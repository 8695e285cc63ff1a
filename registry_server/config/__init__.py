"""The registry's configuration: distribution's schema, read from a file and the environment.

`load.load` is the only way to read it. It returns frozen, typed settings, or raises ConfigError
with a line for each problem. `load` imports pydantic and a YAML library. This package does not, so
a worker can receive settings without importing them.
"""

from registry_server.config.listen_address import ListenAddress
from registry_server.config.loaded_settings import LoadedSettings, Overrides
from registry_server.config.problems import ConfigError
from registry_server.config.schema import LogSettings, Settings

# The variable that names the file when the command line does not.
CONFIGURATION_PATH = "REGISTRY_CONFIGURATION_PATH"

__all__ = [
    "CONFIGURATION_PATH",
    "ConfigError",
    "ListenAddress",
    "LoadedSettings",
    "LogSettings",
    "Overrides",
    "Settings",
]
