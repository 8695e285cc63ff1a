"""skopeo, podman and buildah over storage, policy and home of the tests' own."""

from __future__ import annotations

from pathlib import Path

from tests.support.tools import require_root, require_tool, run

_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
_STORAGE = '[storage]\ndriver = "vfs"\ngraphroot = "{0}/graph"\nrunroot = "{0}/run"\n'
# Without these podman and buildah would write under /run, /etc and /dev/shm.
_SETTINGS = """[engine]
tmp_dir = "{0}/engine"
lock_type = "file"
events_logger = "none"
static_dir = "{0}/static"
volume_path = "{0}/volumes"
[network]
network_config_dir = "{0}/networks"
"""


class ContainersTools:
    """The programs of the containers project, over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tmp").mkdir(parents=True)
        (folder / "policy.json").write_text(_POLICY)
        (folder / "storage.conf").write_text(_STORAGE.format(folder))
        (folder / "registries.conf").write_text("")
        (folder / "containers.conf").write_text(_SETTINGS.format(folder))

    def skopeo(self, *arguments: str, timeout: float = 120) -> str:
        """Run `skopeo ARGUMENTS` and return its output."""
        program = require_tool("skopeo")
        policy = f"--policy={self._folder}/policy.json"
        return run([program, policy, *arguments], env=self._environment(), timeout=timeout).strip()

    def podman(self, *arguments: str) -> str:
        """Run `podman ARGUMENTS` and return its output."""
        require_root()
        command = [require_tool("podman"), "--cgroup-manager=cgroupfs", *arguments]
        return run(command, env=self._environment()).strip()

    def buildah(self, *arguments: str) -> str:
        """Run `buildah ARGUMENTS` and return its output."""
        require_root()
        return run([require_tool("buildah"), *arguments], env=self._environment()).strip()

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self._folder / "tmp"),
            "CONTAINERS_STORAGE_CONF": str(self._folder / "storage.conf"),
            "CONTAINERS_CONF": str(self._folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self._folder / "registries.conf"),
        }
