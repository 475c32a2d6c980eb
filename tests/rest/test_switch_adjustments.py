"""Adjustments of Switch over HTTP: fields, old scripts, roles, failures with the record."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.fakes.bad_peers import unused_url
from tests.fakes.eventually import WITHIN
from tests.rest.conftest import Start
from tests.rest.rest_service import TOKEN, Service
from tests.rest.switch_calls import ADJUST, ENGINES, FEEDBACK, answer, recorded


async def test_an_adjustment_is_recorded_applied_and_reverted(both: Service) -> None:
    await both.chat(session_id="s-1")
    shown = await recorded(both, {"mode": "ECO", "mine": [1]}, session_id="s-1")
    assert (shown["adjustment_id"], shown["status"]) == (shown["id"], "ok")
    record = {k: v for k, v in shown.items() if k not in ("adjustment_id", "status")}
    assert record == {
        "id": shown["id"], "session_id": "s-1", "message_id": None, "reason": "why",
        "before_config": {
            "mode": "BALANCED", "default_model": "standin-small", "preload_model": None,
        },
        "after_config": {"mode": "ECO", "mine": [1]}, "applied": False, "applied_at": None,
        "reverted_at": None, "error": None, "created_at": shown["created_at"],
    }  # fmt: skip
    applied = await answer(await both.post(f"{ADJUST}/{shown['id']}/apply"), 200)
    assert applied["applied"]
    assert both.switch.state.mode == "ECO"
    reverted = await answer(await both.post(f"{ADJUST}/{shown['id']}/revert"), 200)
    assert not reverted["applied"]
    assert both.switch.state.mode == "BALANCED"
    listed = await answer(await both.get("/operator/switch/adjustments"), 200)
    assert listed == {
        "adjustments": [
            {**record, "applied_at": applied["applied_at"], "reverted_at": reverted["reverted_at"]}
        ],
        "next_cursor": None,
    }
    events = await answer(await both.get("/operator/session/s-1/events?after=4"), 200)
    assert [event["event"] for event in events["events"]] == [
        "switch_adjustment.recorded", "switch_adjustment.applied", "switch_adjustment.reverted",
    ]  # fmt: skip
    assert events["events"][0]["data"] == record


async def test_sockets_see_records_as_the_log_has_them(service: Service) -> None:
    chat = await service.chat(session_id="s-1")
    url = service.url.replace("http", "ws", 1) + "/ws/s-1"
    async with (
        ClientSession() as client,
        client.ws_connect(url, headers={"X-VX11-Token": TOKEN}) as socket,
    ):
        assert (await socket.receive_json(timeout=WITHIN))["type"] == "ready"
        tool = {"message_id": chat["reply_id"], "tool_name": "t"}
        await answer(await service.post("/operator/tool/call", tool), 201)
        row = await recorded(service, {"mode": "ECO"}, session_id="s-1")
        await answer(await service.post(f"{ADJUST}/{row['id']}/apply"), 200)
        said = {"engine": "e", "success": True, "latency_ms": 1, "session_id": "s-1"}
        await answer(await service.post(FEEDBACK, said), 200)
        frames = [await socket.receive_json(timeout=WITHIN) for _ in range(4)]
    events = await answer(await service.get("/operator/session/s-1/events?after=4"), 200)
    assert [{"type": "event", **event} for event in events["events"]] == frames
    assert [frame["event"] for frame in frames] == [
        "tool_call.recorded", "switch_adjustment.recorded", "switch_adjustment.applied",
        "switch_feedback.recorded",
    ]  # fmt: skip


async def test_an_adjustment_as_old_scripts_send_it_is_recorded(service: Service) -> None:
    await service.chat(session_id="s-1")
    body = {"before_config": {"mode": "ECO"}, "after_config": {"mode": "CRITICAL"}}
    response = await service.post(f"{ADJUST}?session_id=s-1&reason=slow", body)
    shown = await answer(response, 201)
    assert (shown["status"], shown["session_id"], shown["reason"]) == ("ok", "s-1", "slow")
    query = '?reason=q&after_config={"mode":"ECO"}&before_config={}'
    shown = await answer(await service.post(ADJUST + query), 201)
    assert (shown["after_config"], shown["before_config"]) == ({"mode": "ECO"}, {})


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["after_config", "reason"]),
        ({"after_config": {}, "reason": ""}, ["reason"]),
        ({"after_config": [], "reason": "r"}, ["after_config"]),
        ({"after_config": {"mode": "TURBO"}, "reason": "r"}, ["after_config.mode"]),
        ({"after_config": {"mode": "eco"}, "reason": "r"}, ["after_config.mode"]),
        ({"after_config": {"mode": 7}, "reason": "r"}, ["after_config.mode"]),
        (
            {"after_config": {"default_model": ""}, "before_config": {"mode": "X"}, "reason": "r"},
            ["before_config.mode", "after_config.default_model"],
        ),
        ({"after_config": {"x": "y" * 40_000}, "reason": "r"}, ["after_config"]),
        ({"after_config": {}, "reason": "r", "session_id": "no slash/"}, ["session_id"]),
        ({"after_config": {}, "reason": "r", "message_id": -1}, ["message_id"]),
        ([], ["body"]),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_wrong_fields_of_an_adjustment_are_named(
    service: Service, body: Any, fields: list[str]
) -> None:
    problem = await answer(await service.post(ADJUST, body), 422)
    assert [fault["field"] for fault in problem["errors"]] == fields
    assert not [path for path in service.switch.counts if path != "/health"]


@pytest.mark.parametrize(
    ("calls", "status", "error"),
    [
        ({"mode": "500"}, 502, "switch_error"),
        ({"mode": "html"}, 502, "switch_error"),
        ({"mode": "wrong_shape"}, 502, "switch_error"),
        ({"mode": "status_error"}, 502, "switch_error"),
        ({"mode": "cut"}, 502, "switch_error"),
        ({"mode": "hang"}, 504, "switch_timeout"),
    ],
    ids=lambda value: str(value),
)
async def test_an_adjustment_whose_before_config_switch_does_not_say_fails(
    service: Service, calls: dict[str, Any], status: int, error: str
) -> None:
    service.switch.set_mode({"calls": calls})
    body = {"after_config": {"mode": "ECO"}, "reason": "r"}
    problem = await answer(await service.post(ADJUST, body), status)
    assert problem["error"] == error
    shown = await answer(await service.post(ADJUST, {**body, "before_config": {}}), 201)
    assert shown["before_config"] == {}


async def test_an_apply_while_switch_is_away_is_503_with_its_record(start: Start) -> None:
    service = await start(switch_url=unused_url())
    body: dict[str, Any] = {"after_config": {"mode": "ECO"}, "reason": "r"}
    response = await service.post(ADJUST, body)
    assert response.headers["Retry-After"]
    assert (await answer(response, 503))["error"] == "switch_unavailable"
    row = await recorded(service, {"mode": "ECO"}, before_config={})
    response = await service.post(f"{ADJUST}/{row['id']}/apply")
    problem = await answer(response, 503)
    assert response.headers["Retry-After"]
    assert problem["error"] == "switch_unavailable"
    assert problem["applied"] is False
    assert problem["adjustment"]["error"].startswith("switch_unavailable: ")
    listed = await answer(await service.get("/operator/switch/adjustments"), 200)
    assert problem["adjustment"] == listed["adjustments"][0]
    said = {"engine": "e", "success": True, "latency_ms": 1}
    await answer(await service.post(FEEDBACK, said), 200)
    shown = await answer(await service.get(ENGINES), 200)
    assert shown["recommend"] is None
    assert shown["recommend_error"]["error"] == "switch_unavailable"


async def test_a_failed_apply_answers_its_record(service: Service) -> None:
    row = await recorded(service, {"mode": "ECO", "default_model": "nobody's"})
    problem = await answer(await service.post(f"{ADJUST}/{row['id']}/apply"), 502)
    assert problem["error"] == "switch_error"
    assert problem["adjustment_id"] == row["id"]
    assert problem["adjustment"]["applied"] is False
    assert problem["adjustment"]["error"].startswith("switch_error: default_model: ")
    assert service.switch.state.mode == "BALANCED", "what took was undone"


async def test_two_applies_at_once_are_one(service: Service) -> None:
    row = await recorded(service, {"mode": "ECO"})
    path = f"{ADJUST}/{row['id']}/apply"
    responses = await asyncio.gather(*[service.post(path) for _ in range(6)])
    bodies = [await answer(response, 200) for response in responses]
    assert all(body == bodies[0] for body in bodies)
    assert service.switch.counts["/switch/control"] == 1


async def test_an_adjustment_in_the_wrong_state_is_409_and_an_unknown_one_404(
    service: Service,
) -> None:
    row = await recorded(service, {"preload_model": "standin-large"})
    problem = await answer(await service.post(f"{ADJUST}/{row['id']}/revert"), 409)
    assert problem["error"] == "conflict"
    await answer(await service.post(f"{ADJUST}/{row['id']}/apply"), 200)
    problem = await answer(await service.post(f"{ADJUST}/{row['id']}/revert"), 409)
    assert "cannot unload" in problem["detail"]
    for wrong in ("999", "0", "x", "1.5", "9" * 30):
        for act in ("apply", "revert"):
            problem = await answer(await service.post(f"{ADJUST}/{wrong}/{act}"), 404)
            assert problem["error"] == "adjustment_not_found"
    body = {"after_config": {}, "reason": "r", "before_config": {}}
    problem = await answer(await service.post(ADJUST, {**body, "session_id": "nowhere"}), 404)
    assert problem["error"] == "session_not_found"
    problem = await answer(await service.post(ADJUST, {**body, "message_id": 999}), 404)
    assert problem["error"] == "message_not_found"


async def test_adjustments_come_in_pages_and_a_wrong_parameter_is_400(service: Service) -> None:
    for n in range(3):
        await recorded(service, {"n": n}, before_config={})
    path = "/operator/switch/adjustments"
    first = await answer(await service.get(f"{path}?limit=2"), 200)
    second = await answer(await service.get(f"{path}?limit=2&cursor={first['next_cursor']}"), 200)
    seen = [row["after_config"]["n"] for page in (first, second) for row in page["adjustments"]]
    assert (seen, second["next_cursor"]) == ([2, 1, 0], None)
    assert (await answer(await service.get(f"{path}?applied=true"), 200))["adjustments"] == []
    for wrong in ("limit=0", "limit=x", "applied=maybe", "cursor=x", "session_id=%20"):
        problem = await answer(await service.get(f"{path}?{wrong}"), 400)
        assert problem["error"] == "invalid_parameter"


async def test_adjusting_switch_needs_the_role_operator(start: Start, tmp_path: Path) -> None:
    lines = [
        {"name": "chatter", "token": "chatter-token"},
        {"name": "ann", "token": "ann-token", "role": "operator", "user_id": "ann"},
    ]
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join(json.dumps(line) for line in lines))
    service = await start(tokens_file=str(tokens))
    row = await recorded(service, {"mode": "ECO"})
    body = {"after_config": {"mode": "ECO"}, "reason": "r", "before_config": {}}
    for path in (ADJUST, f"{ADJUST}/{row['id']}/apply", f"{ADJUST}/{row['id']}/revert"):
        problem = await answer(await service.post(path, body, token="chatter-token"), 403)
        assert problem["error"] == "forbidden"
        assert (await service.post(path, body, token=None)).status == 401
    said = {"engine": "e", "success": True, "latency_ms": 1}
    problem = await answer(await service.post(FEEDBACK, said, token="chatter-token"), 403)
    assert "message_id" in problem["detail"]
    await answer(await service.get(ENGINES, token="chatter-token"), 200)
    await answer(await service.post(ADJUST, body, token="ann-token"), 403)
    await answer(await service.post(f"{ADJUST}/{row['id']}/apply", token="ann-token"), 404)
    listed = await answer(await service.get("/operator/switch/adjustments", token="ann-token"), 200)
    assert listed["adjustments"] == []
    chat = {"message": "hi", "session_id": "hers"}
    await answer(await service.post("/operator/chat", chat, token="ann-token"), 200)
    response = await service.post(ADJUST, {**body, "session_id": "hers"}, token="ann-token")
    hers = await answer(response, 201)
    await answer(await service.post(f"{ADJUST}/{hers['id']}/apply", token="ann-token"), 200)
