"""The servers that are compared: ours, Debian's `docker-registry`, and nginx as a floor.

The two registries get the same `config.yml`, each with its own root. nginx serves only the blobs of
the same layout, with sendfile.
"""

import os
import platform
import pwd
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from benchmarks.errors import NotReady
from benchmarks.processes import PROJECT, Side

WORKERS = 2
PEER = "docker-registry"
NGINX = "nginx"
NGINX_PACKAGE = "nginx-light"
SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
http: {{addr: "127.0.0.1:{port}"}}
"""

NGINX_CONFIG = """\
daemon off;
{user}
worker_processes {workers};
pid {folder}/pid;
error_log stderr error;
events {{}}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    default_type application/octet-stream;
    location = /v2/ {{ return 200 "{{}}"; }}
    location ~ "^/v2/.+/blobs/sha256:((..).{{62}})$" {{
      alias {root}/docker/registry/v2/blobs/sha256/$2/$1/data;
      add_header Docker-Content-Digest sha256:$1;
    }}
  }}
}}
"""


def ours() -> Side:
    """Return this project's server with two workers."""
    command = [sys.executable, "-m", "registry_server", "serve"]
    arguments = ["--workers", str(WORKERS)]
    return Side("registry-server", _our_version(), command, _config, arguments)


def peer(name: str = PEER) -> Side:
    """Return Debian's `docker-registry`; raise `NotReady` if it is not installed."""
    if shutil.which(PEER) is None:
        raise NotReady(f"{PEER} is not installed (Debian: apt-get install {PEER})")
    said = subprocess.run([PEER, "--version"], check=True, capture_output=True, text=True).stdout
    return Side(name, said.strip(), [PEER, "serve"], _config)


def nginx() -> Side | None:
    """Return nginx with as many workers as ours; None if it is not installed."""
    program = shutil.which(NGINX, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}")
    if program is None:
        return None
    said = subprocess.run([program, "-v"], check=True, capture_output=True, text=True).stderr
    # Until nginx has read its configuration it writes to the system log; -e prevents that.
    command = [program, "-e", "stderr", "-c"]
    return Side(NGINX, said.strip().rpartition(" ")[2], command, _nginx_config)


def commit() -> str:
    """Return the measured commit, with `-dirty` if it was changed; empty without git."""
    return subprocess.run(
        ["git", "--no-optional-locks", "describe", "--always", "--dirty"],
        cwd=PROJECT,
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()


def _our_version() -> str:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    stack = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop", "starlette"))
    built = f"{project['version']} {commit()}".strip()
    return f"{built} ({WORKERS} workers, Python {platform.python_version()}, {stack})"


def _config(root: Path, port: int, _folder: Path) -> str:
    return CONFIG.format(root=root, port=port)


def _nginx_config(root: Path, port: int, folder: Path) -> str:
    # Started by root, nginx would run its workers as another user, which can't read our folder.
    user = "" if os.geteuid() else f"user {pwd.getpwuid(0).pw_name};"
    return NGINX_CONFIG.format(
        user=user, workers=WORKERS, folder=folder, port=port, root=root.resolve()
    )
