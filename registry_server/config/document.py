"""A configuration as it was written: a tree of texts, and where each part came from.

YAML's own ideas of types stay out of it. A scalar is its text, or None when the file leaves the
place empty; what the text means is the schema's to say. Nothing is constructed from a tag.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import yaml

from registry_server.config.problems import ConfigError, Path, dotted, shown

Value = str | None | list["Value"] | dict[str, "Value"]
Origin = Callable[[int], str]

# Sections in which nothing is overlooked: it may be the very word that keeps somebody out.
GUARDED = frozenset({"auth", "access"})

_DEEPEST = 32
_MOST_NODES = 50_000
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_QUOTED_WORD = re.compile(r"'(?!<)[^']*\w[^']*'|\"[^\"]*\w[^\"]*\"")


@dataclass(slots=True)
class Document:
    """The tree, the origin of its parts, and what was odd about it.

    An origin is what an error names: `config.yml, line 3` or a variable or an option.
    """

    data: Value = None
    origins: dict[Path, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def origin(self, path: Path) -> str:
        """Where the part at `path` came from, or the nearest part above or below it; or ""."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        below = (known for known in self.origins if known[: len(path)] == path)
        return self.origins.get(next(below, path), "")

    def rank(self, path: Path) -> int:
        """Where the part at `path` stands among all parts, in the order they were written."""
        known = (path[:length] for length in range(len(path), -1, -1))
        nearest = next((part for part in known if part in self.origins), None)
        return -1 if nearest is None else list(self.origins).index(nearest)

    def located(self, path: Path, problem: str) -> str:
        """One line: where it is, which key it is, and the problem."""
        origin, key = self.origin(path), dotted(path)
        return ": ".join(part for part in (origin, f"{key} {problem}" if key else problem) if part)

    def put(self, path: Path, other: "Document") -> bool:
        """Replace what stands at `path` by another document, making mappings on the way.

        Answers False when something that is neither a mapping nor a list, or an index past the
        end of a list, is in the way.
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
        return True

    def forget(self, path: Path) -> None:
        """Drop the origins of what stands at `path`, because something else will."""
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]


def parse(text: str, origin: Origin) -> Document:
    """Read one YAML document; `origin` names the place of a line, counted from 1.

    Raises ConfigError when it is not YAML, not one document, or too large to be a configuration.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{origin(line)}: is not YAML: {_without_quotes(error)}"]) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise ConfigError([f"{origin(1)}: is not YAML: holds a character it may not"]) from None
    except RecursionError:
        raise ConfigError([f"{origin(1)}: is nested too deeply"]) from None
    reader = _Reader(origin)
    if node is not None:
        reader.document.origins[()] = origin(1)
        reader.document.data = reader.value(node, ())
    return reader.document


class _Reader:
    """Turns the nodes of the YAML library into a document."""

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
        return None if node.tag == _NULL else self._text(node)

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
                self._repeated((*path, name), line, seen[name])
            seen[name] = line
            mapping[name] = self._place(key, child, (*path, name))
        return mapping

    def _merged(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the entries that `<<` brings in, those that win last."""
        self._count(node, path)
        for key, child in node.value:
            if key.tag != _MERGE:
                continue
            sources = child.value if isinstance(child, yaml.SequenceNode) else [child]
            for source in reversed(sources):
                if not isinstance(source, yaml.MappingNode):
                    self._refuse(key, "<< must name a mapping")
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
            self._refuse(node, "a text holds half of a surrogate pair")
        return text

    def _repeated(self, path: Path, line: int, before: int) -> None:
        if path[0] in GUARDED:
            again = f"{dotted(path)} was set before, on line {before}: one of the two has to go"
            raise ConfigError([f"{self._origin(line)}: {again}"])
        said = f"{dotted(path)} was set before, on line {before}; the last one counts"
        self.document.warnings.append(f"{self._origin(line)}: {said}")

    def _count(self, node: yaml.Node, path: Path) -> None:
        self._nodes += 1
        if len(path) > _DEEPEST or self._nodes > _MOST_NODES:
            self._refuse(node, "the file is nested too deeply, or refers to itself")

    def _refuse(self, node: yaml.Node, problem: str) -> None:
        raise ConfigError([f"{self._origin(node.start_mark.line + 1)}: {problem}"])


def _get(parent: Value, part: str | int) -> Value:
    if isinstance(parent, dict):
        return parent.get(str(part))
    if isinstance(parent, list) and isinstance(part, int) and part < len(parent):
        return parent[part]
    return None


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


def _without_quotes(error: yaml.MarkedYAMLError) -> str:
    """What the YAML library says, less what it quotes: that may be a piece of a password."""
    said = error.problem or "it cannot be read"
    return shown(_QUOTED_WORD.sub("something", said))
