"""Where this machine gets packages from: its index of Python packages, its Debian mirror, its CA.

A build in a container has none of that and is given it: by build arguments, and by a certificate
in the build's folder. On a machine without settings of its own this is empty.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.tools import require_tool

# Docker takes these without an ARG, and keeps them out of the image.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def build_arguments() -> dict[str, str]:
    """Return the build arguments that stand for the settings of this machine."""
    settings = _pip_settings()
    arguments = {
        "PIP_INDEX_URL": _remote(settings.get("index-url", "")),
        "PIP_EXTRA_INDEX_URL": _remote(settings.get("extra-index-url", "")),
        "PIP_TRUSTED_HOST": settings.get("trusted-host", ""),
    }
    return {name: value for name, value in {**arguments, **proxies()}.items() if value}


def proxies() -> dict[str, str]:
    """Return the variables that name proxies: those that are set, else what apt uses."""
    named = {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}
    apt = _output([require_tool("apt-config"), "dump", "--format=%v", "Acquire::http::Proxy"])
    return named or ({"http_proxy": apt} if apt else {})


def authorities() -> Path | None:
    """Return the file of the CAs that this machine trusts for its index; None for the usual."""
    named = _pip_settings().get("cert") or os.environ.get("SSL_CERT_FILE")
    return Path(named) if named and Path(named).is_file() else None


def debian_mirror() -> list[str]:
    """Return the URL of the Debian mirror that apt uses here; empty for debootstrap's own."""
    form = "--format=$(ORIGIN) $(REPO_URI)"
    rows = _output([require_tool("apt-get"), "indextargets", form]).splitlines()
    uris = [uri for origin, _, uri in (row.partition(" ") for row in rows) if origin == "Debian"]
    return [uri.rstrip("/") for uri in uris if uri.rstrip("/").endswith("/debian")][:1]


def _pip_settings() -> dict[str, str]:
    """Return what pip is configured to do; variables come first, as they do for pip."""
    listed = _output([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for key, value in re.findall(r"^([^=]+)='(.*)'$", listed, re.MULTILINE):
        settings.setdefault(key.rpartition(".")[2], value)
    return settings


def _remote(urls: str) -> str:
    """Return those of some URLs that a container can reach too."""
    return " ".join(url for url in urls.split() if url.startswith(("http://", "https://")))


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]} exited {done.returncode}: {done.stderr}"
    return done.stdout.strip()
