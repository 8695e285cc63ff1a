"""A client: performs random operations, one after the other, until the race ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tests.race.contents import Blob, Manifest, Shelf, signature
from tests.race.courier import Courier, Given, Lost
from tests.race.history import History
from tests.race.model import Look, Model
from tests.race.pulling import Puller
from tests.race.pushing import Push, Pusher

Action: TypeAlias = Callable[[], None]

# How many signatures a client makes for one manifest.
_SIGNATURES = 3


class Client(threading.Thread):
    """Owns some repositories, and in the shared ones everything marked with its name."""

    def __init__(
        self,
        name: str,
        model: Model,
        history: History,
        courier: Courier,
        shelves: tuple[Shelf, Shelf],
        own: Sequence[str],
        shared: Sequence[str],
        grace: float,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=name)
        self._model = model
        self._history = history
        self._courier = courier
        self._rng = random.Random(courier.rng.random())
        self._shelves = shelves
        self._own = own
        self._shared = shared
        self._grace = grace
        self._ended = stop
        self._pusher = Pusher(courier, model, history, self._rng, grace * 0.75, self._dawdle)
        self._puller = Puller(courier, model, history)

    def run(self) -> None:
        """Run until stopped; an error of the test itself is a violation too."""
        actions, weights = zip(*self._table(), strict=True)
        try:
            while not self._ended.is_set():
                self._do(self._rng.choices(actions, weights)[0])
        finally:
            self._courier.close()

    def _do(self, action: Action) -> None:
        try:
            action()
        except Given:
            time.sleep(0.1)
        except Exception as error:
            self._history.wrong(self.name, f"{action.__name__} failed: {error!r}", [])
            time.sleep(0.1)

    def _table(self) -> list[tuple[Action, int]]:
        return [
            (self._push_image, 24),
            (self._push_index, 8),
            (self._push_nested, 4),
            (self._push_untagged, 4),
            (self._push_under_many_tags, 4),
            (self._sign, 10),
            (self._copy_tag, 6),
            (self._tag_again, 6),
            (self._delete_tag, 10),
            (self._delete_manifest, 8),
            (self._delete_and_push_again, 6),
            (self._stray_blob, 4),
            (self._pull_any, 26),
            (self._list_any, 4),
        ]

    # Choices

    def _repository(self) -> str:
        return self._rng.choice([*self._own, *self._own, *self._shared])

    def _tag(self, repository: str) -> str:
        return self._rng.choice(self._model.tags_of(repository, self.name))

    def _shelf(self) -> Shelf:
        return self._rng.choice(self._shelves)

    def _look(self, repository: str) -> Look | None:
        """Choose an existing tag of its own."""
        tags = self._model.tags_of(repository, self.name)
        looks = (self._model.look(repository, tag) for tag in tags)
        found = [look for look in looks if look and look.manifest]
        return self._rng.choice(found) if found else None

    def _may_delete(self, repository: str, manifest: Manifest) -> bool:
        return repository in self._own or manifest.mark == self.name

    def _dawdle(self) -> None:
        """Wait before a manifest: mostly not at all, sometimes longer than promised."""
        chance = self._rng.random()
        if chance < 0.05:
            time.sleep(self._rng.uniform(0, 2) * self._grace)
        elif chance < 0.2:
            time.sleep(self._rng.uniform(0, 0.5) * self._grace)

    # Pushes

    def _push_image(self) -> None:
        self._push(self._rng.choice(self._shelf().images))

    def _push_index(self) -> None:
        self._push(self._rng.choice(self._shelf().indexes))

    def _push_nested(self) -> None:
        self._push(self._rng.choice(self._shelf().nested))

    def _push(self, manifest: Manifest) -> None:
        repository = self._repository()
        self._pusher.push(repository, manifest, self._tag(repository))

    def _push_untagged(self) -> None:
        """Push by digest alone, and find it for as long as promised."""
        repository = self._repository()
        manifest = self._rng.choice([*self._shelf().images, *self._shelf().indexes])
        self._pusher.push(repository, manifest)
        time.sleep(self._rng.uniform(0, 0.7) * self._grace)
        used = self._model.last_use(repository, manifest.digest)
        answer = self._courier.send("GET", f"/v2/{repository}/manifests/{manifest.digest}")
        self._expect_young(used, answer.status, manifest.digest)
        for blob in manifest.blobs:
            answer = self._courier.send("GET", f"/v2/{repository}/blobs/{blob.digest}")
            self._expect_young(used, answer.status, blob.digest, manifest.digest)

    def _push_under_many_tags(self) -> None:
        repository = self._repository()
        tags = self._model.tags_of(repository, self.name)
        manifest = self._rng.choice(self._shelf().images)
        self._pusher.push(repository, manifest, *self._rng.sample(tags, 3))

    def _sign(self) -> None:
        """Push a signature of an image, an index or a signature; sometimes tag it."""
        repository = self._repository()
        look = self._look(repository)
        if look is None or not look.needs:
            return
        subject = self._rng.choice(look.needs).manifest
        depth, above = 0, subject.subject
        while above is not None:
            depth, above = depth + 1, above.subject
        if depth < 2:
            made = signature(subject, self.name, self._rng.randrange(_SIGNATURES))
            tags = [self._tag(repository)] if self._rng.random() < 0.2 else []
            self._pusher.push(repository, made, *(tag for tag in tags if tag != look.tag))
            self._history.count("signatures")

    def _copy_tag(self) -> None:
        """Point another tag to the same manifest: only the manifest is sent."""
        repository = self._repository()
        look = self._look(repository)
        if look is None or look.manifest is None:
            return
        tag = self._tag(repository)
        if tag == look.tag:
            return
        self._courier.send("GET", f"/v2/{repository}/manifests/{look.tag}")
        self._model.begin(repository, [tag])
        self._pusher.put(Push(repository, look.manifest, [tag]), must=True)
        self._history.count("retags")
        if self._rng.random() < 0.5:
            self._remove_tag(repository, look.tag)

    def _tag_again(self) -> None:
        """Tag a manifest that has lost its tags, if it still exists; then it must be complete."""
        repository = self._repository()
        loose = [one for one in self._model.loose(repository) if self._may_tag(repository, one)]
        if not loose:
            return
        manifest, tag = self._rng.choice(loose), self._tag(repository)
        began = time.monotonic()
        answer = self._courier.send("GET", f"/v2/{repository}/manifests/{manifest.digest}")
        if answer.status != 200:
            self._history.count("untagged manifests that were gone")
            return
        self._model.begin(repository, [tag])
        self._dawdle()
        blobs = [blob.digest for blob in manifest.blobs]
        children = [child.digest for child in manifest.children]
        push = Push(repository, manifest, [tag], dict.fromkeys([*blobs, *children], began))
        with self._model.wanting(repository, manifest.all_blobs()):
            if self._pusher.put(push):
                self._history.count("untagged manifests that were saved")
                return
        self._remove_tag(repository, tag)

    def _may_tag(self, repository: str, manifest: Manifest) -> bool:
        return repository in self._own or manifest.mark in {self.name, "common"}

    def _stray_blob(self) -> None:
        """Push a blob without a manifest, find it, and sometimes delete it."""
        repository = self._repository()
        blob = self._rng.choice(self._shelf().layers)
        with self._model.wanting(repository, [blob]):
            used = self._pusher.blob(repository, blob)
            time.sleep(self._rng.uniform(0, 0.7) * self._grace)
            answer = self._courier.send("GET", f"/v2/{repository}/blobs/{blob.digest}")
            self._expect_young(used, answer.status, blob.digest)
        if self._rng.random() < 0.5:
            self._delete_blobs(repository, [blob])

    def _expect_young(self, used: float, status: int, *about: str) -> None:
        if status != 200 and time.monotonic() - used < self._grace * 0.75:
            said = f"{about[0]} is {status}, too soon after it was used"
            self._history.wrong(self.name, said, about)

    # Deletions

    def _delete_tag(self) -> None:
        repository = self._repository()
        self._remove_tag(repository, self._tag(repository))

    def _remove_tag(self, repository: str, tag: str) -> None:
        look = self._model.look(repository, tag)
        was_there = look is not None and look.manifest is not None
        self._model.begin(repository, [tag])
        answer, repeated = self._ask_to_delete(f"/v2/{repository}/manifests/{tag}")
        self._model.removed(repository, [tag])
        if was_there and not repeated and answer != 202:
            terms = [f"{repository}/manifests/{tag}", f"tag={tag}"]
            self._history.wrong(self.name, f"{repository}:{tag} was not there: {answer}", terms)
        self._history.count("tags deleted", answer == 202)

    def _delete_manifest(self) -> None:
        """Delete by digest a manifest that nothing lists."""
        repository = self._repository()
        known = [one for one in self._model.known(repository) if self._may_delete(repository, one)]
        if known:
            self._remove(repository, self._rng.choice(known))

    def _remove(self, repository: str, manifest: Manifest) -> bool:
        """Delete by digest unless something lists it."""
        token = self._model.token(repository, manifest.digest)
        if not self._model.begin_deletion(repository, manifest.digest):
            return False
        answer, repeated = self._ask_to_delete(f"/v2/{repository}/manifests/{manifest.digest}")
        self._model.end_deletion(repository, manifest.digest)
        if token is not None and not repeated and answer != 202:
            said = f"{manifest.digest} was not there to be deleted: {answer}"
            self._history.wrong(self.name, said, [manifest.digest])
        self._history.count("manifests deleted", answer == 202)
        return True

    def _delete_and_push_again(self) -> None:
        """Delete a whole image with its blobs, and push it again immediately."""
        repository = self._rng.choice(self._own)
        look = self._look(repository)
        if look is None or look.manifest is None:
            return
        manifest = look.manifest
        if not self._remove(repository, manifest):
            return
        if self._rng.random() < 0.7:
            self._delete_blobs(repository, list(manifest.blobs))
        self._pusher.push(repository, manifest, look.tag)
        self._history.count("images deleted and pushed again")

    def _delete_blobs(self, repository: str, blobs: Sequence[Blob]) -> None:
        with self._model.leaving(repository, blobs) as digests:
            for digest in digests:
                answer, _ = self._ask_to_delete(f"/v2/{repository}/blobs/{digest}")
                self._history.count("blobs deleted", answer == 202)

    def _ask_to_delete(self, target: str) -> tuple[int, bool]:
        """Delete something; return the status, and whether the request was repeated."""
        repeated = False
        while True:
            try:
                return self._courier.once("DELETE", target).status, repeated
            except Lost:
                repeated = True
                time.sleep(0.1)

    # Pulls

    def _pull_any(self) -> None:
        self._puller.pull(*self._model.any_tag(self._rng))

    def _list_any(self) -> None:
        self._puller.listed(self._rng.choice(self._model.repositories))
