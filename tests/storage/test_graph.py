"""Which manifests are kept and why, and their components: compared with a walk in memory."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.dependencies import Dependencies
from storage.maintenance.garbage.mark.removal_order import (
    Pair,
    RemovalUnit,
    reachable,
    removal_order,
    successors,
)
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag

APP = RepositoryName("app")
# Of two algorithms, sorted by their text.
DIGESTS = tuple(
    sorted(
        (Digest.of(b"%d" % one, alg) for one in range(6) for alg in ("sha256", "sha512")), key=str
    )
)
DIGEST = st.sampled_from(DIGESTS)
# Lists may name a digest twice, or one that is not a member; subjects may form cycles with lists.
NEEDS = st.builds(
    lambda children, subject: Dependencies(tuple(children), tuple(children), subject),
    st.lists(DIGEST, max_size=3),
    st.none() | DIGEST,
)
MANIFESTS = st.dictionaries(DIGEST, NEEDS, max_size=len(DIGESTS))
TAG = st.sampled_from(("a", "a-b", "a.b", "v1", "v10", "v2")).map(Tag)
# A tag whose link is damaged points to its whole history.
TAGS = st.dictionaries(TAG, st.sets(DIGEST, min_size=1, max_size=2), max_size=4)


@dataclass(slots=True)
class Walk:
    """The graph of a repository in memory."""

    needs: Mapping[Digest, Dependencies]
    referrers: Mapping[Digest, list[Digest]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for digest in sorted(self.needs, key=str):
            subject = self.needs[digest].subject
            if subject is not None:
                self.referrers[subject].append(digest)

    def below(self, digest: Digest) -> Iterator[tuple[Digest, str]]:
        """Yield the members that are kept if `digest` is, and why."""
        for child in self.needs[digest].children:
            if child in self.needs:
                yield child, f"listed by {digest}"
        for referrer in self.referrers.get(digest, ()):
            yield referrer, f"refers to {digest}"

    def kept(self, *roots: Iterable[tuple[Digest, str]]) -> dict[Digest, str]:
        """Return what is kept, with the reason of the first root and the shortest way."""
        kept: dict[Digest, str] = {}
        for some in roots:
            queue = deque(root for root in some if root[0] in self.needs)
            while queue:
                digest, reason = queue.popleft()
                if digest not in kept:
                    kept[digest] = reason
                    queue.extend(self.below(digest))
        return kept

    def components(
        self, unmarked: Sequence[Digest]
    ) -> Iterator[tuple[list[RemovalUnit], set[Pair]]]:
        """Yield the units of each component in their order, and its pairs."""
        pairs = [(up, low) for up in unmarked for low, _ in self.below(up) if low in unmarked]
        neighbours = successors((*pairs, *((low, up) for up, low in pairs)))
        seen: set[Digest] = set()
        for digest in unmarked:
            if digest not in seen:
                members = reachable((digest,), neighbours)
                seen |= members
                children = {member: self.needs[member].children for member in members}
                inner = [pair for pair in pairs if pair[0] in members]
                yield list(removal_order(sorted(members, key=str), children, inner)), set(inner)


def fill(
    database: CollectionDatabase, needs: Mapping[Digest, Dependencies], tags: dict[Tag, set[Digest]]
) -> None:
    """Fill the graph of a database, in no particular order."""
    for tag in reversed(tags):
        for digest in sorted(tags[tag], key=str, reverse=True):
            database.graph.add_root(tag, digest, f"tag {tag}")
    for digest, its_needs in needs.items():
        database.graph.add(digest, its_needs)
    database.graph.keep_tagged()


def roots(tags: Mapping[Tag, set[Digest]]) -> Iterator[tuple[Digest, str]]:
    """Yield what tags point to, in order."""
    for tag in sorted(tags):
        for digest in sorted(tags[tag], key=str):
            yield digest, f"tag {tag}"


def outcome(
    database: CollectionDatabase,
) -> tuple[dict[Digest, str], list[tuple[list[RemovalUnit], set[Pair]]]]:
    """Return the kept manifests with their reasons, and the components to be removed."""
    mark(database, APP)
    marked = [mark for mark in database.marks.marked() if mark.kind == "manifest"]
    components = database.candidates.components(0, 1000)
    removed = [(list(component.units), set(component.retains)) for component in components]
    return {mark.digest: mark.reason for mark in marked if mark.digest and mark.reason}, removed


def mark(database: CollectionDatabase, name: RepositoryName) -> None:
    """Record what is kept of a repository and what is to be removed."""
    repository = database.marks.number_of(name)
    database.marks.add_kept(repository)
    database.components.mark_for_removal(repository)
    database.graph.clear()


@given(needs=MANIFESTS, tags=TAGS, young=st.sets(DIGEST))
def test_marks_and_components_equal_those_of_a_walk_in_memory(
    needs: dict[Digest, Dependencies], tags: dict[Tag, set[Digest]], young: set[Digest]
) -> None:
    """Reasons, components and removal order equal those of a walk over dictionaries."""
    database, walk = CollectionDatabase(), Walk(needs)
    database.blobs.add(SurveyedBlob(one, 1, 1, one not in young) for one in DIGESTS)
    fill(database, needs, tags)
    database.graph.keep_young("young")
    kept, components = outcome(database)
    members = sorted(needs, key=str)
    expected = walk.kept(roots(tags), ((one, "young") for one in members if one in young))
    assert kept == expected
    unmarked = [one for one in members if one not in expected]
    assert sorted(components, key=str) == sorted(walk.components(unmarked), key=str)
    database.close()


@given(needs=MANIFESTS, tags=TAGS)
def test_a_tag_comes_before_other_reasons(
    needs: dict[Digest, Dependencies], tags: dict[Tag, set[Digest]]
) -> None:
    """If everything is kept, only what is not reachable from a tag has the reason untagged."""
    database = CollectionDatabase()
    fill(database, needs, tags)
    database.graph.keep_all("untagged")
    kept, components = outcome(database)
    assert kept == Walk(needs).kept(roots(tags), ((one, "untagged") for one in needs))
    assert components == []
    database.close()


@given(needs=MANIFESTS, tags=TAGS)
def test_one_repository_does_not_affect_the_next(
    needs: dict[Digest, Dependencies], tags: dict[Tag, set[Digest]]
) -> None:
    """The second of two equal repositories gets equal marks and components with new numbers."""
    database = CollectionDatabase()
    for name in (APP, RepositoryName("again")):
        fill(database, needs, tags)
        mark(database, name)
    components = database.candidates.components(0, 1000)
    assert len({component.number for component in components}) == len(components)
    first = [component.units for component in components if component.repository == APP]
    assert first == [component.units for component in components if component.repository != APP]
    marked = [(mark.kind, mark.digest, mark.reason) for mark in database.marks.marked()]
    assert marked[: len(marked) // 2] == marked[len(marked) // 2 :]
    database.close()


def test_a_long_chain_of_referrers_is_kept_or_removed() -> None:
    """Each of five thousand refers to the one before: all are kept with a tag, or all removed."""
    chain = [Digest.of(b"%d" % number) for number in range(5_000)]
    needs = {chain[0]: Dependencies((), ())}
    needs |= {low: Dependencies((), (), up) for up, low in itertools.pairwise(chain)}
    kept, components = _chain(needs, {Tag("v1"): {chain[0]}})
    assert (len(kept), components) == (len(chain), [])
    kept, components = _chain(needs, {})
    assert (kept, [units for units, _ in components]) == ({}, [[(one,) for one in chain]])


def test_few_large_components_are_read_at_a_time() -> None:
    """With a limit of a hundred manifests, components of 150 are read one at a time."""
    database, tops = CollectionDatabase(), [Digest.of(b"%d" % number) for number in range(5)]
    below = (Digest.of(b"%d" % number) for number in range(10, 755))
    subjects = itertools.cycle(tops)
    needs = dict.fromkeys(tops, Dependencies((), ())) | {
        one: Dependencies((), (), next(subjects)) for one in below
    }
    fill(database, needs, {})
    mark(database, APP)
    after, sizes = 0, []
    while batch := database.candidates.components(after, 100):
        after = batch[-1].number
        sizes.append([sum(map(len, component.units)) for component in batch])
    assert sizes == [[150]] * 5
    database.close()


def _chain(
    needs: dict[Digest, Dependencies], tags: dict[Tag, set[Digest]]
) -> tuple[dict[Digest, str], list[tuple[list[RemovalUnit], set[Pair]]]]:
    database = CollectionDatabase()
    fill(database, needs, tags)
    result = outcome(database)
    database.close()
    return result
