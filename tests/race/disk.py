"""The final check: what must exist does, and what nothing needs does not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from storage.drivers.filesystem.driver import FilesystemDriver
from tests.race.collectors import collect
from tests.race.contents import Manifest
from tests.race.courier import Courier
from tests.race.history import History
from tests.race.model import Model
from tests.race.pulling import Puller
from tests.storage.purging import purged
from tests.storage.soundness import assert_sound
from tests.support.tree import LAYOUT

# Folders age from when they became empty, so removing the last takes another collection.
_ROUNDS = 3
_PAUSE = 0.3


def final_check(root: Path, model: Model, history: History, grace: float, courier: Courier) -> None:
    """Collect and compare the disk with the model; then delete everything, and compare again.

    Nothing else changes the storage meanwhile, but the servers serve.
    """
    try:
        _over(root, _purge_uploads)
        _collect_all(root, history, grace, untagged=False)
        _pull_all(model, history, courier)
        model.forget_untagged()
        _collect_all(root, history, grace, untagged=True)
        _pull_all(model, history, courier)
        _hold_sound(root, history)
        _compare(root, model, history)
        _delete_all(courier, model)
        _collect_all(root, history, grace, untagged=True)
        _compare(root, model, history)
    finally:
        courier.close()


async def _purge_uploads(driver: FilesystemDriver) -> None:
    """End the sessions that killed servers left, which collections do not remove."""
    await purged(driver, 0.0)


def _collect_all(root: Path, history: History, grace: float, *, untagged: bool) -> None:
    for _ in range(_ROUNDS):
        time.sleep(max(grace, 1.0) + _PAUSE)
        ended = collect(root, grace, untagged=untagged)
        if ended.returncode:
            history.wrong("the end", f"a collection failed: {ended!r}", [])


def _pull_all(model: Model, history: History, courier: Courier) -> None:
    puller = Puller(courier, model, history)
    for repository in model.repositories:
        puller.listed(repository)
        for look in model.looks(repository):
            puller.pull(repository, look.tag)
        puller.untagged(repository)


def _over(root: Path, job: Callable[[FilesystemDriver], Awaitable[None]]) -> None:
    """Run an operation on the storage, as another process would."""
    asyncio.run(_closing(FilesystemDriver(root, threads=2), job))


async def _closing(
    driver: FilesystemDriver, job: Callable[[FilesystemDriver], Awaitable[None]]
) -> None:
    try:
        await job(driver)
    finally:
        await driver.close()


def _hold_sound(root: Path, history: History) -> None:
    try:
        _over(root, assert_sound)
    except Exception as error:
        history.wrong("the end", f"the storage is not sound: {error!r}", [])


def _delete_all(courier: Courier, model: Model) -> None:
    for repository in model.repositories:
        for look in model.looks(repository):
            if look.manifest:
                model.begin(repository, [look.tag])
                courier.send("DELETE", f"/v2/{repository}/manifests/{look.tag}")
                model.removed(repository, [look.tag])


# The disk against the model


def _compare(root: Path, model: Model, history: History) -> None:
    needed: set[str] = set()
    allowed: set[str] = set()
    for repository in model.repositories:
        for look in model.looks(repository):
            top = f"repositories/{repository}"
            if look.manifest is not None:
                needed.add(f"{top}/_manifests/tags/{look.tag}")  # stands for all in it
                # Folders and files that the next push or list of referrers would create again.
                allowed.update([f"{top}/_uploads/ (empty)", f"{top}/_referrers/scanned"])
            for held in look.needs:
                needed.update(_files_of(top, held.manifest))
            for manifest in look.may:
                allowed.update(_files_of(top, manifest))
    found = set(_found(root))
    for path in sorted(needed - found):
        history.wrong("the end", f"{path} is lost", _terms(path))
    for path in sorted(found - needed - allowed):
        history.wrong("the end", f"{path} was not given back", _terms(path))


def _files_of(top: str, manifest: Manifest) -> Iterator[str]:
    yield f"{top}/_manifests/revisions/{_below(manifest.digest)}/link"
    if manifest.subject is not None:
        subject = _below(manifest.subject.digest)
        for name in ("link", "descriptor"):
            yield f"{top}/_referrers/{subject}/{_below(manifest.digest)}/{name}"
    for blob in manifest.blobs:
        yield f"{top}/_layers/{_below(blob.digest)}/link"
    for digest in (manifest.digest, *(blob.digest for blob in manifest.blobs)):
        hex = digest.partition(":")[2]
        yield f"blobs/sha256/{hex[:2]}/{hex}/data"


def _below(digest: str) -> str:
    return digest.replace(":", "/")


def _found(root: Path) -> Iterator[str]:
    """Return every file and empty folder of the tree, and everything in the trash."""
    top = root / LAYOUT
    for folder, folders, files in os.walk(top):
        at = Path(folder).relative_to(top)
        if at.parent.name == "tags" and at.parts[0] == "repositories":
            folders.clear()
            yield at.as_posix()
            continue
        if not folders and not files and len(at.parts) > 1:
            yield f"{at.as_posix()}/ (empty)"
        yield from ((at / file).as_posix() for file in files)
    trash = root / ".trash"
    if trash.is_dir():
        yield from (f".trash/{one.name}" for one in trash.iterdir())


def _terms(path: str) -> list[str]:
    return [f"sha256:{part}" for part in path.split("/") if len(part) == 64] or [path]
