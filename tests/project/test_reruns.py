"""The rule of the root conftest: only what measures time runs again, once, and is counted."""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.project.process import run_pytest

ROOT = Path(__file__).parents[2]

MARK = "@pytest.mark.measures_time"
CASES = {
    "passes": (MARK, 0, "AssertionError", "PASSED"),
    "late": (MARK, 1, "AssertionError", "RERUN PASSED"),
    "late_twice": (MARK, 2, "AssertionError", "RERUN FAILED"),
    "broken": (MARK, 1, "TimeoutError", "FAILED"),
    "a_race": ("", 1, "AssertionError", "FAILED"),
}
"""By test: its mark, how many times it fails and with what, and how its runs end."""
SAMPLE = """
import pytest

seen = {}

def fail(name, times, error):
    seen[name] = seen.get(name, 0) + 1
    if seen[name] <= times:
        raise error
"""


def test_a_failed_test_runs_again_only_where_it_measures_time(tmp_path: Path) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = " + "\n  ".join(markers["markers"]))
    tests = [
        f"{mark}\ndef test_{name}():\n    fail({name!r}, {times}, {error}())\n"
        for name, (mark, times, error, _) in CASES.items()
    ]
    (tmp_path / "test_sample.py").write_text(SAMPLE + "\n".join(tests))
    run = run_pytest(tmp_path, "-vv")
    assert run.returncode == 1
    for name, (*_, expected) in CASES.items():
        said = re.findall(rf"::test_{name} ([A-Z]+)", run.stdout)
        assert " ".join(said) == expected, name
    assert "3 failed, 2 passed, 2 rerun" in run.stdout


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
    reads_a_clock = r"(monotonic|perf_counter|loop(\(\))?\.time)\(\)|assert_given_up_soon\("
    for file, name in found:
        assert re.search(reads_a_clock, file.read_text()), f"{file.name}: {name} measures no time"


def test_nothing_else_repeats_what_failed() -> None:
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    files += [file for file in (ROOT / "tests").rglob("*.py") if file != Path(__file__)]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"--reruns|--last-failed|--lf\b|mark\.flaky", text), file
