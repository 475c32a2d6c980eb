"""Runs a suite of Node's against a running Operator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.project.process import python_path


def run_suite(suite: Path, url: str, token: str) -> str:
    """The report of a suite, which passes; it runs in the folder of its package."""
    package = next(folder for folder in suite.parents if (folder / "package.json").exists())
    env = {**os.environ, "PATH": python_path(), "OPERATOR_URL": url, "OPERATOR_TOKEN": token}
    run = subprocess.run(
        ["node", "--test", "--test-reporter=spec", str(suite)],
        cwd=package,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
