"""Ask the registry in this container whether it answers; exit 0 when it does, 1 when not.

Where it listens is read from the same configuration. Over TLS a connection is enough, because the
registry may insist on a client certificate that this program does not have.
"""

import http.client
import os
import socket
import sys
from pathlib import Path

from registry_server.config import ConfigError, Endpoint, load

CONFIG = Path("/etc/docker/registry/config.yml")
SECONDS = 5.0


def connect(endpoint: Endpoint) -> socket.socket:
    """Open a connection to where the registry listens; raise OSError when nobody does."""
    if endpoint.path is not None:
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(SECONDS)
        unix.connect(str(endpoint.path))
        return unix
    address = (endpoint.host or "127.0.0.1", endpoint.port)
    return socket.create_connection(address, timeout=SECONDS)


def healthy(config: Path) -> bool:
    """Tell whether the registry with this configuration answers its base endpoint."""
    settings = load(config, os.environ).settings.http
    with connect(settings.endpoint) as connected:
        if settings.tls.certificate is not None:
            return True
        asking = http.client.HTTPConnection("localhost", timeout=SECONDS)
        asking.sock = connected
        asking.request("GET", f"{settings.prefix or '/'}v2/")
        with asking.getresponse() as response:
            # Access control answers 401, and is alive.
            return response.status in (http.HTTPStatus.OK, http.HTTPStatus.UNAUTHORIZED)


def main(arguments: list[str]) -> int:
    """Check the registry that the configuration file named in `arguments` describes."""
    try:
        return 0 if healthy(Path(arguments[0]) if arguments else CONFIG) else 1
    except (OSError, http.client.HTTPException, ConfigError) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
