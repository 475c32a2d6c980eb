"""Writes what the client in Python has of the published documents: structs, calls, their table.

``make docs`` runs it; ``--check`` only says whether the files are as they would be written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from operator_svc import rest
from operator_svc.rest.docs import asyncapi, openapi
from tools.python_client.methods import calls, table
from tools.python_client.structs import models

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "python" / "src" / "operator_client"
PAGE = ROOT / "docs" / "client.md"
BEGIN, END = "<!-- python-calls -->\n", "<!-- /python-calls -->"


def formatted(code: str) -> str:
    """Code as ruff formats it."""
    for command in (["check", "--fix", "--quiet", "--select=I,F401,UP"], ["format", "--quiet"]):
        ruff = [
            str(Path(sys.executable).with_name("ruff")),
            *command,
            "--stdin-filename=src/some.py",
            "-",
        ]
        code = subprocess.run(ruff, input=code, text=True, capture_output=True, check=True).stdout
    return code


def written() -> dict[Path, str]:
    """The files as they should be."""
    tables = [operation for table in rest.TABLES for operation in table]
    api, frames = (
        msgspec.json.decode(msgspec.json.encode(one))
        for one in (openapi.document(tables), asyncapi.document())
    )
    head, _, rest_of = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest_of.partition(END)
    return {
        PACKAGE / "models.py": formatted(models(api, frames)),
        PACKAGE / "calls.py": formatted(calls(api)),
        PAGE: f"{head}{BEGIN}{table(api)}{END}{tail}",
    }


def main() -> int:
    """Write the files, or check them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check: bool = parser.parse_args().check
    for path, wanted in written().items():
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            continue
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not up to date: run make docs\n")
            return 1
        path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
