"""Reads from a request's path and query what the request is about (pure).

A malformed part becomes "", so arbitrary text of clients never gets into the audit log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams

from registry_server.config.robot_names import is_robot_name
from storage.errors import DigestInvalid, InvalidInput, NameInvalid
from storage.values.digest import Digest
from storage.values.names import RepositoryName, is_tag, parse_reference

MANIFESTS: Final = "manifests"
BLOBS: Final = "blobs"
UPLOADS: Final = "uploads"
TOKENS: Final = "tokens"
BASE: Final = "base"
ROBOTS: Final = "robots"
ROBOT: Final = "robot"
CATALOG: Final = "catalog"

_BELOW = "/v2/"
_FIXED = {_BELOW: BASE, "/v2": BASE, "/v2/_catalog": CATALOG}
_REFERRING = (MANIFESTS, BLOBS, "referrers")
_READING = ("GET", "HEAD")
_MOST_TAGS = 100  # of one push

# The action of a method on a kind of target. All others are "pull" if they read, else invalid.
_ACTIONS: Mapping[tuple[str, str], str] = {
    (MANIFESTS, "PUT"): "push",
    (MANIFESTS, "DELETE"): "delete",
    (BLOBS, "DELETE"): "delete",
    (UPLOADS, "POST"): "push",
    (UPLOADS, "PATCH"): "push",
    (UPLOADS, "PUT"): "push",
    (UPLOADS, "GET"): "push",
    (UPLOADS, "HEAD"): "push",
    (UPLOADS, "DELETE"): "cancel",
    (ROBOTS, "GET"): "list robots",
    (ROBOTS, "HEAD"): "list robots",
    (ROBOTS, "POST"): "create robot",
    (ROBOT, "GET"): "list robots",
    (ROBOT, "HEAD"): "list robots",
    (ROBOT, "DELETE"): "revoke robot",
}
_ALWAYS = {TOKENS: "login", BASE: "login", CATALOG: "catalog"}


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a path: its kind, its repository with a tag or digest, or its robot account."""

    kind: str = ""
    repository: str = ""
    reference: str = ""
    robot: str = ""

    def action(self, method: str) -> str:
        """Return the action of `method`, in the words of the access rules where they have one."""
        pull = "pull" if method in _READING else ""
        return _ALWAYS.get(self.kind) or _ACTIONS.get((self.kind, method), pull)

    def is_written_by(self, method: str) -> bool:
        """Return whether `method` changes something, unless the configuration disables it."""
        return (self.kind, method) in _ACTIONS and method not in _READING


@dataclass(frozen=True, slots=True)
class Query:
    """The query of a push; a mount has `mounted` and `source`."""

    digest: str = ""
    mounted: str = ""
    source: str = ""
    tags: tuple[str, ...] = ()


def target_of(path: str, login: str, robots: str) -> Target:
    """Parse a path from the right, as the dispatcher does.

    `login` is the token server's path, `robots` that of the robot accounts; "" if there is none.
    """
    if login and path == login:
        return Target(TOKENS)
    if path in _FIXED:
        return Target(_FIXED[path])
    if robots and path == robots:
        return Target(ROBOTS)
    if robots and path.startswith(f"{robots}/"):
        return Target(ROBOT, robot=_robot(path.removeprefix(f"{robots}/")))
    if not path.startswith(_BELOW):
        return Target()
    above, _, last = path.rpartition("/")
    above, _, kind = above.rpartition("/")
    if kind == BLOBS and last == UPLOADS:
        return Target(UPLOADS, _name(above))
    if kind == UPLOADS:
        return (
            Target(UPLOADS, _name(above[: -len("/blobs")]))
            if above.endswith("/blobs")
            else Target()
        )
    return Target(kind, _name(above), _reference(last) if kind in _REFERRING else "")


def query_of(target: Target, query_string: bytes) -> Query:
    """Parse the query of a push exactly as the handlers do, so that the log has what they used."""
    if target.kind not in (MANIFESTS, UPLOADS):
        return Query()
    query = QueryParams(query_string)
    if target.kind == MANIFESTS:
        return Query(tags=_tags(query.getlist("tag")))
    mounted = digest_or_empty(query.get("mount", ""))
    if not mounted:
        return Query(digest_or_empty(query.get("digest", "")))
    return Query(mounted, mounted, _name(_BELOW + query.get("from", "")))


def digest_or_empty(text: str) -> str:
    """Return `text` if it is a digest, else ""."""
    try:
        return str(Digest.parse(text))
    except DigestInvalid:
        return ""


def _name(above: str) -> str:
    try:
        return RepositoryName.parse(above.removeprefix(_BELOW)).text
    except NameInvalid:
        return ""


def _robot(text: str) -> str:
    return text if is_robot_name(text) else ""


def _reference(text: str) -> str:
    try:
        return str(parse_reference(text))
    except InvalidInput:
        return ""


def _tags(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(is_tag, texts)))[:_MOST_TAGS]
