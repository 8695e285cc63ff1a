"""The drawing in `benchmarks/__init__.py` is true."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
SOURCES = {file.stem: file.read_text() for file in FOLDER.glob("*.py") if file.stem != "__init__"}


def floors(drawing: str) -> dict[str, int]:
    """Map every module of the drawing to its line, the first column of which names modules."""
    lines = drawing.split("```")[1].splitlines()
    columns = (line.strip().split("  ", 1)[0] for line in lines)
    return {module: at for at, column in enumerate(columns) for module in column.split()}


def imports(source: str) -> Iterator[str]:
    """Yield the siblings that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "benchmarks":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks."):
            yield (node.module or "").split(".")[1]


def upward(drawing: Mapping[str, int], sources: Mapping[str, str]) -> list[str]:
    """Name every import from a higher layer."""
    return [
        f"{module} imports {imported}"
        for module, source in sources.items()
        for imported in imports(source)
        if drawing[imported] < drawing[module]
    ]


def test_imports_go_down_and_every_module_is_drawn() -> None:
    drawing = floors(benchmarks.__doc__ or "")
    assert set(drawing) == set(SOURCES)
    assert upward(drawing, SOURCES) == []


def test_an_import_upward_is_detected() -> None:
    drawing = floors(benchmarks.__doc__ or "")
    for source in ("from benchmarks.report import text", "from benchmarks import growth"):
        assert upward(drawing, {"client": source}) != []
