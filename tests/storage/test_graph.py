"""What stays of a repository and why, and what goes together: as a walk in memory finds it."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from storage.maintenance.garbage.families import Knot, Pair, below, ordered, reached
from storage.maintenance.garbage.ledger import Ledger, SurveyedBlob
from storage.maintenance.garbage.needs import Needs
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag

APP = RepositoryName("app")
# Of two algorithms, in the order of their text.
DIGESTS = tuple(
    sorted(
        (Digest.of(b"%d" % one, alg) for one in range(6) for alg in ("sha256", "sha512")), key=str
    )
)
DIGEST = st.sampled_from(DIGESTS)
# Lists may name the same twice, or what is no member; subjects may lead back to what lists them.
NEEDS = st.builds(
    lambda children, subject: Needs(tuple(children), tuple(children), subject),
    st.lists(DIGEST, max_size=3),
    st.none() | DIGEST,
)
MANIFESTS = st.dictionaries(DIGEST, NEEDS, max_size=len(DIGESTS))
TAG = st.sampled_from(("a", "a-b", "a.b", "v1", "v10", "v2")).map(Tag)
# A tag whose link is damaged leads to its whole history.
TAGS = st.dictionaries(TAG, st.sets(DIGEST, min_size=1, max_size=2), max_size=4)


@dataclass(slots=True)
class Walk:
    """The graph of a repository in memory."""

    needs: Mapping[Digest, Needs]
    referrers: Mapping[Digest, list[Digest]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for digest in sorted(self.needs, key=str):
            subject = self.needs[digest].subject
            if subject is not None:
                self.referrers[subject].append(digest)

    def below(self, digest: Digest) -> Iterator[tuple[Digest, str]]:
        """Yield the members that stay if `digest` does, and why."""
        for child in self.needs[digest].children:
            if child in self.needs:
                yield child, f"listed by {digest}"
        for referrer in self.referrers.get(digest, ()):
            yield referrer, f"refers to {digest}"

    def kept(self, *roots: Iterable[tuple[Digest, str]]) -> dict[Digest, str]:
        """Return what stays, with the first reason found: by the first roots, and near to them."""
        kept: dict[Digest, str] = {}
        for some in roots:
            queue = deque(root for root in some if root[0] in self.needs)
            while queue:
                digest, reason = queue.popleft()
                if digest not in kept:
                    kept[digest] = reason
                    queue.extend(self.below(digest))
        return kept

    def families(self, doomed: Sequence[Digest]) -> Iterator[tuple[list[Knot], set[Pair]]]:
        """Yield what goes together, in its order, and what hangs on what of it."""
        pairs = [(up, low) for up in doomed for low, _ in self.below(up) if low in doomed]
        neighbours = below((*pairs, *((low, up) for up, low in pairs)))
        seen: set[Digest] = set()
        for digest in doomed:
            if digest not in seen:
                together = reached((digest,), neighbours)
                seen |= together
                children = {one: self.needs[one].children for one in together}
                inner = [pair for pair in pairs if pair[0] in together]
                yield list(ordered(sorted(together, key=str), children, inner)), set(inner)


def fill(ledger: Ledger, needs: Mapping[Digest, Needs], tags: dict[Tag, set[Digest]]) -> None:
    """Give a ledger a repository, in no particular order."""
    for tag in reversed(tags):
        for digest in sorted(tags[tag], key=str, reverse=True):
            ledger.graph.add_root(tag, digest, f"tag {tag}")
    for digest, one in needs.items():
        ledger.graph.add(digest, one)
    ledger.graph.keep_tagged()


def roots(tags: Mapping[Tag, set[Digest]]) -> Iterator[tuple[Digest, str]]:
    """Yield where tags lead, in order."""
    for tag in sorted(tags):
        for digest in sorted(tags[tag], key=str):
            yield digest, f"tag {tag}"


def divided(ledger: Ledger) -> tuple[dict[Digest, str], list[tuple[list[Knot], set[Pair]]]]:
    """Return what a ledger says that stays, and what goes together, in order."""
    divide(ledger, APP)
    marked = [one for one in ledger.marked() if one.kind == "manifest"]
    families = ledger.families(0, 1000)
    found = [(list(one.knots), set(one.hangs_on)) for one in families]
    return {one.digest: one.reason for one in marked if one.digest and one.reason}, found


def divide(ledger: Ledger, name: RepositoryName) -> None:
    """Write down what stays of a repository and what goes."""
    repository = ledger.add_repository(name)
    ledger.keep_what_the_graph_keeps(repository)
    ledger.components.divide(repository)
    ledger.graph.clear()


@given(needs=MANIFESTS, tags=TAGS, young=st.sets(DIGEST))
def test_what_goes_and_why_the_rest_stays_is_what_a_walk_finds(
    needs: dict[Digest, Needs], tags: dict[Tag, set[Digest]], young: set[Digest]
) -> None:
    """Reasons, families and the order in which they go are those of a walk over dictionaries."""
    ledger, walk = Ledger(), Walk(needs)
    ledger.add_blobs(SurveyedBlob(one, 1, 1, one not in young) for one in DIGESTS)
    fill(ledger, needs, tags)
    ledger.graph.keep_young("young")
    kept, families = divided(ledger)
    members = sorted(needs, key=str)
    expected = walk.kept(roots(tags), ((one, "young") for one in members if one in young))
    assert kept == expected
    doomed = [one for one in members if one not in expected]
    assert sorted(families, key=str) == sorted(walk.families(doomed), key=str)
    ledger.close()


@given(needs=MANIFESTS, tags=TAGS)
def test_where_all_stays_tags_are_the_first_reason(
    needs: dict[Digest, Needs], tags: dict[Tag, set[Digest]]
) -> None:
    """What no tag leads to stays because it is untagged; nothing goes."""
    ledger = Ledger()
    fill(ledger, needs, tags)
    ledger.graph.keep_all("untagged")
    kept, families = divided(ledger)
    assert kept == Walk(needs).kept(roots(tags), ((one, "untagged") for one in needs))
    assert families == []
    ledger.close()


@given(needs=MANIFESTS, tags=TAGS)
def test_one_repository_leaves_nothing_for_the_next(
    needs: dict[Digest, Needs], tags: dict[Tag, set[Digest]]
) -> None:
    """The second of two is divided as if it were the first, and no family has another's number."""
    ledger = Ledger()
    for name in (APP, RepositoryName("again")):
        fill(ledger, needs, tags)
        divide(ledger, name)
    families = ledger.families(0, 1000)
    assert len({one.number for one in families}) == len(families)
    first = [one.knots for one in families if one.repository == APP]
    assert first == [one.knots for one in families if one.repository != APP]
    marked = [(one.kind, one.digest, one.reason) for one in ledger.marked()]
    assert marked[: len(marked) // 2] == marked[len(marked) // 2 :]
    ledger.close()


def test_a_chain_of_referrers_of_any_length_stays_or_goes() -> None:
    """Each of five thousand refers to the one before: with a tag they stay, without they go."""
    chain = [Digest.of(b"%d" % number) for number in range(5_000)]
    needs = {chain[0]: Needs((), ())}
    needs |= {low: Needs((), (), up) for up, low in itertools.pairwise(chain)}
    kept, families = _chain(needs, {Tag("v1"): {chain[0]}})
    assert (len(kept), families) == (len(chain), [])
    kept, families = _chain(needs, {})
    assert (kept, [knots for knots, _ in families]) == ({}, [[(one,) for one in chain]])


def test_a_family_is_read_with_no_more_than_it_takes() -> None:
    """Of families of 150 one is read at a time, where a hundred manifests are asked for."""
    ledger, tops = Ledger(), [Digest.of(b"%d" % number) for number in range(5)]
    below = (Digest.of(b"%d" % number) for number in range(10, 755))
    subjects = itertools.cycle(tops)
    needs = dict.fromkeys(tops, Needs((), ())) | {
        one: Needs((), (), next(subjects)) for one in below
    }
    fill(ledger, needs, {})
    divide(ledger, APP)
    after, sizes = 0, []
    while some := ledger.families(after, 100):
        after = some[-1].number
        sizes.append([sum(map(len, one.knots)) for one in some])
    assert sizes == [[150]] * 5
    ledger.close()


def _chain(
    needs: dict[Digest, Needs], tags: dict[Tag, set[Digest]]
) -> tuple[dict[Digest, str], list[tuple[list[Knot], set[Pair]]]]:
    ledger = Ledger()
    fill(ledger, needs, tags)
    found = divided(ledger)
    ledger.close()
    return found
