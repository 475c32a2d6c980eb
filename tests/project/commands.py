"""Calls of the commands, each in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.project.process import python_path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "operator_svc"]


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": python_path(), "PYTHONPATH": str(ROOT / "src")} | settings


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
