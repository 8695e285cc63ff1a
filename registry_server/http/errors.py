"""Renders exceptions as an `envelope`: refusals by what they carry, storage errors by a table.

Codes are those of the distribution spec, "Error Codes"; TAG_INVALID, RANGE_INVALID,
PAGINATION_NUMBER_INVALID and UNKNOWN are CNCF distribution's; those of the management API are ours.
Refusals that no handler raises are rendered elsewhere: malformed requests in `http1`, requests that
the end of a drain cancels in `middleware`, requests over a limit in `limits`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from starlette import responses
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from registry_server.http import envelope, refusals
from registry_server.http import too_many_requests as limits
from registry_server.http.context import context_of
from registry_server.http.envelope import Entry, entry
from registry_server.http.refusals import Refusal
from registry_server.http.response import Response
from registry_server.logs import LONGEST_PATH, cut
from storage import errors

logger = logging.getLogger(__name__)


# Errors of the storage; the first entry in an exception's MRO decides.
_TABLE: Mapping[type[Exception], tuple[int, str]] = {
    errors.NameInvalid: (400, "NAME_INVALID"),
    errors.TagInvalid: (400, "TAG_INVALID"),
    errors.DigestInvalid: (400, "DIGEST_INVALID"),
    errors.ManifestInvalid: (400, "MANIFEST_INVALID"),
    # The spec has no code for a malformed session id, so it counts as an unknown one.
    errors.UploadIdInvalid: (404, "BLOB_UPLOAD_UNKNOWN"),
    errors.RepositoryUnknown: (404, "NAME_UNKNOWN"),
    errors.BlobUnknown: (404, "BLOB_UNKNOWN"),
    errors.ManifestUnknown: (404, "MANIFEST_UNKNOWN"),
    errors.UploadUnknown: (404, "BLOB_UPLOAD_UNKNOWN"),
    errors.ReferencesUnknown: (400, "MANIFEST_BLOB_UNKNOWN"),
    errors.ChunkOutOfOrder: (416, "BLOB_UPLOAD_INVALID"),
    errors.ChunkSizeMismatch: (400, "SIZE_INVALID"),
    errors.UploadBusy: (409, "BLOB_UPLOAD_INVALID"),
    errors.OperationDisabled: (405, "UNSUPPORTED"),
    errors.TagImmutable: (403, "DENIED"),
    errors.QuotaExceeded: (403, "DENIED"),
    errors.TooManyUploads: (limits.STATUS, limits.CODE),
}
# The limits of a repository, which apply to every caller.
_OVER_A_LIMIT = (errors.QuotaExceeded, errors.TooManyUploads)
_EXPECTED = (*_TABLE, Refusal, ClientDisconnect, HTTPException, OSError, MemoryError)
_HTTP_CODES = {404: "NAME_UNKNOWN", 405: "UNSUPPORTED"}

_FAILED = "internal error; see the registry's log"
_FULL = (507, "the registry's disk is full")
_BUSY = (503, "the registry has too many open files")
_NO_MEMORY = (503, "the registry is out of memory")
_FORBIDDEN = (503, "the registry has no permission for its files; its log names the path")
_SYSTEM = {
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EMFILE: _BUSY,
    errno.ENFILE: _BUSY,
    errno.ENOMEM: _NO_MEMORY,
    errno.EFBIG: (507, "the file is too large for the registry's disk"),
    errno.EROFS: (503, "the registry's disk is read-only"),
}
# Seconds: long enough that retries do not add to the load.
_RETRY_AFTER = "5"

# A manifest can have tens of thousands of references, and each missing one would be an entry.
_MOST_MISSING = 1000


Renderer: TypeAlias = Callable[[Request, Exception], Awaitable[responses.Response]]


def install(app: Starlette, renderer: Renderer | None = None) -> None:
    """Make `app` render every exception with `renderer`, by default with `render`."""
    for kind in (*_EXPECTED, Exception):
        app.add_exception_handler(kind, renderer or render)


def is_expected(error: Exception) -> bool:
    """Return whether an exception is expected; any other is a bug."""
    return isinstance(error, _EXPECTED)


def switched_off(error: Exception) -> set[str]:
    """Return the methods that the configuration has switched off, if `error` says so."""
    if not isinstance(error, errors.OperationDisabled):
        return set()
    return {"DELETE"} if error.what == "deleting" else {"DELETE", "PATCH", "POST", "PUT"}


async def render(request: Request, error: Exception) -> Response:
    """Return the response to an exception: a refusal's own, or by the row in the table."""
    if isinstance(error, Refusal):
        return _answer(request, error.status, error.entries(), error.headers)
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, "UNKNOWN")
        return _answer(request, error.status_code, [entry(code, error.detail)], error.headers)
    if isinstance(error, ClientDisconnect):
        context = context_of(request.scope)
        context.message = "the client disconnected"
        path, extra = cut(request.scope["path"], LONGEST_PATH), {"request": context.id}
        logger.info("the client disconnected during %s %s", request.method, path, extra=extra)
        return Response(status_code=400)
    if isinstance(error, (OSError, MemoryError)):
        return _system_failure(request, error)
    row = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), None)
    if row is None or not isinstance(error, errors.StorageError):
        return _answer(request, 500, [entry("UNKNOWN", _FAILED)])
    if isinstance(error, _OVER_A_LIMIT):
        context_of(request.scope).limit = "limits.repositories"
    status, code = row
    return _answer(request, status, _entries(code, error), _headers(error))


