"""Descriptions of structs' fields: the texts that stand below them in the source."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Iterator

import msgspec


def field_texts(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The description of each field of ``struct`` that has one, by the name it is encoded by."""
    texts: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        texts |= _of_module(base.__module__).get(base.__qualname__, {})
    return {
        field.encode_name: texts[field.name]
        for field in msgspec.structs.fields(struct)
        if field.name in texts
    }


@functools.cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    if not name.startswith("operator_svc."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {
        node.name: dict(_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)
    }


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in itertools.pairwise(node.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, text
