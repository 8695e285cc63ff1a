"""How a client pushes: it skips what exists and sends what is reported missing.

A client relies on what it sent, or was told to exist, for `promise` seconds. An earlier refusal is
a violation; a later one is the meaning of the grace period.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.race.contents import Blob, Manifest
from tests.race.courier import Courier, Given, Lost
from tests.race.history import History
from tests.race.model import Model, Token
from tests.support.wire import Answer, path_of, with_query

_ATTEMPTS = 20
_BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(slots=True)
class Push:
    """A manifest to be pushed; `relied` is since when the client relies on its parts."""

    repository: str
    manifest: Manifest
    tags: Sequence[str]
    relied: dict[str, float] = field(default_factory=dict)


class Pusher:
    """Pushes for one client. `dawdle` is called before each manifest."""

    def __init__(
        self,
        courier: Courier,
        model: Model,
        history: History,
        rng: random.Random,
        promise: float,
        dawdle: Callable[[], None],
    ) -> None:
        self._courier = courier
        self._model = model
        self._history = history
        self._rng = rng
        self._promise = promise
        self._dawdle = dawdle

    def push(self, repository: str, manifest: Manifest, *tags: str) -> None:
        """Push all of an image and point tags of the client at it."""
        with self._model.wanting(repository, manifest.all_blobs()):
            self._model.begin(repository, tags)
            for _ in range(_ATTEMPTS):
                push = Push(repository, manifest, tags)
                self._bring(push)
                self._dawdle()
                if self.put(push):
                    return
            self._wrong(f"{manifest.digest} was refused {_ATTEMPTS} times", push)

    def put(self, push: Push, *, must: bool = False) -> bool:
        """Put the manifest alone; return False when parts are missing, unless they `must` exist."""
        began = time.monotonic()
        answer = self._courier.send(
            "PUT",
            self._target(push),
            push.manifest.raw,
            {"Content-Type": push.manifest.media_type},
            about=[push.manifest.digest, *push.relied],
        )
        if answer.status == 201:
            self._model.accepted(push.repository, push.manifest, push.tags, began)
            self._history.count("pushes")
            self._history.count("tags set", len(push.tags))
            return True
        self._judge(push, answer, time.monotonic(), must=must)
        return False

    def _target(self, push: Push) -> str:
        base = f"/v2/{push.repository}/manifests/"
        if len(push.tags) == 1:
            return base + push.tags[0]
        query = "&".join(f"tag={tag}" for tag in push.tags)
        return base + push.manifest.digest + (f"?{query}" if query else "")

    def _judge(self, push: Push, answer: Answer, ended: float, *, must: bool) -> None:
        missing = list(_missing(answer))
        if must or not missing:
            self._wrong(f"a push that must be accepted got {answer.status} {answer.body!r}", push)
        for digest in missing:
            after = ended - push.relied[digest]
            if after < self._promise:
                said = f"{digest} was promised, and missing {after:.3f} s later"
                self._wrong(said, push, digest)
        self._history.count("too slow pushes")

    def _wrong(self, said: str, push: Push, *about: str) -> None:
        terms = about or (push.manifest.digest, *push.relied)
        self._history.wrong(self._courier.who, f"{push.repository} {push.tags}: {said}", terms)
        raise Given

    # What a manifest needs

    def _bring(self, push: Push) -> None:
        for child in push.manifest.children:
            push.relied[child.digest] = self._child(push.repository, child)
        for blob in push.manifest.blobs:
            push.relied[blob.digest] = self.blob(push.repository, blob)

    def _child(self, repository: str, child: Manifest) -> float:
        """Ensure that a child exists; return since when the client relies on it."""
        token = self._model.token(repository, child.digest)
        began = time.monotonic()
        answer = self._courier.send("HEAD", f"/v2/{repository}/manifests/{child.digest}")
        if answer.status == 200:
            self._history.count("children left out")
            self._model.used(repository, child.digest, began)
            return began
        self._check_absence(token, child.digest)
        self.push(repository, child)
        return self._model.last_use(repository, child.digest)

    def blob(self, repository: str, blob: Blob) -> float:
        """Ensure that a blob exists; return since when the client relies on it."""
        token = self._model.holder(repository, blob.digest)
        began = time.monotonic()
        answer = self._courier.send("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
        if answer.status == 200:
            self._history.count("blobs left out")
            return began
        self._check_absence(token, blob.digest)
        mounted = self._mount(repository, blob) if self._rng.random() < 0.5 else None
        return mounted or self._upload(repository, blob)

    def _check_absence(self, token: Token | None, digest: str) -> None:
        if self._model.vouches(token):
            said = f"{digest} is not there, which {token} needs"
            self._history.wrong(self._courier.who, said, [digest])
            raise Given

    def _mount(self, repository: str, blob: Blob) -> float | None:
        """Mount a blob from where it surely is, or from anywhere; None when it had to be sent."""
        holders = self._model.holders(blob.digest)
        token = self._rng.choice(holders) if holders else None
        source = token.repository if token else self._rng.choice(self._model.repositories)
        is_anonymous = self._rng.random() < 0.4
        query = f"mount={blob.digest}" + ("" if is_anonymous else f"&from={source}")
        began = time.monotonic()
        answer = self._courier.send("POST", f"/v2/{repository}/blobs/uploads/?{query}")
        if answer.status == 201:
            self._history.count("anonymous mounts" if is_anonymous else "mounts")
            return began
        if not is_anonymous:
            self._check_absence(token, blob.digest)
        self._history.count("mounts that became uploads")
        self._courier.send("DELETE", answer.header("Location"), about=[blob.digest])
        return None

    # Uploads

    def _upload(self, repository: str, blob: Blob) -> float:
        ways = (self._post, self._post_and_put, self._chunked, self._streamed)
        while True:
            began = time.monotonic()
            try:
                answer = self._rng.choice(ways)(repository, blob)
            except Lost:
                self._history.count("lost answers")
                time.sleep(0.1)
                continue
            if answer.status != 201:
                said = f"upload to {repository} got {answer.status} {answer.body!r}"
                self._history.wrong(self._courier.who, said, [blob.digest])
                raise Given
            self._history.count("uploads")
            return began

    def _begin(self, repository: str, blob: Blob) -> str:
        once = self._courier.once
        answer = once("POST", f"/v2/{repository}/blobs/uploads/", about=[blob.digest])
        if answer.status != 202:
            self._history.wrong(self._courier.who, f"POST got {answer}", [blob.digest])
            raise Given
        return path_of(answer.header("Location"))

    def _post(self, repository: str, blob: Blob) -> Answer:
        target = f"/v2/{repository}/blobs/uploads/?digest={blob.digest}"
        return self._courier.once("POST", target, blob.data, _BYTES)

    def _post_and_put(self, repository: str, blob: Blob) -> Answer:
        return self._finish(self._begin(repository, blob), blob, blob.data)

    def _chunked(self, repository: str, blob: Blob) -> Answer:
        location = self._begin(repository, blob)
        size = max(len(blob.data) // 3, 1)
        for start in range(0, len(blob.data), size):
            part = blob.data[start : start + size]
            span = {"Content-Range": f"{start}-{start + len(part) - 1}", **_BYTES}
            answer = self._courier.once("PATCH", location, part, span, about=[blob.digest])
            if answer.status != 202:
                return answer
        return self._finish(location, blob, b"")

    def _streamed(self, repository: str, blob: Blob) -> Answer:
        location = self._begin(repository, blob)
        body = partial(_pieces, blob.data)
        answer = self._courier.once("PATCH", location, body, _BYTES, about=[blob.digest])
        return answer if answer.status != 202 else self._finish(location, blob, b"")

    def _finish(self, location: str, blob: Blob, rest: bytes) -> Answer:
        target = with_query(location, f"digest={blob.digest}")
        return self._courier.once("PUT", target, rest, _BYTES)


def _missing(answer: Answer) -> Iterator[str]:
    """Yield the digests that a refusal names; nothing for another refusal."""
    if answer.status not in {400, 404}:
        return
    for error in json.loads(answer.body)["errors"]:
        if error["code"] == "MANIFEST_BLOB_UNKNOWN":
            yield error["detail"]["digest"]


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]
