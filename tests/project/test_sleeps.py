"""Tests wait with ``eventually``; a constant sleep has its reason beside it."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _sleeps(tree: ast.AST) -> Iterator[int]:
    """The lines of ``asyncio.sleep(n)`` and ``time.sleep(n)``, ``n`` being a number above zero."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "sleep"
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value != 0
        ):
            yield node.lineno


def _commented(source: str) -> set[int]:
    """The lines that have a comment, and those under a line that is nothing but one."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type")):
            row, column = token.start
            lines.add(row + 1 if not token.line[:column].strip() else row)
    return lines


def bare_sleeps(root: Path) -> Iterator[str]:
    """The constant sleeps of tests that have no reason beside them."""
    for path in sorted((root / "tests").rglob("*.py")):
        source, name = path.read_text(encoding="utf-8"), str(path.relative_to(root))
        if "sleep(" not in source:
            continue
        commented = _commented(source)
        for line in _sleeps(ast.parse(source)):
            if line not in commented:
                yield f"{name}:{line}"


def polls(root: Path) -> Iterator[str]:
    """The loops of tests that wait for their condition by sleeping, and so for ever."""
    for path in sorted((root / "tests").rglob("*.py")):
        source, name = path.read_text(encoding="utf-8"), str(path.relative_to(root))
        if "sleep(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.While) and not isinstance(node.test, ast.Constant):
                body = [part for part in node.body if not isinstance(part, ast.Assert)]
                if len(body) == 1 and any(_sleeps(body[0])):
                    yield f"{name}:{node.lineno}"


def test_constant_sleep_has_its_reason_beside_it() -> None:
    assert list(bare_sleeps(ROOT)) == []


def test_wait_for_a_condition_uses_eventually() -> None:
    assert list(polls(ROOT)) == []


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("await asyncio.sleep(0.1)", 1),
        ("await asyncio.sleep(0.1)  # noqa: X", 1),
        ("await asyncio.sleep(0.1)  # nothing happens", 0),
        ("# nothing happens\n    await asyncio.sleep(0.1)", 0),
        ("await asyncio.sleep(0)", 0),
        ("await asyncio.sleep(PACE)", 0),
        ("time.sleep(2)", 1),
    ],
)
def test_bare_sleep_is_found(tmp_path: Path, line: str, bare: int) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(f"async def test_x():\n    {line}\n")
    assert len(list(bare_sleeps(tmp_path))) == bare


def test_poll_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(
        "async def test_x():\n    while not done():\n        await asyncio.sleep(0.1)\n"
    )
    assert list(polls(tmp_path)) == ["tests/test_x.py:2"]