def _answer(
    request: Request,
    status: int,
    entries: Sequence[Entry],
    headers: Mapping[str, str] | None = None,
) -> Response:
    # All entries of one response have the same code.
    refusals.record(request.scope, entries[0]["code"], entries[0]["message"])
    return Response(envelope.body(entries), status, headers, media_type=envelope.MEDIA_TYPE)


def _system_failure(request: Request, error: OSError | MemoryError) -> Response:
    """Log one line for errors that an operator can fix, and a traceback for all others."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno
    status, message = _SYSTEM.get(number or 0, (500, _FAILED))
    if isinstance(error, TimeoutError):
        status, message = 503, "timed out waiting for a storage lock; try again"
    trace = error if status == 500 else None
    path = cut(request.scope["path"], LONGEST_PATH)
    reason = str(error) or "out of memory"
    extra = {"request": context_of(request.scope).id}
    logger.error("%s %s failed: %s", request.method, path, reason, exc_info=trace, extra=extra)
    headers = {"Retry-After": _RETRY_AFTER} if status == 503 else None
    return _answer(request, status, [entry("UNKNOWN", message)], headers)


def _entries(code: str, error: errors.StorageError) -> list[Entry]:
    if isinstance(error, errors.ReferencesUnknown):
        return _missing(code, error.missing)
    return [entry(code, str(error), error.detail)]


def _missing(code: str, digests: Sequence[object]) -> list[Entry]:
    message = "the manifest refers to content that the repository does not have"
    entries = [entry(code, message, {"digest": str(digest)}) for digest in digests[:_MOST_MISSING]]
    more = len(digests) - len(entries)
    if more:
        entries.append(entry(code, f"the repository does not have {more} more references"))
    return entries


def _headers(error: errors.StorageError) -> Mapping[str, str] | None:
    if isinstance(error, errors.TooManyUploads):
        return {"Retry-After": _RETRY_AFTER}
    if isinstance(error, errors.UploadConflict):
        # The response tells the client the offset to continue from.
        return progress(error.length)
    return None


def progress(length: int) -> dict[str, str]:
    """Return the header of an upload with `length` bytes: `Range: 0-<last>`.

    In the spec `0-0` means no bytes as well as one byte.
    """
    return {"Range": f"0-{max(length - 1, 0)}"}
