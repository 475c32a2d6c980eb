"""The documents name what is there: commands, settings, files, the version."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import operator_svc
from operator_svc.cli import COMMANDS
from operator_svc.errors import ErrorCode
from operator_svc.secret_files import SUFFIX
from operator_svc.settings import SECRET_NAMES, TOKEN_NAMES, BrowserSettings, Settings, variables

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "docs/**/*.md", "deploy/**/*.md", "clients/*/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
LINE = 120
"""Columns of a line of prose."""

document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@document
def test_make_targets_exist(path: Path) -> None:
    text = path.read_text()
    # Code spans and blocks only: "make" is also a word.
    named = re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^    make ([a-z-]+)", text, re.M)
    assert set(named) <= targets()


@document
def test_commands_exist(path: Path) -> None:
    named = set(re.findall(r"operator-svc ([a-z][a-z-]+)\b", path.read_text()))
    words = {"and", "devpeers", "is", "by", "the", "of"}
    assert named - words <= COMMANDS.keys()


@document
def test_settings_exist(path: Path) -> None:
    known = {v.name for struct in (Settings, BrowserSettings) for v in variables(struct)}
    known |= {*TOKEN_NAMES, *(name + SUFFIX for name in SECRET_NAMES)}
    named = set(re.findall(r"\b(?:OPERATOR|BROWSER|SWITCH)_[A-Z_]*[A-Z]\b", path.read_text()))
    assert named <= known


def without_code(text: str) -> str:
    """``text`` without its fenced and its indented blocks."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> list[str]:
    """The links of a page to a file or a heading that is not there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if "://" not in link and (
            not target.exists()
            or (anchor and target.suffix == ".md" and anchor not in anchors(target))
        ):
            dead.append(link)
    return dead


def long_lines(text: str) -> list[str]:
    """The lines of prose with more than LINE columns; tables and the targets of links are none."""
    lines = without_code(text).splitlines()
    prose = [line for line in lines if not line.lstrip().startswith("|")]
    return [line for line in prose if len(re.sub(r"\]\([^)]*\)", "]", line)) > LINE]


@document
def test_links_lead_somewhere(path: Path) -> None:
    assert dead_links(path) == []


@document
def test_lines_of_prose_fit_the_width(path: Path) -> None:
    assert long_lines(path.read_text()) == []


def test_a_dead_link_and_a_long_line_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = "word " * 25
    page.write_text(
        f"# A heading, and `more`\n\n[a](#a-heading-and-more) [b](#other) [c](none.txt)\n\n{long}\n"
        f"| {long} |\n\n    {long}\n\n```sh\n# Not a heading {long}\n```\n"
        f"[d](https://{'x' * 120})\n"
    )
    assert dead_links(page) == ["#other", "none.txt"]
    assert long_lines(page.read_text()) == [long]


def test_the_layout_names_files_and_folders_that_are_there() -> None:
    text = (ROOT / "docs" / "REPO_LAYOUT.md").read_text()
    package = ROOT / "src" / "operator_svc"
    places = (ROOT, package, package / "services")
    named = set(re.findall(r"`([\w./-]+(?:\.py|/))`", text))
    assert len(named) > 40
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert missing == set()


def test_the_layout_names_functions_that_are_there() -> None:
    text = (ROOT / "docs" / "REPO_LAYOUT.md").read_text()
    named = re.findall(r"`([\w/]+)\.py`, `([A-Z]\w+)(?:\.(\w+))?`", text)
    assert len(named) > 4
    for path, owner, method in named:
        module = importlib.import_module(f"operator_svc.{path.replace('/', '.')}")
        assert callable(
            getattr(getattr(module, owner), method) if method else getattr(module, owner)
        )


def test_the_layout_names_every_package() -> None:
    text = (ROOT / "docs" / "REPO_LAYOUT.md").read_text()
    for place in ("src/operator_svc", "src/operator_svc/services", ""):
        for folder in (ROOT / place).iterdir():
            if (folder / "__init__.py").is_file():
                assert re.search(rf"[`/ ]{folder.name}/", text), folder


def test_every_promise_has_its_test() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    rows = re.findall(r"`(tests/[\w/.]+)::(\w+)` \|$", text, re.MULTILINE)
    promises = text[: text.index("## Under attack")]
    assert len(rows) == promises.count("\n| ") - 2 * promises.count("\n| --- ")
    for file, name in rows:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name


def test_troubleshooting_names_log_events_and_errors_that_are_there() -> None:
    text = (ROOT / "docs" / "howto" / "troubleshooting.md").read_text()
    table = text.partition("## The log says")[2].partition("## ")[0]
    events = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`[^|]+)", table, re.MULTILINE)))
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert len(events) > 8
    assert [event for event in events if f'"{event}"' not in sources] == []
    codes = re.findall(r"^\| (?:\d{3} )?`((?!operator_)[a-z_]+)`", text, re.MULTILINE)
    assert len(codes) > 12
    assert set(codes) - {"error"} <= set(ErrorCode)  # a column is called so


def test_contributing_names_every_folder_of_tests() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for folder in (ROOT / "tests").iterdir():
        if any(folder.glob("*.py")):
            assert f"`tests/{folder.name}`" in text, folder
    for name in re.findall(r"`(tests/\w+)`", text):
        assert (ROOT / name).is_dir(), name


def test_tables_of_settings_metrics_and_figures_are_as_make_docs_writes_them() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tools.docs_tables", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert run.returncode == 0, run.stderr


def test_every_setting_has_a_meaning() -> None:
    for struct in (Settings, BrowserSettings):
        for variable in variables(struct):
            assert variable.meaning, variable.name


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == operator_svc.__version__


def test_the_readme_lists_the_two_commands_and_ci_runs_one_of_them() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "    make run\n" in readme
    assert "    make test\n" in readme
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")


def test_every_command_of_the_makefile_explains_itself_or_serves_another() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].replace("\\", " ").split()) == targets()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in targets() - {"unit", "serial", "docs-check"}:
        assert re.search(rf"^  make {name} ", listed.stdout, re.MULTILINE), name
