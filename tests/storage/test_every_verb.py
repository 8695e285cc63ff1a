"""Every method of every protocol is classified as reading, writing or deleting, for each mode.

The methods are read from the protocols, so a method that is added without a decision fails here.
Another registry forgot its setting on one of the ways to delete (CVE-2026-41888).
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from enum import Enum
from typing import Any, get_type_hints

import pytest

from storage import interfaces
from storage.errors import OperationDisabled, StorageError
from storage.interfaces import Registry, Visible
from storage.repository.modes import ReadOnlyRegistry, UndeletableRegistry
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.manifests import Manifest, parse_manifest
from storage.values.names import Reference, RepositoryName, Tag, UploadId
from tests.storage.content import APP, LAYER, OTHER, begin, image, push_blob, push_image, raw
from tests.storage.wrappers import RecordingDriver
from tests.support.drivers import AnyDriver


class Kind(Enum):
    """What a method does."""

    READS = "reads"
    WRITES = "writes"
    DELETES = "deletes"


# What `Repository` and `Registry` lead to, by the attribute; a session and an open blob are had
# from `open` alone, which is decided on here.
PARTS = {
    "Registry": "",
    "Blobs": "blobs",
    "Manifests": "manifests",
    "Tags": "tags",
    "Uploads": "uploads",
    "Referrers": "referrers",
}
BEHIND_OPEN = {"Blob", "Upload"}
DECISIONS = {
    ("Registry", "repository"): Kind.READS,
    ("Registry", "catalog"): Kind.READS,
    ("Registry", "holders"): Kind.READS,
    ("Registry", "remove"): Kind.DELETES,
    ("Blobs", "size"): Kind.READS,
    ("Blobs", "open"): Kind.READS,
    ("Blobs", "locate"): Kind.READS,
    ("Blobs", "mount"): Kind.WRITES,
    ("Blobs", "delete"): Kind.DELETES,
    ("Manifests", "get"): Kind.READS,
    ("Manifests", "put"): Kind.WRITES,
    ("Manifests", "delete"): Kind.DELETES,
    ("Tags", "page"): Kind.READS,
    ("Tags", "delete"): Kind.DELETES,
    ("Uploads", "start"): Kind.WRITES,
    ("Uploads", "length"): Kind.READS,
    ("Uploads", "open"): Kind.WRITES,
    # An upload is not content yet: it can be cancelled where deleting is disabled.
    ("Uploads", "cancel"): Kind.WRITES,
    ("Referrers", "page"): Kind.READS,
}
REFUSED: dict[type[UndeletableRegistry], set[Kind]] = {
    UndeletableRegistry: {Kind.DELETES},
    ReadOnlyRegistry: {Kind.DELETES, Kind.WRITES},
}
DIGEST = Digest.of(raw(image()))


def protocols() -> Iterator[type]:
    """Yield every protocol that the interfaces define."""
    for one in vars(interfaces).values():
        is_ours = inspect.isclass(one) and one.__module__ == interfaces.__name__
        if is_ours and getattr(one, "_is_protocol", False):
            yield one


def methods(protocol: type) -> set[str]:
    """Return the public methods of a protocol."""
    return {
        name
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


def test_every_method_is_classified() -> None:
    """The table has every method of every protocol, and no other."""
    found = {
        (one.__name__, method)
        for one in protocols()
        if one.__name__ not in BEHIND_OPEN
        for method in methods(one)
    }
    assert found == set(DECISIONS)
    assert {one.__name__ for one in protocols()} == {*PARTS, *BEHIND_OPEN, "Repository"}
    parts = get_type_hints(interfaces.Repository)
    assert parts == {}, "parts are properties"
    reached = {
        get_type_hints(value.fget)["return"].__name__
        for value in vars(interfaces.Repository).values()
        if isinstance(value, property)
    }
    assert reached == {*PARTS, "RepositoryName"} - {"Registry"}


def _arguments(protocol: str, method: str, id: UploadId) -> dict[str, Any]:
    """Make an argument of each type that a method takes."""
    examples: dict[object, Any] = {
        Hashable: "a caller",
        Digest: DIGEST if protocol == "Manifests" else Digest.of(LAYER),
        Reference: Tag("v1"),
        RepositoryName: OTHER if method == "mount" else APP,
        Tag: Tag("v1"),
        tuple[Tag, ...]: (Tag("v2"),),
        UploadId: id,
        Manifest: parse_manifest(raw(image())),
        str: "sha256" if method == "start" else "",
        str | None: None,
        int: 10,
        int | None: 10,
        bool: True,
        Visible | None: None,
    }
    hints = get_type_hints(getattr(getattr(interfaces, protocol), method))
    return {name: examples[hint] for name, hint in hints.items() if name != "return"}


async def _attempt(registry: Registry, protocol: str, method: str, id: UploadId) -> None:
    """Call a method of a registry, or of a part of APP in it."""
    part = PARTS[protocol]
    target = getattr(registry.repository(APP), part) if part else registry
    made = getattr(target, method)(**_arguments(protocol, method, id))
    if inspect.isawaitable(made):
        made = await made
    if isinstance(made, AbstractAsyncContextManager):
        async with made:
            pass
    elif hasattr(made, "close"):
        await made.close()


async def _prepare(driver: AnyDriver) -> tuple[RecordingDriver, StoredRegistry, UploadId]:
    recording = RecordingDriver(driver)
    registry = StoredRegistry(recording)
    await push_image(registry.repository(APP), "v1")
    await push_blob(registry.repository(OTHER), LAYER)
    id = await begin(registry.repository(APP), b"begun")
    recording.changes.clear()
    return recording, registry, id


@pytest.mark.parametrize("mode", REFUSED)
@pytest.mark.parametrize(("protocol", "method"), DECISIONS)
async def test_every_mode_refuses_what_it_must(
    driver: AnyDriver, mode: type[UndeletableRegistry], protocol: str, method: str
) -> None:
    """A refused call changes nothing; all other calls work."""
    recording, registry, id = await _prepare(driver)
    if DECISIONS[protocol, method] in REFUSED[mode]:
        with pytest.raises(OperationDisabled):
            await _attempt(mode(registry), protocol, method, id)
        assert recording.changes == []
    else:
        await _attempt(mode(registry), protocol, method, id)


@pytest.mark.parametrize(("protocol", "method"), DECISIONS)
async def test_what_is_called_deleting_deletes(
    driver: AnyDriver, protocol: str, method: str
) -> None:
    """Without a mode: the table is right about which calls end a membership."""
    recording, registry, id = await _prepare(driver)
    with suppress(StorageError):
        await _attempt(registry, protocol, method, id)
    gone = {one.path for one in recording.changes if one.kind == "delete"}
    kind = DECISIONS[protocol, method]
    assert bool(gone) == (kind is Kind.DELETES)
    if kind is Kind.READS:
        assert recording.changes == []
