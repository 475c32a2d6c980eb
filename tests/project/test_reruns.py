"""The rule of the root conftest: only what measures time runs again, once, and is counted."""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.process import run_pytest

ROOT = Path(__file__).parents[2]

SAMPLE = """
import pytest

seen = {{}}

def fail(name, times, error):
    seen[name] = seen.get(name, 0) + 1
    if seen[name] <= times:
        raise error

{mark}
def test_late():
    fail("late", {times}, {error}())
"""
MARK = "@pytest.mark.measures_time"


def outcome(folder: Path, mark: str, times: int, error: str) -> tuple[int, str]:
    """The exit code and the last line of a run of one test that fails ``times`` times."""
    shutil.copy(ROOT / "conftest.py", folder)
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = " + "\n  ".join(markers["markers"]))
    (folder / "test_sample.py").write_text(SAMPLE.format(mark=mark, times=times, error=error))
    run = run_pytest(folder)
    return run.returncode, run.stdout.strip().splitlines()[-1].partition(" in ")[0]


@pytest.mark.parametrize(
    ("mark", "times", "error", "expected"),
    [
        (MARK, 0, "AssertionError", (0, "1 passed")),
        (MARK, 1, "AssertionError", (0, "1 passed, 1 rerun")),
        (MARK, 2, "AssertionError", (1, "1 failed, 1 rerun")),
        (MARK, 1, "TimeoutError", (1, "1 failed")),
        ("", 1, "AssertionError", (1, "1 failed")),
    ],
)
def test_a_failed_test_runs_again_only_where_it_measures_time(
    tmp_path: Path, mark: str, times: int, error: str, expected: tuple[int, str]
) -> None:
    assert outcome(tmp_path, mark, times, error) == expected


def marked() -> Iterator[tuple[Path, str]]:
    """The files and the names of the tests that carry the mark."""
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
                ast.unparse(decorator) == MARK.removeprefix("@")
                for decorator in node.decorator_list
            ):
                yield file, node.name


def test_what_is_marked_measures_time_and_is_little() -> None:
    found = list(marked())
    assert 0 < len(found) <= 20, "so many may hide a race"
    clock = r"(monotonic|perf_counter|loop\.time)\(\)|assert_given_up_soon\("  # which reads one
    for file, name in found:
        assert re.search(clock, file.read_text()), f"{file.name}: {name} measures no time"


def test_nothing_else_repeats_what_failed() -> None:
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    files += [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"--reruns|--last-failed|--lf\b|mark\.flaky", text), file
