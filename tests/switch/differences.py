"""The reviewed differences: comparing them with the observed ones, and regenerating them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import yaml

from tests.switch.observations import Both, Observed

FILE = Path(__file__).parent / "differences.yaml"
EVERYWHERE = "everywhere"
ABSENT = "absent"
STATUS = "status"
SERVES = "serves"
# A difference in more cases than these applies everywhere, and is one entry.
MANY_CONFIGURATIONS = 12
MANY_QUESTIONS = 9


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A fact of a response that differs, in one configuration."""

    configuration: str
    question: str
    fact: str
    theirs: str
    ours: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An accepted difference, where it applies, and why."""

    questions: tuple[str, ...]
    fact: str
    theirs: str
    ours: str
    configurations: tuple[str, ...]
    reason: str = ""
    """Empty until a person has looked at it."""

    def covers(self, observed: Difference) -> bool:
        """Tell whether this entry covers an observed difference."""
        return (
            (self.fact, self.theirs, self.ours) == (observed.fact, observed.theirs, observed.ours)
            and _among(observed.question, self.questions)
            and _among(observed.configuration, self.configurations)
        )

    def shrunk(self, observed: Iterable[Difference]) -> Reviewed | None:
        """Return the part of this entry that was observed, or None."""
        matching = [item for item in observed if self.covers(item)]
        questions = _at_most(MANY_QUESTIONS, {item.question for item in matching})
        configurations = _at_most(MANY_CONFIGURATIONS, {item.configuration for item in matching})
        return (
            replace(self, questions=questions, configurations=configurations) if matching else None
        )


@dataclass(slots=True)
class Comparison:
    """Observed differences without a review, and reviewed ones that were not observed."""

    new: list[Difference] = field(default_factory=list)
    obsolete: list[Reviewed] = field(default_factory=list)


def differences(observed: Mapping[str, Both]) -> Iterator[Difference]:
    """Yield every fact that differs."""
    for name, (theirs, ours) in observed.items():
        # If one of them refuses to start, there is nothing else to compare.
        questions = [question for question in theirs if question in ours]
        for question in questions:
            yield from _of(name, question, theirs, ours)


def compare(observed: Iterable[Difference], reviewed: Iterable[Reviewed]) -> Comparison:
    """Compare observed differences with the reviewed ones."""
    observed, reviewed = list(observed), list(reviewed)
    new = [item for item in observed if not any(entry.covers(item) for entry in reviewed)]
    obsolete = [entry for entry in reviewed if entry.shrunk(observed) != entry]
    return Comparison(new, obsolete)


def regenerate(observed: Iterable[Difference], reviewed: Iterable[Reviewed]) -> list[Reviewed]:
    """Return the entries that still apply, then those for new differences."""
    observed, reviewed = list(observed), list(reviewed)
    kept = [still for entry in reviewed if (still := entry.shrunk(observed)) is not None]
    return kept + list(_entries(compare(observed, reviewed).new))


def load(path: Path = FILE) -> list[Reviewed]:
    """Read the reviewed differences."""
    if not path.exists():
        return []
    return [_entry(raw) for raw in yaml.safe_load(path.read_text()) or []]


def save(entries: Iterable[Reviewed], path: Path = FILE) -> None:
    """Write the reviewed differences."""
    head = "# Written by `python -m tests.switch`; the reasons are written by hand.\n"
    written = [_mapping(entry) for entry in entries]
    text = yaml.safe_dump(written, sort_keys=False, width=96, allow_unicode=True)
    path.write_text(head + text.replace("\n- ", "\n\n- "))


def _of(name: str, question: str, theirs: Observed, ours: Observed) -> Iterator[Difference]:
    for fact in _compared(theirs[question], ours[question]):
        pair = theirs[question].get(fact, ABSENT), ours[question].get(fact, ABSENT)
        if pair[0] != pair[1]:
            yield Difference(name, question, fact, *pair)


def _compared(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Return the facts to compare; if the statuses differ, only these."""
    if theirs.get(STATUS) != ours.get(STATUS):
        return [STATUS]
    return sorted(theirs.keys() | ours.keys())


def _entries(new: Iterable[Difference]) -> Iterator[Reviewed]:
    """Yield entries for new differences; if only one server starts, one for each file."""

    def key(item: Difference) -> tuple[str, ...]:
        alone = SERVES in (item.theirs, item.ours)
        return item.fact, item.theirs, item.ours, item.configuration if alone else ""

    for (fact, theirs, ours, _), group in groupby(sorted(new, key=key), key):
        matching = list(group)
        questions = _at_most(MANY_QUESTIONS, {item.question for item in matching})
        configurations = _at_most(MANY_CONFIGURATIONS, {item.configuration for item in matching})
        yield Reviewed(questions, fact, theirs, ours, configurations)


def _at_most(number: int, names: set[str]) -> tuple[str, ...]:
    return (EVERYWHERE,) if len(names) > number else tuple(sorted(names))


def _among(name: str, names: tuple[str, ...]) -> bool:
    return names == (EVERYWHERE,) or name in names


def _entry(raw: Mapping[str, object]) -> Reviewed:
    texts = {name: str(raw[name]) for name in ("fact", "theirs", "ours", "reason")}
    return Reviewed(
        questions=_names(raw["questions"]), configurations=_names(raw["configurations"]), **texts
    )


def _names(raw: object) -> tuple[str, ...]:
    return tuple(map(str, raw)) if isinstance(raw, list) else (str(raw),)


def _mapping(entry: Reviewed) -> dict[str, object]:
    return {
        "questions": _plain(entry.questions),
        "fact": entry.fact,
        "theirs": entry.theirs,
        "ours": entry.ours,
        "configurations": _plain(entry.configurations),
        "reason": entry.reason,
    }


def _plain(names: tuple[str, ...]) -> object:
    return names[0] if len(names) == 1 else list(names)
