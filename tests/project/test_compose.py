"""``deploy/compose.yaml`` says the same as the settings and the Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from operator_svc.commands.devpeers import command as devpeers
from operator_svc.settings import BrowserSettings, Settings, load, variables

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "compose.yaml"
SPARE = 10
"""Seconds between the end of the drain and SIGKILL."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return loaded


def environment(
    service: dict[str, Any], given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The variables, as compose fills them in from what is ``given`` and its own defaults, with a
    word for the token that it asks for."""
    return {name: filled(value, given) for name, value in service["environment"].items()}


def filled(value: str, given: Mapping[str, str]) -> str:
    """A text with its variables filled in."""
    while match := re.search(r"\$\{(\w+)(?::[-?]([^${}]*))?\}", value):
        default = "secret" if "TOKEN" in match[1] else match[2] or ""
        value = value[: match.start()] + given.get(match[1], default) + value[match.end() :]
    return value


def commands() -> dict[str, dict[str, str]]:
    """The documented commands by their profile: the variables that are set for each of them."""
    found, given = {}, dict[str, str]()
    for line in re.findall(r"^#   (.*)$", FILE.read_text(), re.MULTILINE):
        assignments, docker, rest = line.partition("docker compose ")
        for name, value in re.findall(r"(\w+)=(\S+)", assignments):
            given[name] = Template("secret" if value == "..." else value).substitute(given)
        if docker:
            profile = re.search(r"--profile (\S+)", rest)
            found[profile[1] if profile else ""], given = given, {}
    return found


def test_variables_are_valid_settings(services: dict[str, Any]) -> None:
    settings, warnings = load(Settings, environment(services["operator"]))
    browser, more = load(BrowserSettings, environment(services["operator-browser"]))
    assert warnings + more == []
    known = {
        variable.name for struct in (Settings, BrowserSettings) for variable in variables(struct)
    }
    for name in ("operator", "operator-browser", "stand-ins"):
        assert services[name]["environment"].keys() <= known, name
    assert settings.browser_token == browser.token == "secret"
    assert settings.browser_url == f"http://operator-browser:{browser.port}"
    (published,) = services["operator"]["ports"]
    assert published == f"127.0.0.1:{settings.port}:{settings.port}"


def test_postgresql_is_the_database_of_its_profile(services: dict[str, Any]) -> None:
    given = commands()["postgresql"]
    settings, warnings = load(Settings, environment(services["operator"], given))
    assert warnings == []
    url, server = urlsplit(settings.database_url), services["postgresql"]
    made = environment(server, given)
    assert (url.hostname, url.port) == ("postgresql", 5432)
    assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
    assert url.path == f"/{made['POSTGRES_DB']}"
    asked = {f"--username={url.username}", f"--dbname={made['POSTGRES_DB']}"}
    assert asked < set(server["healthcheck"]["test"])
    assert "database" in services["operator"]["networks"]
    assert server["networks"] == ["database"]


def test_nats_is_the_bus_of_its_profile(services: dict[str, Any]) -> None:
    given = commands()["nats"]
    settings, warnings = load(Settings, environment(services["operator"], given))
    assert warnings == []
    url, server = urlsplit(settings.bus_url), services["nats"]
    assert url.hostname == "nats"
    assert server["command"][-1] == str(url.port)
    assert server["networks"] == ["bus"]
    assert "bus" in services["operator"]["networks"]


def test_ollama_has_the_model_that_operator_asks_for(services: dict[str, Any]) -> None:
    given = commands()["ollama"]
    settings, warnings = load(Settings, environment(services["operator"], given))
    assert warnings == []
    assert settings.switch_dialect == "openai"
    assert settings.switch_first_byte_timeout == 120
    assert environment(services["ollama-model"])["OLLAMA_HOST"] == settings.switch_url
    assert urlsplit(settings.switch_url).hostname in services
    assert [filled(one, given) for one in services["ollama-model"]["command"]] == [
        settings.switch_model
    ]


def test_profiles_are_those_that_are_documented_and_nobody_needs_what_is_not_there(
    services: dict[str, Any],
) -> None:
    profiles = {one for service in services.values() for one in service.get("profiles", ())}
    assert profiles == {*commands(), "stand-ins"} - {""}
    settings, warnings = load(Settings, environment(services["operator"], commands()[""]))
    assert (settings.database_url, settings.switch_dialect, warnings) == (
        "sqlite:////data/operator.db", "vx11", [],
    )  # fmt: skip
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            same = services[name].get("profiles") == service.get("profiles")
            assert same or needed["required"] is False
            health = "healthcheck" in services[name]
            assert needed["condition"] != "service_healthy" or health


def test_only_operator_is_published_and_on_loopback_alone(services: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published == {"operator": ["127.0.0.1:8011:8011"]}


def test_the_drain_fits_into_the_grace_period(services: dict[str, Any]) -> None:
    settings, _ = load(Settings, environment(services["operator"]))
    assert services["operator"]["stop_grace_period"] == f"{settings.drain_timeout + SPARE:.0f}s"


def test_images_are_targets_of_the_dockerfile(services: dict[str, Any]) -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    built = {name: one["build"] for name, one in services.items() if "build" in one}
    assert built.keys() == services.keys() - {"postgresql", "nats", "ollama", "ollama-model"}
    for build in built.values():
        assert (FILE.parent / build["context"]).resolve() == ROOT
        assert build["target"] in targets


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
