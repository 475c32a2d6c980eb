"""The contracts between the rooms hold, and cover every module."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "operator_svc"
CLIENT = ROOT / "clients" / "python"

APART = {"browser_service", "devpeers"}
"""Rooms outside the layers, with contracts of their own."""


def test_the_contracts_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_module_has_its_layer() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in config["contracts"] if c["id"] == "layers"]
    named = {
        name.strip() for layer in layers for part in layer.split("|") for name in part.split(":")
    }
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or _is_package(path)}
    assert there - {"__init__"} - APART == named


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = grimp.build_graph("operator_svc")
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_no_module_takes_a_private_name_of_another() -> None:
    taken = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        modules = {name for name, of_module in _imported(tree) if of_module}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("operator_svc"):
                taken += [(path.name, alias.name) for alias in node.names if _private(alias.name)]
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in modules
                and _private(node.attr)
            ):
                taken.append((path.name, f"{node.value.id}.{node.attr}"))
    assert taken == []


def _imported(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The names that a module imports from this package; True for those of modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("operator_svc"):
            folder = PACKAGE.parent.joinpath(*(node.module or "").split("."))
            for alias in node.names:
                target = folder / alias.name
                is_module = target.is_dir() or target.with_suffix(".py").exists()
                yield alias.asname or alias.name, is_module


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_only_peers_open_http_connections() -> None:
    allowed = {"peers", "devpeers", "browser_service"}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in allowed:
            continue
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert "ClientSession" not in names, path


def test_the_client_for_python_needs_aiohttp_and_msgspec_alone() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert {Requirement(one).name for one in project["dependencies"]} == {"aiohttp", "msgspec"}
    imported = set()
    for path in (CLIENT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"operator_client", "aiohttp", "msgspec"}


def test_the_client_for_python_is_that_of_the_published_documents() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tools.python_client", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").is_file()
