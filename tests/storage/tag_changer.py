"""Another program on the same volume: it changes tags as standard input tells it.

Tests run it as a script with the folder of tags; it shares no code with the project. Each line is
one change, `<how> <tag>`, and is answered when the change is complete.
"""

import os
import shutil
import sys


def add(folder: str) -> None:
    """Create a tag piece by piece, as CNCF distribution does."""
    os.makedirs(f"{folder}/current")
    with open(f"{folder}/current/link", "w") as link:
        link.write("sha256:" + "0" * 64)


def appear(folder: str) -> None:
    """Create a tag elsewhere and move it into place."""
    aside = f"{os.path.dirname(folder)}-{os.getpid()}"
    add(aside)
    os.rename(aside, folder)


def remove(folder: str) -> None:
    """Remove a tag piece by piece."""
    shutil.rmtree(folder)


def vanish(folder: str) -> None:
    """Move a tag away, then remove it."""
    aside = f"{os.path.dirname(folder)}-{os.getpid()}"
    os.rename(folder, aside)
    shutil.rmtree(aside)


def spoil(folder: str) -> None:
    """Put a regular file in the place of a tag."""
    vanish(folder)
    with open(folder, "w"):
        pass


def mend(folder: str) -> None:
    """Put a tag in the place of a regular file."""
    os.unlink(folder)
    appear(folder)


CHANGES = {change.__name__: change for change in (add, appear, remove, vanish, spoil, mend)}


def main() -> None:
    """Answer each line."""
    for line in sys.stdin:
        how, tag = line.split()
        CHANGES[how](f"{sys.argv[1]}/{tag}")
        print("done", flush=True)


if __name__ == "__main__":
    main()
