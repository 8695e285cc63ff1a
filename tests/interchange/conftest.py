"""This server and Debian's docker-registry, over the same folder or side by side."""

from __future__ import annotations

from tests.support.fixtures import client_folder, containers, docker

__all__ = ["client_folder", "containers", "docker"]
