"""What the filesystem driver promised survives a power failure: its system calls show it.

A process does the work of a registry under strace, and a model of the disk reads its system calls:
the bytes of a file are durable after an fsync of it, the name of an entry after an fsync of its
folder. Whenever the process reports that something is done, all of it must be durable.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.values.paths import TRASH
from tests.support.tools import require_tool, run
from tests.support.volumes import mounted_apart

pytestmark = [pytest.mark.faults, pytest.mark.disk]

PROJECT = Path(__file__).resolve().parents[2]
CALLS = (
    "openat,?open,?creat,?mkdir,mkdirat,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,"
    "fsync,fdatasync,write,pwrite64,ftruncate"
)

# Says "done <path>" for what must be there after a power cut, "gone <path>" for what must not.
PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from storage.values import paths
from storage.values.digest import Digest
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.values.names import Tag
from storage.repository.registry import StoredRegistry
from storage.content.upload_store import WORTH_A_STATE
from tests.storage.content import *

async def work(root, sync):
    driver = FilesystemDriver(root, sync=sync, threads=2)
    registry = StoredRegistry(driver)
    app, other = registry.repository(APP), registry.repository(OTHER)

    def say(word, *relative):
        for path in relative:
            os.write(1, f"{word} {root}/{path}\\n".encode())

    large = b"x" * WORTH_A_STATE
    id = await begin(app, large, large)
    say("held", paths.upload_data(APP, id), paths.upload_state(APP, id, "sha256", 2 * len(large)))
    await append(app, id, b"a little more")
    await finish(app, id, Digest.of(2 * large + b"a little more"))
    say("done", paths.blob(Digest.of(2 * large + b"a little more")))
    layer, config = Digest.of(LAYER), Digest.of(CONFIG)
    await finish(app, await begin(app, LAYER[:100], LAYER[100:]), layer)
    say("done", paths.blob(layer), paths.layer_link(APP, layer))
    await push_blob(app, CONFIG)
    say("done", paths.blob(config), paths.layer_link(APP, config))
    for digest in (layer, config):
        await other.blobs.mount(digest, APP)
        say("done", paths.layer_link(OTHER, digest))
    base = await push_manifest(app, image(), "v1", "v2")
    say("done", paths.blob(base), paths.revision_link(APP, base))
    say("done", *(paths.tag_current_link(APP, Tag(tag)) for tag in ("v1", "v2")))
    subject = entry(raw(image()))
    made = await push_manifest(app, image(subject=subject), "v2", "v3")
    say("done", paths.blob(made), paths.revision_link(APP, made))
    say("done", paths.tag_index_link(APP, Tag("v2"), made))
    say("done", *(paths.tag_current_link(APP, Tag(tag)) for tag in ("v2", "v3")))
    await app.tags.delete(Tag("v2"))
    say("gone", paths.tag(APP, Tag("v2")))
    await app.manifests.delete(made)
    say("gone", paths.revision_link(APP, made), paths.referrer_link(APP, base, made))
    say("gone", paths.tag(APP, Tag("v3")))
    await app.blobs.delete(config)
    say("gone", paths.layer_link(APP, config))
    again = await push_manifest(other, image(), "v1")
    say("done", paths.revision_link(OTHER, again), paths.tag_current_link(OTHER, Tag("v1")))
    await driver.close()
    os.write(1, b"end\\n")

asyncio.run(work(Path(sys.argv[1]), sys.argv[2] == "sync"))
"""

_LINE = re.compile(r"(?:\d+ +)?(?P<call>\w+)\((?P<rest>.*)\) += (?P<result>-?\d+).*")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")


