"""Linters of the published documents, Spectral and Redocly's, find no error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from operator_svc import rest
from operator_svc.rest.docs import asyncapi, openapi
from tests.project.process import python_path

TOOLS = Path(__file__).parent / "typescript"
SPECTRAL = ("spectral", "lint", "--fail-severity=error", f"--ruleset={TOOLS}/.spectral.yaml")
REDOCLY = ("redocly", "lint", f"--config={TOOLS}/redocly.yaml")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with both documents."""
    calls = [operation for table in rest.TABLES for operation in table]
    (tmp_path / "openapi.json").write_bytes(msgspec.json.encode(openapi.document(calls)))
    (tmp_path / "asyncapi.json").write_bytes(msgspec.json.encode(asyncapi.document()))
    return tmp_path


@pytest.mark.parametrize(
    ("linter", "name"),
    [(SPECTRAL, "openapi.json"), (SPECTRAL, "asyncapi.json"), (REDOCLY, "openapi.json"),
     (REDOCLY, "asyncapi.json")],
)  # fmt: skip
def test_linter_finds_no_error(documents: Path, linter: tuple[str, ...], name: str) -> None:
    program, *arguments = linter
    done = subprocess.run(
        [TOOLS / "node_modules" / ".bin" / program, *arguments, name],
        cwd=documents,
        # Neither linter asks a host for anything: no look for a newer version, no telemetry.
        env={"PATH": python_path(), "REDOCLY_TELEMETRY": "off",
             "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
