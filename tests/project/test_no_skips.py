"""The rule of the root conftest: a test that skips itself fails the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.project.process import run_pytest

ROOT = Path(__file__).parents[2]

SKIPPED_WHEN_RUN = """
import pytest

def test_asks(): pytest.skip('no database here')

@pytest.mark.skip
def test_is_marked(): pass

@pytest.mark.skipif(True, reason='not on this machine')
def test_is_marked_with_a_condition(): pass

@pytest.mark.xfail
def test_is_known_to_fail(): assert False
"""
SKIPPED_WHEN_COLLECTED = {
    "test_import.py": "import pytest\npytest.importorskip('no_such_module')\n",
    "test_module.py": "import pytest\npytest.skip('not today', allow_module_level=True)\n",
}


def outcome(folder: Path) -> str:
    """The run's last line."""
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    run = run_pytest(folder)
    assert run.returncode != 0
    assert "tests are not skipped here" in run.stdout
    return run.stdout.strip().splitlines()[-1]


def test_tests_that_skip_themselves_fail(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SKIPPED_WHEN_RUN)
    # A mark is seen in the set-up of a test, so it counts as an error there.
    assert outcome(tmp_path).startswith("2 failed, 2 errors in ")


@pytest.mark.parametrize("name", SKIPPED_WHEN_COLLECTED)
def test_modules_that_skip_themselves_fail(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SKIPPED_WHEN_COLLECTED[name])
    assert "1 error" in outcome(tmp_path)