@dataclass
class Disk:
    """Which changes of a process would survive a power failure now."""

    root: str
    durable: set[str] = field(default_factory=set)
    """The folder entries that an fsync of their folder made durable."""
    removed: set[str] = field(default_factory=set)
    """The folder entries that went, and whose folder was not synced since."""
    written: set[str] = field(default_factory=set)
    """The files with bytes that were not synced since."""
    seen: set[str] = field(default_factory=set)
    """The folder entries that are there."""
    faults: list[str] = field(default_factory=list)
    syncs: int = 0
    said: int = 0

    def call(self, name: str, paths: list[str], descriptor: str, *, creates: bool) -> None:
        """Apply a successful system call."""
        if name in {"fsync", "fdatasync"}:
            self._sync(descriptor)
        elif name in {"write", "pwrite64", "ftruncate"}:
            self.written.add(descriptor)
        elif name.startswith("rename"):
            self._rename(*paths)
        elif name.startswith(("mkdir", "creat")) or (name.startswith("open") and creates):
            self._come(paths[0])
        elif name.startswith(("unlink", "rmdir")):
            self._go(paths[0])

    def say(self, word: str, path: str) -> None:
        """Check a report of the process against what is durable."""
        self.said += 1
        if word == "done":
            self.faults += self._lacking(path, f"{path} was promised")
        elif word == "held":
            if path.endswith("/data") and path in self.written:
                self.faults.append(f"{path} has bytes that were not synced")
        elif self._may_be_back(path):
            self.faults.append(f"{path} would be back")

    def _may_be_back(self, path: str) -> bool:
        """Return whether an entry may be restored: its removal, or a parent's, was not synced."""
        while path != self.root:
            if path not in self.seen and path not in self.removed:
                return False
            path = path.rpartition("/")[0]
        return True

    def _sync(self, path: str) -> None:
        self.syncs += 1
        self.written.discard(path)
        self.durable |= {entry for entry in self.seen if entry.rpartition("/")[0] == path}
        self.removed = {entry for entry in self.removed if entry.rpartition("/")[0] != path}

    def _come(self, path: str) -> None:
        if path not in self.seen:
            self.seen.add(path)
            self.durable.discard(path)
        self.removed.discard(path)

    def _go(self, path: str) -> None:
        below = {entry for entry in self.seen if entry == path or entry.startswith(f"{path}/")}
        self.seen -= below
        self.durable -= below
        self.written -= below
        self.removed.add(path)

    def _rename(self, source: str, target: str) -> None:
        below = sorted(entry for entry in self.seen if entry.startswith(f"{source}/"))
        for entry in below:
            self._carry(entry, target + entry.removeprefix(source))
        if target.endswith("/link"):
            self._link_comes(target)
        if "/hashstates/" in target and self._data_of(target) in self.written:
            self.faults.append(f"{target} vouches for bytes that were not synced")
        unsynced = source in self.written
        self._go(source)
        self._come(target)
        self.durable.discard(target)
        self.written.discard(target)
        if unsynced:
            self.written.add(target)

    def _carry(self, source: str, target: str) -> None:
        """Move the content of a renamed folder; it stays durable, or not."""
        if target.endswith("/link") and "/.trash/" not in target:
            self._link_comes(target)
        self.seen.add(target)
        for known in (self.durable, self.written):
            if source in known:
                known.add(target)
        if source not in self.durable:
            self.durable.discard(target)

    def _link_comes(self, link: str) -> None:
        """Check that the target of a link is durable before readers can see the link."""
        if match := re.search(r"/(sha\d+)/(\w+)/link$", link):
            algorithm, hex = match.groups()
            blob = f"{self.root}/docker/registry/v2/blobs/{algorithm}/{hex[:2]}/{hex}/data"
            self.faults += self._lacking(blob, f"{link} points to {blob}")

    def _lacking(self, path: str, claim: str) -> list[str]:
        lacking = [f"{claim}: its bytes were not synced"] if path in self.written else []
        while path != self.root:
            if path not in self.durable:
                lacking.append(f"{claim}: the entry {path} is not durable")
            path = path.rpartition("/")[0]
        return lacking

    @staticmethod
    def _data_of(state: str) -> str:
        return state.partition("/hashstates/")[0] + "/data"


