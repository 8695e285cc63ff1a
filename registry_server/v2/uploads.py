"""Upload sessions: start, append, status, finish, cancel; and mount (spec, "Pushing blobs").

A request that appends bytes locks the session until it ends. Between requests the session is not
locked, and any worker can serve the next one.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request

from registry_server.access.interfaces import Action
from registry_server.http.context import context_of
from registry_server.http.disconnects import while_connected
from registry_server.http.errors import progress
from registry_server.http.response import Response
from registry_server.v2 import bodies
from registry_server.v2.gate import Gate
from registry_server.v2.urls import Urls
from storage.errors import BlobUnknown, DigestInvalid, NameInvalid, UploadUnknown
from storage.interfaces import Repository
from storage.values.digest import CANONICAL, Digest, supported
from storage.values.names import RepositoryName, UploadId


class UploadEndpoints:
    """`/v2/<name>/blobs/uploads/` and the paths below it."""

    def __init__(self, gate: Gate, urls: Urls) -> None:
        self._gate = gate
        self._urls = urls

    async def start(self, request: Request) -> Response:
        """POST: end-4a, end-4b, end-4c, end-11"""
        query = request.query_params
        source = _name_or_none(query.get("from", ""))
        repository = await self._gate.repository(request, Action.PULL, Action.PUSH, source=source)
        if "mount" in query:
            return await self._mount(request, repository)
        if "digest" in query:
            return await self._push_whole(request, repository, Digest.parse(query["digest"]))
        return await self._begin(request, repository, query.get("digest-algorithm", CANONICAL))

    async def append(self, request: Request) -> Response:
        """PATCH: end-5"""
        repository = await self._gate.repository(request, Action.PULL, Action.PUSH)
        id = await self._gate.upload(request)
        async with repository.uploads.open(id) as upload:
            await upload.append(bodies.pieces(request), bodies.chunk(request, upload.length))
            size = upload.length
        return self._progress(request, repository, id, size, status=202)

    async def finish(self, request: Request) -> Response:
        """PUT: end-6"""
        repository = await self._gate.repository(request, Action.PULL, Action.PUSH)
        if "digest" not in request.query_params:
            raise DigestInvalid("the query must have the digest of the whole blob")
        digest = Digest.parse(request.query_params["digest"])
        async with repository.uploads.open(await self._gate.upload(request)) as upload:
            await upload.append(bodies.pieces(request), bodies.chunk(request, upload.length))
            await upload.commit(digest)
        return self._created(request, repository, digest)

    async def status(self, request: Request) -> Response:
        """GET, HEAD: end-13"""
        repository = await self._gate.repository(request, Action.PULL, Action.PUSH)
        id = await self._gate.upload(request)
        size = await repository.uploads.length(id)
        return self._progress(request, repository, id, size, status=204)

    async def cancel(self, request: Request) -> Response:
        """DELETE: end-14"""
        repository = await self._gate.repository(request, Action.PULL, Action.PUSH)
        id = await self._gate.upload(request)
        await repository.uploads.cancel(id)
        return Response(status_code=204, headers={"Docker-Upload-UUID": str(id)})

    async def _mount(self, request: Request, repository: Repository) -> Response:
        """Link the blob from another repository; if that fails, start an upload session.

        A malformed digest or source also starts a session (spec, "Mounting a blob from another
        repository": SHOULD).
        """
        try:
            digest = Digest.parse(request.query_params["mount"])
        except DigestInvalid:
            return await self._begin(request, repository, CANONICAL)
        try:
            source = await self._source(request, digest)
            await repository.blobs.mount(digest, source)
        except (BlobUnknown, NameInvalid):
            return await self._begin(request, repository, digest.algorithm)
        context_of(request.scope).source = source.text
        return self._created(request, repository, digest)

    async def _source(self, request: Request, digest: Digest) -> RepositoryName:
        """Return the repository to mount from; raise `BlobUnknown` if there is none."""
        text = request.query_params.get("from")
        named = RepositoryName.parse(text) if text else None
        lookup = self._gate.mount_source(request, digest, named)
        source = await (while_connected(request.receive, lookup) if named is None else lookup)
        if source is None:
            raise BlobUnknown(digest)
        return source

    async def _push_whole(
        self, request: Request, repository: Repository, digest: Digest
    ) -> Response:
        """Store a whole blob from one request; if that fails, its session is deleted."""
        id = await repository.uploads.start(digest.algorithm, await self._gate.owner(request))
        try:
            async with repository.uploads.open(id) as upload:
                await upload.append(bodies.pieces(request), bodies.announced(request))
                await upload.commit(digest)
        except DigestInvalid:
            raise
        except BaseException:
            # The response is this error, even if the session is already deleted.
            with suppress(UploadUnknown):
                await repository.uploads.cancel(id)
            raise
        return self._created(request, repository, digest)

    async def _begin(self, request: Request, repository: Repository, algorithm: str) -> Response:
        owner = await self._gate.owner(request)
        id = await repository.uploads.start(supported(algorithm), owner)
        return self._progress(request, repository, id, 0, status=202)

    def _progress(
        self, request: Request, repository: Repository, id: UploadId, size: int, *, status: int
    ) -> Response:
        headers = progress(size)
        headers["Location"] = self._urls.upload(request, repository.name, id, size)
        headers["Docker-Upload-UUID"] = str(id)
        if status != 204:
            headers["Content-Length"] = "0"
        return Response(status_code=status, headers=headers)

    def _created(self, request: Request, repository: Repository, digest: Digest) -> Response:
        headers = {
            "Location": self._urls.blob(request, repository.name, digest),
            "Docker-Content-Digest": str(digest),
            "Content-Length": "0",
        }
        return Response(status_code=201, headers=headers)


def _name_or_none(text: str) -> RepositoryName | None:
    try:
        return RepositoryName.parse(text)
    except NameInvalid:
        return None
