"""``deploy/compose.yaml`` says the same as the settings and the Dockerfile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from operator_svc.commands.devpeers import command as devpeers
from operator_svc.settings import BrowserSettings, Settings, load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose.yaml"
SPARE = 10
"""Seconds between the end of the drain and SIGKILL."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return loaded


def environment(service: dict[str, Any]) -> dict[str, str]:
    """The variables with compose's defaults put in, and a word for what it asks for."""
    found = {}
    for name, value in service["environment"].items():
        while match := re.search(r"\$\{(\w+)(?::[-?]([^${}]*))?\}", value):
            default = "secret" if "TOKEN" in match[1] else match[2] or ""
            value = value[: match.start()] + default + value[match.end() :]
        found[name] = value
    return found


def test_variables_are_valid_settings(services: dict[str, Any]) -> None:
    settings, warnings = load(Settings, environment(services["operator"]))
    browser, more = load(BrowserSettings, environment(services["operator-browser"]))
    assert warnings + more == []
    assert settings.browser_token == browser.token == "secret"
    assert settings.browser_url == f"http://operator-browser:{browser.port}"
    (published,) = services["operator"]["ports"]
    assert published == f"127.0.0.1:{settings.port}:{settings.port}"


def test_the_drain_fits_into_the_grace_period(services: dict[str, Any]) -> None:
    settings, _ = load(Settings, environment(services["operator"]))
    assert services["operator"]["stop_grace_period"] == f"{settings.drain_timeout + SPARE:.0f}s"


def test_images_are_targets_of_the_dockerfile(services: dict[str, Any]) -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in services.values():
        assert (FILE.parent / service["build"]["context"]).resolve() == ROOT
        assert service["build"]["target"] in targets


def test_containers_are_confined(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    browser = services["operator-browser"]
    (profile,) = [o for o in browser["security_opt"] if o.startswith("seccomp=")]
    assert (FILE.parent / profile.partition("=")[2]).is_file()
    assert "vx11" not in browser["networks"]


def test_stand_ins_answer_where_the_peers_would(services: dict[str, Any]) -> None:
    settings, _ = load(Settings, environment(services["operator"]))
    aliases = set(services["stand-ins"]["networks"]["vx11"]["aliases"])
    wanted = {settings.switch_url, settings.hermes_url, settings.shub_url}
    assert {urlsplit(url).hostname for url in (*wanted, settings.tentaculo_link_url)} == aliases
    ports = {
        parameter.name: parameter.default
        for parameter in devpeers.params
        if parameter.name and parameter.name.endswith("_port")
    }
    assert set(ports.values()) == {
        urlsplit(url).port for url in (*wanted, settings.tentaculo_link_url)
    }
    assert services["stand-ins"]["command"][0] == devpeers.name
