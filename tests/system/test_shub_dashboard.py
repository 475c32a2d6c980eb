"""Shub's dashboard: each of its calls up, failed, hanging and talking nonsense."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.fakes.bad_peers import gone
from tests.fakes.peer_answers import PeerAnswers
from tests.system.views import OK, SETTINGS, Answers, assert_given_up_soon, serve, view_of

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


dashboard = partial(view_of, "dashboard")


async def test_dashboard_of_a_healthy_shub_shows_all_of_it(http: PeerAnswers) -> None:
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


async def test_stub_of_the_projects_is_null_and_not_an_empty_list(http: PeerAnswers) -> None:
    stub = {"payload": {"status": "stub", "message": "todo", "projects": []}}
    serve(http, SETTINGS.shub_url, {**SHUB, "/api/reaper/projects": stub})
    shown = await dashboard()
    assert (shown["status"], shown["projects"]) == ("ok", None)


async def test_projects_that_are_nested_too_deeply_are_not_shown(http: PeerAnswers) -> None:
    """Those of 946 levels could be decoded, and not be encoded again: the dashboard was 500."""
    deep = '{"projects": ' + "[" * 100 + "]" * 100 + "}"
    serve(http, SETTINGS.shub_url, {**SHUB, "/api/reaper/projects": {"body": deep}})
    shown = await dashboard()
    assert (shown["status"], shown["projects"]) == ("degraded", None)
    assert shown["sources"]["projects"]["error"] == "peer_error"


WRONG = [
    {"status": 500}, {"status": 404}, {"body": "<html>"}, {"payload": ["list"]},
    {"payload": {"status": "error", "detail": "no"}}, {"body": "{"}, {"payload": {}},
]  # fmt: skip


@pytest.mark.parametrize("answer", WRONG, ids=str)
@pytest.mark.parametrize("path", SHUB)
async def test_one_failed_call_degrades_the_dashboard_and_is_named(
    http: PeerAnswers, path: str, answer: dict[str, Any]
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
async def test_shub_that_is_not_ready_degrades_the_dashboard(
    http: PeerAnswers, path: str, payload: dict[str, Any]
) -> None:
    serve(http, SETTINGS.shub_url, {**SHUB, path: {"payload": payload}})
    shown = await dashboard()
    assert shown["status"] == "degraded"
    assert shown["error"].startswith("Shub is not")


async def test_refused_token_makes_the_dashboard_unavailable(http: PeerAnswers) -> None:
    refusal = {"status": 403, "payload": {"detail": "Invalid VX11 token"}}
    serve(http, SETTINGS.shub_url, dict.fromkeys(SHUB, refusal))
    shown = await dashboard()
    assert (shown["status"], shown["shub_health"]) == ("unavailable", None)
    assert shown["error"] == "Shub answered with HTTP status 403"


async def test_unreachable_shub_makes_the_dashboard_unavailable() -> None:
    shown = await dashboard(gone())
    assert (shown["status"], shown["error"]) == ("unavailable", "Shub cannot be reached")
    assert {s["error"] for s in shown["sources"].values()} == {"peer_unavailable"}


@pytest.mark.measures_time
async def test_hanging_shub_is_given_up_within_three_seconds() -> None:
    await assert_given_up_soon("dashboard")
