"""How a client pulls: everything that a tag promises, with every byte compared."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tests.race.contents import Manifest
from tests.race.courier import Courier
from tests.race.history import History, short
from tests.race.model import Held, Look, Model


class Puller:
    """Pulls for one client."""

    def __init__(self, courier: Courier, model: Model, history: History) -> None:
        self._courier = courier
        self._model = model
        self._history = history

    def pull(self, repository: str, tag: str) -> None:
        """Compare a tag and all that is reachable from it with the model."""
        look = self._model.look(repository, tag)
        if look is None:
            return
        answer = self._courier.send("GET", f"/v2/{repository}/manifests/{tag}")
        if not self._model.stands(look):
            self._history.count("pulls of a tag that moved")
            return
        expected = look.manifest
        if expected is None:
            if answer.status != 404:
                self._wrong(look, f"answered {answer.status}, it was deleted", [])
            return
        if (answer.status, answer.body) != (200, expected.raw):
            said = f"answered {answer.status} {answer.body[:200]!r}, not {expected.digest}"
            self._wrong(look, said, [expected.digest])
        self._pull_all(look)
        self._history.count("pulls")

    def listed(self, repository: str) -> None:
        """Compare the list of a repository's tags with the model."""
        before = [look for look in self._model.looks(repository) if look.manifest]
        if not before:
            return
        answer = self._courier.send("GET", f"/v2/{repository}/tags/list")
        tags = set(json.loads(answer.body)["tags"]) if answer.status == 200 else set()
        for look in before:
            if look.tag not in tags and self._model.stands(look):
                self._wrong(look, f"is not listed: {answer.status} {sorted(tags)}", [])
        self._history.count("lists of tags")

    def untagged(self, repository: str) -> None:
        """Compare everything in a repository with the model, with or without a tag."""
        owed = tuple(self._model.owed(repository))
        self._pull_all(Look(repository, "", 0, None, owed))

    def _pull_all(self, look: Look) -> None:
        seen: set[str] = set()
        for held in look.needs:
            self._manifest(look, held)
            for blob in held.manifest.blobs:
                if blob.digest not in seen:
                    seen.add(blob.digest)
                    self._compare(look, held, f"blobs/{blob.digest}", blob.data)
        self._referrers(look)

    def _manifest(self, look: Look, held: Held) -> None:
        self._compare(look, held, f"manifests/{held.manifest.digest}", held.manifest.raw)

    def _compare(self, look: Look, held: Held, what: str, content: bytes) -> None:
        answer = self._courier.send("GET", f"/v2/{look.repository}/{what}")
        if (answer.status, answer.body) == (200, content):
            self._history.count("bytes compared", len(content))
        elif self._model.vouches(held.token):
            wrong = "other bytes" if answer.status == 200 else answer.status
            digests = [what.partition("/")[2], held.manifest.digest]
            self._wrong(look, f"{what} of {held.manifest.digest} is {wrong}", digests)

    def _referrers(self, look: Look) -> None:
        """Compare the referrers of all subjects with the model."""
        for held in look.needs:
            of = [one for one in look.needs if _is_of(one.manifest, held.manifest)]
            if not of:
                continue
            target = f"/v2/{look.repository}/referrers/{held.manifest.digest}"
            answer = self._courier.send("GET", target)
            listed = {one["digest"] for one in json.loads(answer.body).get("manifests", [])}
            self._history.count("lists of referrers")
            for one in of:
                digest = one.manifest.digest
                if digest not in listed and self._model.vouches(one.token):
                    said = f"{digest} is not among the referrers of {held.manifest.digest}"
                    self._wrong(look, f"{said}: {sorted(map(short, listed))}", [digest])

    def _wrong(self, look: Look, said: str, about: Iterable[str]) -> None:
        terms = [f"{look.repository}/manifests/{look.tag}", f"tag={look.tag}", *about]
        self._history.wrong(self._courier.who, f"{look.repository}:{look.tag} {said}", terms)


def _is_of(one: Manifest, subject: Manifest) -> bool:
    return one.subject is not None and one.subject.digest == subject.digest
