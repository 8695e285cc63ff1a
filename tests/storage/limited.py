"""Repositories with limits, and their usage, counted in another way than the quota does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from storage.drivers.base import Driver, Reader
from storage.errors import PathNotFound
from storage.repository.quotas import LimitedRegistry, Limits
from storage.repository.quotas.members import PartCache
from storage.repository.quotas.usage import read_usage
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import OCI_INDEX
from storage.values.names import RepositoryName, UploadId


def limited(driver: Driver, size: int = 0, uploads: int = 0) -> LimitedRegistry:
    """Open a registry in which every repository has the same limits."""
    return LimitedRegistry(StoredRegistry(driver), driver, lambda _: Limits(size, uploads))


async def on_disk(driver: Driver, name: RepositoryName) -> int:
    """Count the bytes of members, each once, and of sessions."""

    def job(reader: Reader) -> tuple[int, list[str]]:
        sizes = {path: info.size for path in _members(reader, name) if (info := reader.stat(path))}
        return sum(sizes.values()), reader.names(paths.uploads(name))

    # Members first: what a session becomes meanwhile is then not counted, rather than twice.
    members, ids = await driver.batch(job)
    staged = 0
    for id in ids:
        with suppress(PathNotFound):
            staged += await driver.staging.length(paths.upload_data(name, UploadId.parse(id)))
    return members + staged


def _members(reader: Reader, name: RepositoryName) -> Iterator[str]:
    for folder in (paths.layers(name), paths.revisions(name)):
        for hex in reader.names(f"{folder}/sha256"):
            if reader.stat(f"{folder}/sha256/{hex}/link"):
                yield paths.blob(Digest.parse(f"sha256:{hex}"))


async def counted(driver: Driver, name: RepositoryName) -> int:
    """Return the usage as the quota counts it, with reservations."""
    return (await read_usage(driver, name, PartCache())).total_without(None)


def document(number: int) -> dict[str, object]:
    """Make a manifest without references, a different one for each number."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
        "annotations": {"number": f"{number:03}"},
    }
