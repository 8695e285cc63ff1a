"""The registry's command on a disk that stalls: some changes exceed the grace period.

    python -m tests.race.stalling serve ...

The stall comes between the check of what a manifest or a mount relies on and the change itself,
where a collection has to wait for it. RACE_STALL is its length in seconds.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence

from registry_server.cli import main
from storage.drivers.filesystem import durable
from storage.drivers.filesystem.prepared import Prepared, StagedRename

STALL = "RACE_STALL"
_SHARE = 0.1

_publish = durable.Disk.publish


def _stalling(
    self: durable.Disk,
    steps: Sequence[Sequence[Prepared]],
    check: Callable[[], object] | None = None,
) -> list[str]:
    is_upload = any(isinstance(one, StagedRename) for step in steps for one in step)
    if check is None or is_upload or random.random() >= _SHARE:
        return _publish(self, steps, check)

    def slow() -> None:
        check()
        time.sleep(float(os.environ[STALL]))

    return _publish(self, steps, slow)


if __name__ == "__main__":
    durable.Disk.publish = _stalling  # type: ignore[method-assign]
    main()
