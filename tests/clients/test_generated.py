"""Clients that generators make of the published documents: they compile, and they work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from operator_svc import rest
from operator_svc.rest.docs import openapi
from tests.project.process import dev_operator, python_path

HERE = Path(__file__).parent
TYPESCRIPT = HERE / "typescript"
TOKEN = "generated"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins."""
    with dev_operator(tmp_path_factory.mktemp("operator"), TOKEN) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the document."""
    calls = [operation for table in rest.TABLES for operation in table]
    (tmp_path / "openapi.json").write_bytes(msgspec.json.encode(openapi.document(calls)))
    return tmp_path


def run(folder: Path, *command: str, **env: str) -> str:
    """The output of a command that ends well."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": python_path(), "OPERATOR_TOKEN": TOKEN, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_client_for_python_has_all_calls_and_works(url: str, folder: Path) -> None:
    (folder / "config.yaml").write_text("post_hooks: []\npackage_name_override: generated_client\n")
    said = run(
        folder, "openapi-python-client", "generate", "--path=openapi.json", "--config=config.yaml",
        "--meta=none", "--output-path=generated_client",
    )  # fmt: skip
    # It has no type for bytes that are no JSON, and leaves nothing else out.
    assert said.count("Cannot parse") == said.count("Unsupported content_type") == 2, said
    shutil.copy(HERE / "python_calls.py", folder)
    run(folder, "mypy", "--strict", "--follow-imports=silent", "python_calls.py")
    run(folder, sys.executable, "-W", "error", "python_calls.py", OPERATOR_URL=url)


def test_a_client_for_typescript_compiles_strictly_and_works(url: str, folder: Path) -> None:
    for name in ("package.json", "tsconfig.json", "calls.ts"):
        shutil.copy(TYPESCRIPT / name, folder)
    modules = TYPESCRIPT / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    run(folder, str(modules / ".bin" / "openapi-typescript"), "openapi.json", "-o", "api.d.ts")
    run(folder, str(modules / ".bin" / "tsc"))
    run(folder, "node", "calls.ts", OPERATOR_URL=url)
