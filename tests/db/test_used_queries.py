"""Every query of ``sql/`` is one that the service runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import operator_svc
from operator_svc.db.queries import load, resource_folder

PACKAGE = Path(operator_svc.__file__).parent


def unused(queries: set[str], package: Path) -> set[str]:
    """The queries whose name stands in no function of ``package`` that something refers to.

    A name counts where it is a text by itself, as the argument of a call or in a table of names,
    and where an f-string can make it.
    """
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in package.rglob("*.py")]
    referred = {name for tree in trees for name in _references(tree)}
    texts = {text for tree in trees for text in _texts(tree, referred)}
    patterns = [text for text in texts if isinstance(text, re.Pattern)]
    return {name for name in queries - texts if not any(p.fullmatch(name) for p in patterns)}


def _references(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def _texts(node: ast.AST, referred: set[str]) -> Iterator[str | re.Pattern[str]]:
    """Texts in ``node``, and patterns of those that an f-string makes, without those in functions
    that nothing refers to."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
        elif isinstance(child, ast.JoinedStr):
            parts = [
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w*"
                for part in child.values
            ]
            if any(isinstance(part, ast.Constant) for part in child.values):
                yield re.compile("".join(parts))
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
            child.name in referred or child.name.startswith("__")
        ):
            yield from _texts(child, referred)


def test_every_query_is_used() -> None:
    assert unused(set(load(resource_folder("sql"), "sqlite")), PACKAGE) == set()


@pytest.mark.parametrize(
    ("caller", "found"),
    [
        ("await Things(db).all()", set()),
        ("Things(db)", {"thing_all"}),
        ("'thing_all of a text'", {"thing_all"}),
    ],
)
def test_a_query_that_nobody_runs_is_found(tmp_path: Path, caller: str, found: set[str]) -> None:
    (tmp_path / "stores.py").write_text(
        "class Things:\n"
        "    def __init__(self, db):\n"
        "        self._db = db\n"
        "    async def all(self):\n"
        '        """Runs thing_all."""\n'
        '        return await self._db.fetch("thing_all", Thing)\n'
    )
    (tmp_path / "service.py").write_text(f"async def work(db):\n    return {caller}\n\nwork\n")
    assert unused({"thing_all"}, tmp_path) == found
