"""A configuration as a tree of texts, with the origin of each part.

A scalar is its text as written, or None if it is empty. YAML's types and tags are not used: the
schema converts each text.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from registry_server.config.problems import ConfigError, Path, Place, Problem, dotted
from registry_server.config.yaml_errors import Origin, located
from registry_server.config.yaml_loader import Loader

Value = str | None | list["Value"] | dict[str, "Value"]

# Sections in which setting a key twice is an error: the first value may be the one that denies
# access.
GUARDED = frozenset({"auth", "access"})

# If this section is set twice, distribution uses the last one. It merges other sections.
STORAGE = "storage"
DRIVERS = frozenset({"filesystem", "azure", "gcs", "inmemory", "oss", "s3", "s3aws", "swift"})

_DEEPEST = 32
_MOST_NODES = 50_000
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(slots=True)
class Document:
    """The tree, the origins of its parts, and the warnings about it.

    An origin is a line of a file, a variable or an option; messages begin with it. `quoted` holds
    the paths of texts in quotes, which are never a boolean or a number.
    """

    data: Value = None
    origins: dict[Path, Place] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)
    quoted: set[Path] = field(default_factory=set)

    def origin(self, path: Path) -> Place:
        """Return the origin of the part at `path`, or of the nearest part below or above it."""
        below = (known for known in self.origins if known[: len(path)] == path)
        nearest = next(below, path) if path not in self.origins else path
        for length in range(len(path), -1, -1):
            if nearest in self.origins:
                break
            nearest = path[:length]
        return self.origins.get(nearest, Place())

    def value(self, path: Path) -> Value:
        """Return the value at `path`, or None."""
        value = self.data
        for part in path:
            value = _get(value, part)
        return value

    def rank(self, path: Path) -> int:
        """Return the position of the part at `path` among all parts, in the order of writing."""
        known = (path[:length] for length in range(len(path), -1, -1))
        nearest = next((part for part in known if part in self.origins), None)
        return -1 if nearest is None else list(self.origins).index(nearest)

    def located(self, path: Path, problem: str) -> Problem:
        """Return a problem with the origin and the full key of the part at `path`."""
        return Problem(self.origin(path), dotted(path), problem)

    def warn(self, path: Path, message: str) -> None:
        """Add a warning about the part at `path`."""
        self.warnings.append(self.located(path, message))

    def put(self, path: Path, other: "Document") -> bool:
        """Replace the value at `path` by another document, creating missing parents.

        Returns False if a parent is neither a mapping nor a list, or an index is past the end of
        its list.
        """
        if not path:
            return False
        self.data = {} if self.data is None else self.data
        parent = self.data
        for part, following in itertools.pairwise(path):
            child = _get(parent, part)
            if child is None:
                child = [] if isinstance(following, int) else {}
                if not _set(parent, part, child):
                    return False
            parent = child
        if not _set(parent, path[-1], other.data):
            return False
        self.forget(path)
        self.origins.update({(*path, *below): origin for below, origin in other.origins.items()})
        self.quoted.update((*path, *below) for below in other.quoted)
        return True

    def drop(self, path: Path) -> None:
        """Remove the key at `path`, which ends with a name; its origin stays known."""
        parent = self.value(path[:-1])
        if isinstance(parent, dict):
            parent.pop(str(path[-1]), None)

    def forget(self, path: Path) -> None:
        """Remove the origins of the part at `path` and of all below it, before it is replaced."""
        for part in [part for part in self.origins if part[: len(path)] == path]:
            del self.origins[part]
        self.quoted = {part for part in self.quoted if part[: len(path)] != path}


def parse(text: str, origin: Origin) -> Document:
    """Parse the first YAML document of a text; `origin` returns the place of a line, from 1.

    Text after the first document is a warning, because distribution ignores it. Raises ConfigError
    if the text is not YAML, is nested too deeply or has too many nodes.
    """
    reader = _Reader(origin)
    node, following = _composed(text, origin)
    if node is not None:
        reader.document.origins[()] = origin(1)
        reader.document.data = reader.value(node, ())
    if following is not None:
        message = "a second document begins here: it and everything after it is ignored"
        reader.document.warnings.append(Problem(origin(following), "", message))
    return reader.document


def _composed(text: str, origin: Origin) -> tuple[yaml.Node | None, int | None]:
    """Return the first document, and the line on which a second one begins, if there is one."""
    try:
        loader = Loader(text)
        return loader.first(), loader.following()
    except yaml.YAMLError as error:
        raise ConfigError([located(error, text, origin)]) from None
    except (ValueError, OverflowError):
        message = "is not YAML: contains a character that YAML does not allow"
        raise ConfigError([Problem(origin(1), "", message)]) from None
    except RecursionError:
        raise ConfigError([Problem(origin(1), "", "is nested too deeply")]) from None


class _Reader:
    """Converts the nodes of the YAML library to a document."""

    def __init__(self, origin: Origin) -> None:
        self.document = Document()
        self._origin = origin
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Value:
        self._count(node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._place(item, item, (*path, n)) for n, item in enumerate(node.value)]
        if node.tag == _NULL:
            return None
        if isinstance(node, yaml.ScalarNode) and node.style is not None:
            self.document.quoted.add(path)
        return self._text(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Value:
        mapping: dict[str, Value] = {}
        for key, child in self._merged(node, path):
            name = self._text(key)
            mapping[name] = self._place(key, child, (*path, name))
        seen: dict[str, int] = {}
        for key, child in node.value:
            if key.tag == _MERGE:
                continue
            name, line = self._text(key), key.start_mark.line + 1
            if name in seen:
                mapping[name] = self._repeated(key, child, (*path, name), seen[name], mapping[name])
            else:
                mapping[name] = self._place(key, child, (*path, name))
            seen[name] = line
        return mapping

    def _repeated(
        self, key: yaml.Node, child: yaml.Node, path: Path, line: int, before: Value
    ) -> Value:
        """Read a key that is also set on `line`; two mappings are merged, as in distribution."""
        if path[0] in GUARDED:
            self._refuse(key, f"{dotted(path)} is already set on line {line}: remove one of them")
        origins, quoted = dict(self.document.origins), set(self.document.quoted)
        value = self._place(key, child, path)
        if _tls(path, before) and not _tls(path, value, _tls(path, before)):
            message = f"{dotted(path)} is already set on line {line}, and here TLS is empty"
            self._refuse(key, f"{message}: remove one of them")
        if isinstance(before, dict) and isinstance(value, dict) and path[0] != STORAGE:
            self.document.origins = origins | self.document.origins
            self.document.quoted |= quoted
            self.document.warn(path, f"is already set on line {line}; the two are merged")
            return _merged_mappings(before, value)
        if path == (STORAGE,) and isinstance(value, dict) and DRIVERS.isdisjoint(value):
            message = f"is already set on line {line}, and here it has no driver: set it once"
            raise ConfigError([self.document.located(path, message)])
        self.document.warn(path, f"is already set on line {line}; the last one is used")
        return value

    def _merged(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the entries that `<<` merges in, in ascending precedence."""
        self._count(node, path)
        for key, child in node.value:
            if key.tag != _MERGE:
                continue
            sources = child.value if isinstance(child, yaml.SequenceNode) else [child]
            for source in reversed(sources):
                if not isinstance(source, yaml.MappingNode):
                    self._refuse(key, "<< must refer to a mapping")
                yield from self._merged(source, (*path, "<<"))
                yield from ((k, v) for k, v in source.value if k.tag != _MERGE)

    def _place(self, key: yaml.Node, child: yaml.Node, path: Path) -> Value:
        if path in self.document.origins:
            self.document.forget(path)
        self.document.origins[path] = self._origin(key.start_mark.line + 1)
        return self.value(child, path)

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._refuse(node, "a key must be plain text")
        text = str(node.value)
        if not _encodable(text):
            self._refuse(node, "a text contains half of a surrogate pair")
        return text

    def _count(self, node: yaml.Node, path: Path) -> None:
        self._nodes += 1
        if len(path) > _DEEPEST or self._nodes > _MOST_NODES:
            self._refuse(node, "the file is nested too deeply, or refers to itself")

    def _refuse(self, node: yaml.Node, problem: str) -> None:
        raise ConfigError([Problem(self._origin(node.start_mark.line + 1), "", problem)])


def _get(parent: Value, part: str | int) -> Value:
    if isinstance(parent, dict):
        return parent.get(str(part))
    if isinstance(parent, list) and isinstance(part, int) and part < len(parent):
        return parent[part]
    return None


def _tls(path: Path, value: Value, otherwise: Value = None) -> Value:
    """Return `http.tls` in the value at `path`, or `otherwise` if the value does not contain it."""
    if path == ("http", "tls"):
        return value
    if path != ("http",):
        return otherwise
    return value.get("tls", otherwise) if isinstance(value, dict) else None


def _merged_mappings(before: dict[str, Value], after: dict[str, Value]) -> dict[str, Value]:
    merged = before | after
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if isinstance(old, dict) and isinstance(new, dict):
            merged[name] = _merged_mappings(old, new)
    return merged


def _set(parent: Value, part: str | int, value: Value) -> bool:
    if isinstance(parent, dict) and isinstance(part, str):
        parent[part] = value
        return True
    if isinstance(parent, list) and isinstance(part, int) and part <= len(parent):
        parent[part : part + 1] = [value]
        return True
    return False


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
