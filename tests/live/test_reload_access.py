"""SIGHUP and access control: keys are reloaded, and a mistake lets no caller in."""

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
    """Return the header with an anonymous token."""
    query = urlencode({"scope": "repository:public/app:pull"})
    answer = server.wire.request("GET", f"/auth/token?{query}")
    return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_replaced_key_is_no_longer_trusted(tmp_path: Path, workers: int) -> None:
    """The configuration is unchanged; the content of the file is not."""
    with ReloadedServer(tmp_path / "server", {"access": RULES}, workers) as server:
        shown = bearer(server)
        assert server.wire.request("GET", LIST, headers=shown).status == 404
        (server.root / "access/token-key.pem").unlink()
        server.reload({"access": RULES})
        assert server.wire.request("GET", LIST, headers=shown).status == 401
        assert server.wire.request("GET", LIST, headers=bearer(server)).status == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_rules_that_were_emptied_by_mistake_stay_in_force(tmp_path: Path, workers: int) -> None:
    """If the last rule is commented out, the log names the empty key."""
    with ReloadedServer(tmp_path / "server", {"access": RULES}, workers) as server:
        server.config_file.write_text("version: 0.1\naccess:\n  rules:\n")
        server.hang_up()
        until(lambda: "access.rules is empty" in server.log, "the log said so")
        assert server.wire.request("POST", "/v2/evil/blobs/uploads/").status == 401
        assert server.wire.request("GET", LIST).status == 404


def test_unreadable_robots_are_found_before_the_start(tmp_path: Path) -> None:
    """By `check` and by `serve`, in one line."""
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
