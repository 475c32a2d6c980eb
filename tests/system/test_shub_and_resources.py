"""Shub's dashboard and the resources: each call of theirs up, failed, and talking nonsense."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aioresponses import aioresponses

from operator_svc.background import TaskOwner
from operator_svc.peers.switch import make_switch
from operator_svc.peers.system_peers import make_system_peers
from operator_svc.services.system.cached_views import System
from operator_svc.settings import Settings
from tests.fakes.bad_peers import everywhere, gone, hung

SETTINGS = Settings(token="t")


class Pinged:
    async def ping(self) -> None:
        """There is no database here."""


@asynccontextmanager
async def system(settings: Settings = SETTINGS) -> AsyncIterator[System]:
    system_peers, switch = make_system_peers(settings), make_switch(settings)
    async with TaskOwner("tests") as tasks:
        try:
            yield System(
                system_peers.gateway, system_peers.modules, system_peers.shub, system_peers.hermes,
                switch, Pinged(), tasks,
            )  # fmt: skip
        finally:
            await system_peers.aclose()
            await switch.aclose()


@pytest.fixture
def http() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


Answers = dict[str, dict[str, Any]]

SHUB: Answers = {
    "/status": {"payload": {
        "health": {
            "status": "operational", "module": "shubniggurath", "version": "7.0",
            "dsp_ready": True, "fx_ready": True, "reaper_ready": False, "batch_queue_size": 4,
            "uptime_seconds": 12.5,
        },
        "batch_jobs_active": 2, "batch_jobs_completed": 30, "batch_jobs_failed": 1,
        "memory_usage_mb": 256.5, "last_analysis": None, "next_maintenance": None,
    }},
    "/ready": {"payload": {"ready": True, "dsp_ready": True, "vx11_bridge_ready": True}},
    "/api/reaper/projects": {"payload": {"status": "ok", "projects": [{"name": "song"}]}},
}  # fmt: skip
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
        "cli": [{"name": "gcli", "available": True}, "named-only", 7], "remote": [],
        "limits": {"max_models": 30, "max_mb": 2048}, "timestamp": 1.0,
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


def serve(http: aioresponses, url: str, answers: Answers) -> None:
    for path, answer in answers.items():
        http.get(url + path, repeat=True, **answer)


async def dashboard(settings: Settings = SETTINGS) -> dict[str, Any]:
    async with system(settings) as parts:
        shown: dict[str, Any] = msgspec.to_builtins((await parts.dashboard.get()).value)
        return shown


async def resources(settings: Settings = SETTINGS) -> dict[str, Any]:
    async with system(settings) as parts:
        shown: dict[str, Any] = msgspec.to_builtins((await parts.resources.get()).value)
        return shown


OK = {"status": "ok", "error": None, "detail": None}


async def test_shub_up(http: aioresponses) -> None:
    serve(http, SETTINGS.shub_url, SHUB)
    assert await dashboard() == {
        "status": "ok", "shub_health": "operational", "version": "7.0", "uptime_seconds": 12.5,
        "active_sessions": None, "projects": [{"name": "song"}],
        "resources": {"cpu_percent": None, "memory_mb": 256.5},
        "parts": {
            "ready": True, "dsp_ready": True, "fx_ready": True, "reaper_ready": False,
            "vx11_bridge_ready": True,
        },
        "jobs": {"active": 2, "completed": 30, "failed": 1, "queued": 4},
        "error": None, "sources": {"status": OK, "ready": OK, "projects": OK},
    }  # fmt: skip


async def test_a_stub_is_not_an_empty_list(http: aioresponses) -> None:
    stub = {"payload": {"status": "stub", "message": "todo", "projects": []}}
    serve(http, SETTINGS.shub_url, {**SHUB, "/api/reaper/projects": stub})
    shown = await dashboard()
    assert (shown["status"], shown["projects"]) == ("ok", None)


WRONG = [
    {"status": 500}, {"status": 404}, {"body": "<html>"}, {"payload": ["list"]},
    {"payload": {"status": "error", "detail": "no"}}, {"body": "{"}, {"payload": {}},
]  # fmt: skip


@pytest.mark.parametrize("answer", WRONG, ids=str)
@pytest.mark.parametrize("path", SHUB)
async def test_a_part_of_shub_is_missing(
    http: aioresponses, path: str, answer: dict[str, Any]
) -> None:
    serve(http, SETTINGS.shub_url, {**SHUB, path: answer})
    shown = await dashboard()
    assert shown["status"] == "degraded"
    name = {"/status": "status", "/ready": "ready"}.get(path, "projects")
    assert shown["sources"][name]["status"] == "error"
    assert shown["sources"][name]["error"] == "peer_error"
    assert [n for n, source in shown["sources"].items() if source != OK] == [name]
    assert shown["error"]
    missing = {
        "status": [shown["shub_health"], shown["resources"]["memory_mb"], shown["jobs"]["active"]],
        "ready": [shown["parts"]["ready"], shown["parts"]["vx11_bridge_ready"]],
        "projects": [shown["projects"]],
    }
    assert set(missing[name]) == {None}


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/status", {"health": {"status": "initializing"}}),
        ("/ready", {"ready": False}),
    ],
)
async def test_shub_says_that_it_is_not_well(
    http: aioresponses, path: str, payload: dict[str, Any]
) -> None:
    serve(http, SETTINGS.shub_url, {**SHUB, path: {"payload": payload}})
    shown = await dashboard()
    assert shown["status"] == "degraded"
    assert shown["error"].startswith("Shub is not")


async def test_shub_refuses_the_token(http: aioresponses) -> None:
    refusal = {"status": 403, "payload": {"detail": "Invalid VX11 token"}}
    serve(http, SETTINGS.shub_url, dict.fromkeys(SHUB, refusal))
    shown = await dashboard()
    assert (shown["status"], shown["shub_health"]) == ("unavailable", None)
    assert shown["error"] == "Shub answered with HTTP status 403"


async def test_shub_is_gone() -> None:
    shown = await dashboard(gone())
    assert (shown["status"], shown["error"]) == ("unavailable", "Shub cannot be reached")
    assert {s["error"] for s in shown["sources"].values()} == {"peer_unavailable"}


async def test_shub_hangs() -> None:
    async with hung() as peer:
        begun = time.monotonic()
        shown = await dashboard(everywhere(peer.url))
        assert time.monotonic() - begun < 3.0
    assert shown["status"] == "unavailable"
    assert {s["status"] for s in shown["sources"].values()} == {"timeout"}


async def test_what_hermes_and_switch_know_is_merged_by_name(http: aioresponses) -> None:
    serve(http, SETTINGS.hermes_url, HERMES)
    serve(http, SETTINGS.switch_url, SWITCH)
    shown = await resources()
    assert (shown["status"], shown["max_tokens"], shown["available_tokens"]) == ("ok", None, None)
    assert [(tool["name"], tool["available"]) for tool in shown["cli_tools"]] == [
        ("docker", True), ("gcli", True), ("named-only", None), ("ollama", False),
    ]  # fmt: skip
    assert shown["cli_tools"][1] == {
        "name": "gcli", "available": True, "type": "google", "status": "on",
        "rate_limit_daily": 50.0, "updated_at": "2025",
        "sources": ["hermes.catalog", "switch.models", "switch.providers"],
    }  # fmt: skip
    models = {model["name"]: model for model in shown["local_models"]}
    assert list(models) == ["m1", "m2", "m3", "m4"]
    assert models["m1"] == {
        "name": "m1", "size_mb": 10.0, "category": "chat", "status": "ready",
        "compatibility": "cpu", "active": False, "warm": True,
        "sources": ["hermes.available", "hermes.list", "hermes.catalog", "switch.models"],
    }  # fmt: skip
    assert (models["m2"]["active"], models["m2"]["warm"]) == (True, False)
    assert (models["m3"]["active"], models["m3"]["size_mb"]) == (None, None)
    assert set(shown["sources"]) == {
        "hermes.available", "hermes.list", "hermes.catalog", "switch.models", "switch.providers",
    }  # fmt: skip
    assert all(source == OK for source in shown["sources"].values())


@pytest.mark.parametrize("path", [*HERMES, *SWITCH])
async def test_one_source_fails_and_is_named(http: aioresponses, path: str) -> None:
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


async def test_what_nobody_tells_is_null(http: aioresponses) -> None:
    serve(http, SETTINGS.hermes_url, {"/hermes/list": {"payload": {"models": []}}})
    shown = await resources()
    assert (shown["status"], shown["cli_tools"], shown["local_models"]) == ("degraded", None, [])
    shown = await resources(gone())
    assert (shown["status"], shown["cli_tools"], shown["local_models"]) == (
        "unavailable", None, None,
    )  # fmt: skip


async def test_the_call_that_does_not_exist_is_not_made(http: aioresponses) -> None:
    serve(http, SETTINGS.hermes_url, HERMES)
    await resources()
    assert not [key for key in http.requests if "resources" in str(key[1])]


async def test_hermes_and_switch_hang() -> None:
    async with hung() as peer:
        begun = time.monotonic()
        shown = await resources(everywhere(peer.url))
        assert time.monotonic() - begun < 3.0
    assert shown["status"] == "unavailable"
    assert {s["status"] for s in shown["sources"].values()} == {"timeout"}


async def test_another_server_than_switch_has_models_only(http: aioresponses) -> None:
    settings = Settings(token="t", switch_dialect="openai", switch_url="http://vllm:8000")
    http.get("http://vllm:8000/v1/models", payload={"data": [{"id": "qwen"}]}, repeat=True)
    shown = await resources(settings)
    assert [model["name"] for model in shown["local_models"]] == ["qwen"]
    assert shown["local_models"][0]["active"] is None
    assert shown["sources"]["switch.providers"]["error"] == "switch_error"
