"""``constraints.txt`` pins everything that the project installs, and fits what it asks for."""

from __future__ import annotations

import configparser
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]


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


def direct() -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    lines = [line for text in texts for line in text.splitlines() if line]
    lines += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    return [Requirement(line) for line in lines]


def test_every_direct_dependency_has_a_lower_bound_that_its_pin_satisfies() -> None:
    pinned = pins()
    for requirement in direct():
        assert any(s.operator == ">=" for s in requirement.specifier), requirement
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_what_they_need_in_turn_is_pinned_too() -> None:
    pinned = pins()
    waiting = [(r.name, frozenset(r.extras)) for r in direct()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        key = (canonicalize_name(name), extras)
        if key in seen:
            continue
        seen.add(key)
        assert key[0] in pinned, f"{name} is not pinned"
        for line in requires(name) or []:
            requirement = Requirement(line)
            wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(w) for w in wanted):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    unused = pinned.keys() - {name for name, _ in seen}
    assert not unused, "pinned, but nothing asks for it"
