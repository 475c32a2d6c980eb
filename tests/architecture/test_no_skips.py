"""The rule of the root conftest: a test that skips itself fails the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "body",
    [
        "def test_it(): pytest.skip('no database here')",
        "@pytest.mark.skip\ndef test_it(): pass",
        "@pytest.mark.xfail\ndef test_it(): assert False",
        "pytest.importorskip('no_such_module')\ndef test_it(): pass",
        "pytest.skip('not today', allow_module_level=True)",
    ],
)
def test_a_skipped_test_fails_the_run(tmp_path: Path, body: str) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_sample.py").write_text(f"import pytest\n\n{body}\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    # 1: a test failed; 2: collecting failed.
    assert run.returncode in (1, 2), run.stdout
    assert "tests are not skipped here" in run.stdout
