"""``constraints.txt`` pins everything that the project installs, and fits what it asks for."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Collection, Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import operator_client
import operator_svc

ROOT = Path(__file__).parents[2]
OURS = {"operator-client"}
"""Packages of this repository: they are built beside the service, and no index has them."""


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().split()
    found: dict[str, Version] = {}
    for line in lines:
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        found[canonicalize_name(requirement.name)] = Version(specifier.version)
    assert len(found) == len(lines), "something is pinned twice"
    return found


def direct(extras: Collection[str] = ("browser", "otel", "dev")) -> list[Requirement]:
    """The requirements of the project itself: to run, for these extras, and to be built."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"]]
    texts += [config["options.extras_require"][extra] for extra in extras]
    lines = [line for text in texts for line in text.splitlines() if line]
    lines += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return [Requirement(line) for line in lines]


def test_every_direct_dependency_has_a_lower_bound_that_its_pin_satisfies() -> None:
    pinned = pins()
    for requirement in direct():
        assert any(s.operator == ">=" for s in requirement.specifier), requirement
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def needed(by: Iterable[Requirement]) -> set[str]:
    """The names of these, and of what they need in turn on this machine."""
    waiting = [(r.name, frozenset(r.extras)) for r in by]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        key = (canonicalize_name(name), extras)
        if key in seen:
            continue
        seen.add(key)
        for line in requires(name) or []:
            requirement = Requirement(line)
            wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(w) for w in wanted):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return {name for name, _ in seen}


def test_what_they_need_in_turn_is_pinned_too_and_nothing_else() -> None:
    installer = {"pip"}  # which the environment has already, of its own version
    assert pins().keys() == needed(direct()) - installer


def test_the_packages_of_this_repository_have_one_version() -> None:
    assert operator_client.__version__ == operator_svc.__version__
    assert pins()["operator-client"] == Version(operator_svc.__version__)


def test_images_install_the_pinned_versions_by_hash() -> None:
    """``make hashes`` writes the file anew where this fails."""
    text = (ROOT / "requirements-image.txt").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    of_image = {}
    for line in lines:
        asked, *hashes = line.split(" --hash=")
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes), line
        requirement = Requirement(asked)
        of_image[canonicalize_name(requirement.name)] = requirement
    pinned = pins()
    for name, requirement in of_image.items():
        assert str(requirement.specifier) == f"=={pinned[name]}", "stale: make hashes"
    installed = needed(direct(extras=("browser", "otel"))) - OURS
    others = of_image.keys() - installed
    assert installed <= of_image.keys(), "stale: make hashes"
    # What is left is for other systems and versions of Python.
    assert not [name for name in others if of_image[name].marker is None], "stale: make hashes"
