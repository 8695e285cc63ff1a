"""A second machine, as far as clients can tell: it has a network and an /etc of its own.

Docker takes any certificate, and none, on 127.0.0.0/8. Here is another address, and a place for its
certificates. Both are namespaces, and nothing is left of them when the last process in them ends.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.processes import Daemon
from tests.support.tools import require_namespaces, require_tool

ADDRESS = "198.51.100.7"  # RFC 5737: for documentation

_SET_UP = """
ip link set lo up
ip address add {address}/32 dev lo
mount -t tmpfs -o mode=0755 tmpfs {folder}/etc
cp -a /etc/. {folder}/etc
mount --bind {folder}/etc /etc
echo It is ready.
exec sleep infinity
"""


class Machine:
    """Where ADDRESS is reached; `inside` puts a command there."""

    def __init__(self, folder: Path) -> None:
        require_namespaces()
        self._enter = require_tool("nsenter")
        require_tool("ip")
        (folder / "etc").mkdir(parents=True)
        script = _SET_UP.format(address=ADDRESS, folder=folder)
        command = [require_tool("unshare"), "--net", "--mount", "sh", "-ec", script]
        self._process = Daemon(command, folder / "machine.log", b"It is ready.")

    def inside(self, *command: str) -> list[str]:
        """Return the command that does the same in there, in the root folder."""
        spaces = f"/proc/{self._process.pid}/ns"
        return [self._enter, f"--net={spaces}/net", f"--mount={spaces}/mnt", "--", *command]

    @property
    def etc(self) -> Path:
        """Its /etc, seen from here."""
        return Path(f"/proc/{self._process.pid}/root/etc")

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stop()
