"""The resources: tools and models of Hermes and Switch, each source up, failed and hanging."""

from __future__ import annotations

from functools import partial

import pytest

from operator_svc.settings import Settings
from tests.fakes.bad_peers import gone
from tests.fakes.peer_answers import PeerAnswers
from tests.system.views import OK, SETTINGS, Answers, assert_given_up_soon, serve, view_of

HERMES: Answers = {
    "/hermes/available": {"payload": {
        "status": "ok", "binaries": {"docker": True, "ollama": False}, "models": ["m1", "m3"],
    }},
    "/hermes/list": {"payload": {"models": [
        {"name": "m1", "path": "/m1", "size_mb": 10, "category": "chat", "status": "ready",
         "compatibility": "cpu"},
    ]}},
    "/hermes/catalog/summary": {"payload": {
        "local": [{"name": "m1", "size_mb": 99, "category": "other", "status": "x"}],
        "cli": [{"name": "gcli", "available": True, "version": "1.2"}, "named-only", 7],
        "remote": [], "limits": {"max_models": 30, "max_mb": 2048}, "timestamp": 1.0,
    }},
}  # fmt: skip
SWITCH: Answers = {
    "/switch/models/available": {"payload": {
        "models": [{"name": "m1", "category": "c", "size_mb": 5, "status": "available"},
                   {"name": "m2", "category": "c", "size_mb": 6, "status": "available"}],
        "active": "m2", "warm": "m1",
        "cli_registry": [{"name": "gcli", "bin_path": "/bin/gcli", "available": False,
                          "updated_at": "2025", "cli_type": "google"}],
    }},
    "/switch/providers": {"payload": {"status": "ok", "providers": [
        {"name": "gcli", "kind": "cli", "status": "on", "rate_limit_daily": 50},
        {"name": "m4", "kind": "local", "status": "on"},
        {"name": "far", "kind": "remote", "status": "on"},
    ]}},
}  # fmt: skip


resources = partial(view_of, "resources")


async def test_tools_and_models_of_all_sources_are_merged_by_name(http: PeerAnswers) -> None:
    serve(http, SETTINGS.hermes_url, HERMES)
    serve(http, SETTINGS.switch_url, SWITCH)
    shown = await resources()
    assert shown["status"] == "ok"
    assert not {"max_tokens", "available_tokens"} & shown.keys(), "no source counts tokens"
    assert [(tool["name"], tool["available"]) for tool in shown["cli_tools"]] == [
        ("docker", True), ("gcli", True), ("named-only", None), ("ollama", False),
    ]  # fmt: skip
    assert shown["cli_tools"][1] == {
        "name": "gcli", "available": True, "version": "1.2", "type": "google", "status": "on",
        "rate_limit_daily": 50.0, "updated_at": "2025",
        "sources": ["hermes.catalog", "switch.models", "switch.providers"],
    }  # fmt: skip
    models = {model["name"]: model for model in shown["local_models"]}
    assert list(models) == ["m1", "m2", "m3", "m4"]
    assert models["m1"] == {
        "name": "m1", "available": True, "size_mb": 10.0, "category": "chat", "status": "ready",
        "compatibility": "cpu", "active": False, "warm": True,
        "sources": ["hermes.available", "hermes.list", "hermes.catalog", "switch.models"],
    }  # fmt: skip
    assert (models["m2"]["active"], models["m2"]["warm"]) == (True, False)
    assert models["m3"]["active"] is None
    assert "size_mb" not in models["m3"], "the published page takes null for a number"
    assert {tool["name"]: tool["version"] for tool in shown["cli_tools"]}["docker"] is None
    assert "rate_limit_daily" not in shown["cli_tools"][0]
    assert set(shown["sources"]) == {
        "hermes.available", "hermes.list", "hermes.catalog", "switch.models", "switch.providers",
    }  # fmt: skip
    assert all(source == OK for source in shown["sources"].values())


@pytest.mark.parametrize("path", [*HERMES, *SWITCH])
async def test_one_failed_source_degrades_the_resources_and_is_named(
    http: PeerAnswers, path: str
) -> None:
    broken = {"status": 502}
    serve(http, SETTINGS.hermes_url, {p: broken if p == path else a for p, a in HERMES.items()})
    serve(http, SETTINGS.switch_url, {p: broken if p == path else a for p, a in SWITCH.items()})
    shown = await resources()
    name = {
        "/hermes/available": "hermes.available", "/hermes/list": "hermes.list",
        "/hermes/catalog/summary": "hermes.catalog", "/switch/models/available": "switch.models",
        "/switch/providers": "switch.providers",
    }[path]  # fmt: skip
    assert shown["status"] == "degraded"
    assert [n for n, source in shown["sources"].items() if source != OK] == [name]
    given = [*shown["cli_tools"], *shown["local_models"]]
    assert given
    assert all(name not in thing["sources"] for thing in given)
    assert "m1" in [model["name"] for model in shown["local_models"]]


@pytest.mark.parametrize(
    ("status", "available"),
    [("available", True), ("loaded", True), (None, True), ("Missing", False), ("error", False)],
)
async def test_model_is_available_unless_its_status_says_otherwise(
    http: PeerAnswers, status: str | None, available: bool
) -> None:
    listed = {"payload": {"models": [{"name": "m", "status": status}]}}
    serve(http, SETTINGS.hermes_url, {"/hermes/list": listed})
    (model,) = (await resources())["local_models"]
    assert model["available"] is available


async def test_list_that_no_source_gave_is_null(http: PeerAnswers) -> None:
    serve(http, SETTINGS.hermes_url, {"/hermes/list": {"payload": {"models": []}}})
    shown = await resources()
    assert (shown["status"], shown["cli_tools"], shown["local_models"]) == ("degraded", None, [])
    shown = await resources(gone())
    assert (shown["status"], shown["cli_tools"], shown["local_models"]) == (
        "unavailable", None, None,
    )  # fmt: skip


async def test_resources_of_hermes_which_do_not_exist_are_not_asked_for(http: PeerAnswers) -> None:
    serve(http, SETTINGS.hermes_url, HERMES)
    await resources()
    assert not [key for key in http.requests if "resources" in str(key[1])]


@pytest.mark.measures_time
async def test_hanging_sources_are_given_up_within_three_seconds() -> None:
    await assert_given_up_soon("resources")


async def test_openai_server_in_place_of_switch_has_models_only(http: PeerAnswers) -> None:
    settings = Settings(token="t", switch_dialect="openai", switch_url="http://vllm:8000")
    http.get("http://vllm:8000/v1/models", payload={"data": [{"id": "qwen"}]}, repeat=True)
    shown = await resources(settings)
    assert [model["name"] for model in shown["local_models"]] == ["qwen"]
    assert shown["local_models"][0]["active"] is None
    assert shown["sources"]["switch.providers"]["error"] == "switch_error"
