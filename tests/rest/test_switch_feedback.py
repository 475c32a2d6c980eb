"""Feedback over HTTP: its fields, one for each reply, the ranking, and the replies that give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.eventually import eventually
from tests.rest.conftest import Start
from tests.rest.rest_service import Service
from tests.rest.switch_calls import ADJUST, ENGINES, FEEDBACK, answer


async def test_feedback_of_the_published_ui_is_recorded(both: Service) -> None:
    said = {
        "engine": "standin-large", "success": False, "latency_ms": 812.4, "tokens_used": 12,
        "error_msg": "it broke",
    }  # fmt: skip
    shown = await answer(await both.post(FEEDBACK, said), 200)
    assert shown == {
        "id": shown["id"], "session_id": None, "message_id": None, "engine": "standin-large",
        "success": False, "latency_ms": 812, "tokens_used": 12, "error_message": "it broke",
        "forwarded_at": None, "created_at": shown["created_at"], "status": "recorded",
    }  # fmt: skip
    query = "?engine=standin-large&success=true&latency_ms=7&tokens_used=3&error_msg="
    shown = await answer(await both.post(FEEDBACK + query), 200)
    assert (shown["success"], shown["latency_ms"], shown["error_message"]) == (True, 7, None)
    await eventually(lambda: len(both.switch.state.recorded) == 2)
    assert list(both.switch.state.recorded) == [
        {"engine": "standin-large", "success": False, "latency_ms": 812, "tokens": 12},
        {"engine": "standin-large", "success": True, "latency_ms": 7, "tokens": 3},
    ]


async def test_feedback_on_a_reply_of_its_own_session_is_one_for_each_reply(
    start: Start, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    lines = [{"name": u, "token": f"of-{u}", "user_id": u} for u in ("ann", "bob")]
    tokens.write_text("\n".join(json.dumps(line) for line in lines))
    service = await start(tokens_file=str(tokens))
    chat = await service.chat("hi", session_id="hers", user_id="ann")
    said = {"engine": "rival", "success": True, "message_id": chat["reply_id"]}
    first = await answer(await service.post(FEEDBACK, said, token="of-ann"), 200)
    assert (first["engine"], first["session_id"]) == ("stand-in", "hers")
    second = await answer(
        await service.post(FEEDBACK, {**said, "success": False}, token="of-ann"), 200
    )
    assert (second["id"], second["success"]) == (first["id"], False)
    shown = await answer(await service.get(ENGINES), 200)
    (engine,) = shown["engines"]
    assert (engine["engine"], engine["calls"], engine["success_rate"]) == ("stand-in", 2, 0.5)
    problem = await answer(await service.post(FEEDBACK, said, token="of-bob"), 404)
    assert problem["error"] == "message_not_found"
    for wrong, status in (
        ({**said, "message_id": chat["message_id"]}, 422),
        ({"engine": "rival", "success": True}, 403),
        ({"engine": "rival", "success": True, "session_id": "hers"}, 403),
    ):
        await answer(await service.post(FEEDBACK, wrong, token="of-ann"), status)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["engine", "success"]),
        ({"engine": "", "success": 1, "latency_ms": -1}, ["engine", "success", "latency_ms"]),
        ({"engine": "e", "success": False, "tokens_used": 2**40}, ["tokens_used"]),
        ({"engine": "e" * 201, "success": False}, ["engine"]),
        ({"engine": "e\0", "success": False}, ["engine"]),
        ({"engine": "e", "success": False, "error_msg": "x" * 10_001}, ["error_msg"]),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_wrong_fields_of_feedback_are_named(
    service: Service, body: Any, fields: list[str]
) -> None:
    problem = await answer(await service.post(FEEDBACK, body), 422)
    assert [fault["field"] for fault in problem["errors"]] == fields


async def test_engines_are_ranked_by_their_feedback(both: Service) -> None:
    shown = await answer(await both.get(ENGINES), 200)
    assert shown == {"engines": [], "recommend": None, "recommend_error": None, "window": 86400}
    for latency in (10, 20, 30):
        said = {"engine": "standin-large", "success": True, "latency_ms": latency}
        await answer(await both.post(FEEDBACK, said), 200)
    shown = await answer(await both.get(f"{ENGINES}?window=3600"), 200)
    assert shown["window"] == 3600
    (engine,) = shown["engines"]
    assert (engine["calls"], engine["success_rate"], engine["latency_p50_ms"]) == (3, 1.0, 20.0)
    assert engine["latency_p95_ms"] == 29.0
    row = await answer(await both.post(ADJUST, shown["recommend"]), 201)
    await answer(await both.post(f"{ADJUST}/{row['id']}/apply"), 200)
    assert both.switch.state.active == "standin-large"
    for wrong in ("0", "-1", "x", "1e9", "99999999999"):
        problem = await answer(await both.get(f"{ENGINES}?window={wrong}"), 400)
        assert problem["error"] == "invalid_parameter"


async def test_a_finished_reply_is_feedback_unless_turned_off(start: Start) -> None:
    service = await start(auto_feedback="off")
    await service.chat()
    shown = await answer(await service.get(ENGINES), 200)
    assert shown["engines"] == []


async def test_finished_reply_is_feedback_that_stays_here(service: Service) -> None:
    await service.chat()
    body = {"engine": "posted", "success": True, "latency_ms": 5}
    await answer(await service.post(FEEDBACK, body), 200)
    shown = await answer(await service.get(ENGINES), 200)
    assert {engine["engine"] for engine in shown["engines"]} == {"stand-in", "posted"}
    await eventually(lambda: service.switch.state.recorded)
    assert [row["engine"] for row in service.switch.state.recorded] == ["posted"]


async def test_finished_reply_is_forwarded_as_feedback_where_set(start: Start) -> None:
    service = await start(forward_feedback="all")
    await service.chat()
    await eventually(lambda: service.switch.state.recorded)
    assert service.switch.state.recorded[0]["engine"] == "stand-in"
