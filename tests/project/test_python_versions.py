"""The versions of Python that the project names in several places are the same ones."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def classified() -> list[str]:
    """The versions of the classifiers, oldest first."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    text = config["metadata"]["classifiers"]
    return re.findall(r"^Programming Language :: Python :: (\d\.\d+)$", text, re.MULTILINE)


def test_the_classifiers_have_every_version_from_the_oldest_supported_one_on() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    supported = SpecifierSet(config["options"]["python_requires"])
    oldest, newest = classified()[0], classified()[-1]
    minors = range(int(oldest[2:]), int(newest[2:]) + 1)
    assert classified() == [f"3.{minor}" for minor in minors]
    assert Version(oldest) in supported
    assert Version(f"3.{int(oldest[2:]) - 1}") not in supported


def test_the_linters_check_for_the_oldest_version() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    oldest = classified()[0]
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert tools["mypy"]["python_version"] == oldest


def test_the_images_and_ci_use_the_newest_version() -> None:
    newest = classified()[-1]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG PYTHON={newest}-slim-" in dockerfile
    assert f"PYTHON=python{newest}\n" in (ROOT / ".ci" / "run").read_text()