def _replay(trace: str, root: str) -> Disk:
    disk = Disk(root)
    for line in _joined(trace.splitlines()):
        parsed = _LINE.fullmatch(line)
        if parsed is None or int(parsed["result"]) < 0:
            continue
        strings, rest = _STRING.findall(parsed["rest"]), parsed["rest"]
        described = _DESCRIPTOR.match(rest)
        descriptor = described[1] if described else ""
        if (
            parsed["call"] == "write"
            and strings
            and strings[0].startswith(("done", "held", "gone"))
        ):
            word, _, path = strings[0].removesuffix("\\n").partition(" ")
            disk.say(word, path)
        elif descriptor.startswith(root) or any(path.startswith(root) for path in strings):
            disk.call(parsed["call"], strings, descriptor, creates="O_CREAT" in rest)
    return disk


def _joined(lines: list[str]) -> list[str]:
    """Join the two halves of a call, which strace prints apart when threads interleave."""
    whole, begun = [], {}
    for line in lines:
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>").rstrip()
        elif " resumed>" in line:
            whole.append(begun.pop(thread) + line.partition(" resumed>")[2])
        else:
            whole.append(line)
    return whole


def _trace(tmp_path: Path, mode: str, apart: str = "") -> Disk:
    """Do the work under strace; `apart` is a folder of the root that is to be a mount."""
    root = tmp_path / "root"
    root.mkdir()
    log = tmp_path / "trace"
    strace = [require_tool("strace"), "-f", "-y", "-s", "1000", "-e", f"trace={CALLS}"]
    command = [*strace, "-o", str(log), sys.executable, "-c", PROGRAM, str(root), mode]
    if apart:
        (root / apart).mkdir()
        command = mounted_apart(command, root / apart)
    printed = run(command, env={"PYTHONPATH": str(PROJECT)})
    assert printed.endswith("end\n")
    return _replay(log.read_text(), str(root))


def test_what_was_promised_survives(tmp_path: Path) -> None:
    """Every promise was durable, entry by entry, and every link was written after its target."""
    disk = _trace(tmp_path, "sync")
    assert disk.said == 25
    assert disk.syncs > 50
    assert not disk.faults, "\n".join(disk.faults)


def test_what_was_promised_survives_where_the_trash_is_apart(tmp_path: Path) -> None:
    """Nor is anything lost if nothing can be renamed between the tree and the trash."""
    disk = _trace(tmp_path, "sync", TRASH)
    assert disk.said == 25
    assert not disk.faults, "\n".join(disk.faults)


def test_a_scratch_registry_syncs_nothing(tmp_path: Path) -> None:
    """With fsync off there is none at all, and the model reports that nothing is durable."""
    disk = _trace(tmp_path, "scratch")
    assert disk.said == 25
    assert disk.syncs == 0
    assert any("the entry" in fault for fault in disk.faults)
    assert any("would be back" in fault for fault in disk.faults)


@pytest.mark.parametrize("skipped", ["file", "folder", "parent"])
def test_the_model_notices_a_missing_sync(skipped: str) -> None:
    """A recipe that leaves out any one of its fsyncs is a fault."""
    lines = [
        ('mkdir("/r/a", 0755)', "0", ""),
        ("fsync(3</r>)", "0", "parent"),
        ('openat(AT_FDCWD, "/r/a/.tmp", O_WRONLY|O_CREAT, 0644)', "3</r/a/.tmp>", ""),
        ('pwrite64(3</r/a/.tmp>, "x", 1, 0)', "1", ""),
        ("fsync(3</r/a/.tmp>)", "0", "file"),
        ('rename("/r/a/.tmp", "/r/a/f")', "0", ""),
        ("fsync(3</r/a>)", "0", "folder"),
        ('write(1</t>, "done /r/a/f\\n", 12)', "12", ""),
    ]

    def replay(without: str) -> list[str]:
        trace = [f"7 {call} = {result}" for call, result, step in lines if step != without]
        return _replay("\n".join(trace), "/r").faults

    assert replay("none") == []
    assert len(replay(skipped)) == 1
