"""What can be asked to become visible and durable, in a given order.

    publish(step, step, …)      a step is some changes, in no order among themselves

No change is visible, nor survives a power cut, before all changes of the steps before it are
durable, but for notes, which never are. So a link goes one step behind what it points to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Put:
    """Make `content` the content of a file: all or nothing for a reader."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """The same, for what a power cut may take away or damage: nothing waits for the disk.

    It is for what is found to be missing, and made anew.
    """

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Appear:
    """Have a folder appear in one instant with `files` in it, named relative to it.

    Nothing happens where there is something in such a folder already.
    """

    path: str
    files: Mapping[str, bytes]


Change: TypeAlias = Put | Note | Appear
Step: TypeAlias = tuple[Change, ...]
