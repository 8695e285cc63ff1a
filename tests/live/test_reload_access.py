"""What SIGHUP does to access: keys are reloaded, and a mistake admits no client."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.live.programs import run
from tests.live.reloads import ReloadedServer
from tests.live.transfers import until

pytestmark = pytest.mark.live

RULES = {"rules": [{"repositories": ["public/**"], "anonymous": True, "actions": ["pull"]}]}
LIST = "/v2/public/app/tags/list"


def bearer(server: ReloadedServer) -> dict[str, str]:
    """Get an anonymous token, and send it."""
    query = urlencode({"scope": "repository:public/app:pull"})
    answer = server.wire.request("GET", f"/auth/token?{query}")
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_key_that_was_replaced_is_trusted_no_more(tmp_path: Path, workers: int) -> None:
    """Although no word of the configuration has changed: the file has."""
    with ReloadedServer(tmp_path / "server", {"access": RULES}, workers) as server:
        shown = bearer(server)
        assert server.wire.request("GET", LIST, headers=shown).status == 404
        (server.root / "access/token-key.pem").unlink()
        server.reload({"access": RULES})
        assert server.wire.request("GET", LIST, headers=shown).status == 401
        assert server.wire.request("GET", LIST, headers=bearer(server)).status == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_rules_that_were_emptied_by_mistake_stay(tmp_path: Path, workers: int) -> None:
    """The last rule commented out is no rule less: the log says what is empty."""
    with ReloadedServer(tmp_path / "server", {"access": RULES}, workers) as server:
        server.config_file.write_text("version: 0.1\naccess:\n  rules:\n")
        server.hang_up()
        until(lambda: "access.rules is empty" in server.log, "the log said so")
        assert server.wire.request("POST", "/v2/evil/blobs/uploads/").status == 401
        assert server.wire.request("GET", LIST).status == 404


def test_robots_that_cannot_be_read_are_found_before_anything_starts(tmp_path: Path) -> None:
    """By `check` as by `serve`, in a line."""
    folder = tmp_path / "root/access"
    folder.mkdir(parents=True)
    (folder / "robots.json").write_text("{")
    (tmp_path / "config.yml").write_text("version: 0.1\naccess: {rules: []}\n")
    env = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "root"}
    for command in ("check", "serve"):
        done = run([command, "config.yml"], tmp_path, env)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "access control can't be set up: " in line
