"""A stand-in for the image that the Dockerfile starts from, made of Debian's packages.

The same Debian and the same version of Python as python:3.13-slim has, and what the Dockerfile
uses of it: `python` in the path, venv, CA certificates, and a pip, which it is to remove. The test
needs no image from another registry.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.image.packages import debian_mirror, proxies
from tests.support.engine import DockerEngine
from tests.support.servers import PROJECT
from tests.support.tools import require_tool, run

SUITE = "trixie"
PACKAGES = "ca-certificates,python3,python3-venv"

# What slim images leave out, and what a build has to write anew.
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt/archives")
_FINISH = """
ln -s /usr/bin/python3 /usr/local/bin/python
site=$(echo /usr/local/lib/python3*/dist-packages)
python -m zipfile -e /usr/share/python-wheels/pip-*.whl "$site"
python -m pip --version
"""


def base_name() -> str:
    """Return the name of the image that the Dockerfile starts from."""
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (PROJECT / "Dockerfile").read_text(), re.M)
    assert found is not None
    return found[1]


def import_base(docker: DockerEngine, folder: Path) -> None:
    """Make the stand-in in `folder`, import it under the base's name, and remove the folder."""
    root = folder / "base"
    bootstrap = [require_tool("debootstrap"), "--variant=minbase", f"--include={PACKAGES}"]
    run([*bootstrap, SUITE, str(root), *debian_mirror()], env=proxies(), timeout=480)
    run([require_tool("chroot"), str(root), "sh", "-euc", _FINISH])
    for path in _LEFT_OUT:
        shutil.rmtree(root / path)
        (root / path).mkdir()
    archive = folder / "base.tar"
    run([require_tool("tar"), "-C", str(root), "-cf", str(archive), "."])
    shutil.rmtree(root)
    docker("import", str(archive), base_name())
    archive.unlink()
