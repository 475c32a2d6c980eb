"""Files and functions keep to sizes that can be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = ("src", "clients/python", "tests", "bench", "tools")
FILE_LINES = 300
FUNCTION_LINES = 60

TABLES = {
    "clients/python/src/operator_client/calls.py": "one method a published call, generated",
    "clients/python/src/operator_client/models.py": "one struct a published schema, generated",
    "src/operator_svc/settings.py": "one entry a setting, each with its documentation",
    "src/operator_svc/models.py": "one record a table, each with its columns",
    "tests/peers/upstream_shapes.py": "one answer of an upstream a shape, as it was sent",
}
"""Files that may be longer, because they are tables; and what they list."""


def modules(root: Path) -> Iterator[Path]:
    """The modules of all FOLDERS."""
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.py"))


def long_files(root: Path) -> Iterator[str]:
    """The modules of more than FILE_LINES lines."""
    for path in modules(root):
        name = str(path.relative_to(root))
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES and name not in TABLES:
            yield f"{name}: {lines} lines"


def long_functions(root: Path) -> Iterator[str]:
    """The functions of more than FUNCTION_LINES lines, their decorators not counted."""
    for path in modules(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"{path.relative_to(root)}:{node.lineno}: {node.name}: {lines} lines"


def test_files_are_short_unless_they_are_tables() -> None:
    assert list(long_files(ROOT)) == []


def test_functions_fit_a_screen() -> None:
    assert list(long_functions(ROOT)) == []


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_may_be_long_is_long(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) > FILE_LINES


def test_a_long_file_and_a_long_function_are_found(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    body = "    pass\n" * FUNCTION_LINES
    (tmp_path / "src" / "long.py").write_text(f"async def slow():\n{body}" + "\n" * FILE_LINES)
    (tmp_path / "src" / "short.py").write_text(f"def quick():\n{body[9:]}")
    assert list(long_files(tmp_path)) == ["src/long.py: 361 lines"]
    assert list(long_functions(tmp_path)) == ["src/long.py:1: slow: 61 lines"]
