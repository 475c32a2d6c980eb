"""Tool calls over HTTP: body and query, old scripts, ends of pending ones, limits, rights."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.rest.conftest import Start
from tests.rest.rest_service import Service

PATH = "/operator/tool/call"


async def made(service: Service, body: Any = None, status: int = 201, **kwargs: Any) -> Any:
    response = await service.post(PATH, body, **kwargs)
    assert response.status == status, await response.text()
    return await response.json()


async def test_a_call_is_recorded_and_in_the_history(both: Service) -> None:
    chat = await both.chat(session_id="s-1")
    shown = await made(
        both,
        {
            "message_id": chat["reply_id"], "tool_name": "grep", "status": "ok",
            "duration_ms": 12, "arguments": {"q": "x"}, "result": ["line", 1.5, None],
        },
    )  # fmt: skip
    assert shown.pop("created_at") == shown.pop("finished_at")
    assert shown == {
        "id": shown["id"], "message_id": chat["reply_id"], "tool_name": "grep", "status": "ok",
        "duration_ms": 12, "arguments": {"q": "x"}, "result": ["line", 1.5, None], "error": None,
    }  # fmt: skip
    history = await (await both.get("/operator/session/s-1")).json()
    (kept,) = history["messages"][1]["tool_calls"]
    assert kept["result"] == ["line", 1.5, None]
    page = await (await both.get(f"/operator/message/{chat['reply_id']}/tool-calls")).json()
    assert page == {"tool_calls": [kept], "next_cursor": None}
    events = await (await both.get("/operator/session/s-1/events?after=4")).json()
    (event,) = events["events"]
    assert event["event"] == "tool_call.recorded"
    assert event["data"].keys() == kept.keys() - {"arguments", "result"}
    assert {name: kept[name] for name in event["data"]} == event["data"]


async def test_a_pending_call_is_finished_once(service: Service) -> None:
    chat = await service.chat()
    pending = await made(
        service, {"message_id": chat["message_id"], "tool_name": "t", "arguments": {"a": 1}}
    )
    assert (pending["status"], pending["finished_at"]) == ("pending", None)
    end = {"tool_call_id": pending["id"], "status": "ok", "result": False, "duration_ms": 3.6}
    ended = await made(service, end)
    assert ended == {
        **pending, "status": "ok", "result": False, "duration_ms": 4,
        "finished_at": ended["finished_at"],
    }  # fmt: skip
    problem = await made(service, end, 409)
    assert problem["error"] == "conflict"
    problem = await made(service, {**end, "tool_call_id": 999}, 404)
    assert problem["error"] == "tool_call_not_found"
    problem = await made(service, {**end, "message_id": chat["reply_id"]}, 404)
    assert problem["error"] == "tool_call_not_found"


async def test_a_bare_result_as_old_scripts_send_it_is_recorded(service: Service) -> None:
    chat = await service.chat()
    query = f"?message_id={chat['message_id']}&tool_name=switch&status=ok&duration_ms=150"
    response = await service.post(PATH + query)
    assert response.status == 201
    shown = await response.json()
    assert (shown["tool_name"], shown["status"], shown["duration_ms"], shown["result"]) == (
        "switch", "ok", 150, None,
    )  # fmt: skip
    for bare in ({"rows": 3}, {"status": "fine", "rows": 3}, {"error": None, "ok": True}):
        shown = await (await service.post(PATH + query, bare)).json()
        assert (shown["result"], shown["status"]) == (bare, "ok")


async def test_the_body_wins_over_the_query(service: Service) -> None:
    chat = await service.chat()
    query = f"?message_id={chat['message_id']}&tool_name=a&status=pending&error=q&result=[1]"
    shown = await (await service.post(PATH + query, {"tool_name": "b", "status": "error"})).json()
    assert (shown["tool_name"], shown["status"], shown["error"]) == ("b", "error", "q")
    assert shown["result"] == [1]
    shown = await (await service.post(PATH + query, {"result": {"named": 1}})).json()
    assert shown["result"] == {"named": 1}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["message_id", "tool_name"]),
        ({"message_id": 1}, ["tool_name"]),
        ({"message_id": 0, "tool_name": "t"}, ["message_id"]),
        ({"message_id": "1", "tool_name": "t"}, ["message_id"]),
        ({"message_id": 2**63, "tool_name": "t"}, ["message_id"]),
        ({"message_id": 1, "tool_name": ""}, ["tool_name"]),
        ({"message_id": 1, "tool_name": "t" * 201}, ["tool_name"]),
        ({"message_id": 1, "tool_name": "t", "status": "done"}, ["status"]),
        ({"message_id": 1, "tool_name": "t", "duration_ms": -1}, ["duration_ms"]),
        ({"message_id": 1, "tool_name": "t", "error": 7}, ["error"]),
        ({"message_id": 1, "tool_name": "t\0"}, ["tool_name"]),
        ({"message_id": 1, "tool_name": "t", "result": {"a": ["\0"]}}, ["result.a[0]"]),
        ({"message_id": 1, "tool_name": "t", "result": "x" * 262_143}, ["result"]),
        ({"message_id": 1, "tool_name": "t", "arguments": ["x" * 262_143]}, ["arguments"]),
        ({"tool_call_id": 1}, ["status"]),
        ({"tool_call_id": 1, "status": "pending"}, ["status"]),
        ([1], ["body"]),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_wrong_fields_are_named(service: Service, body: Any, fields: list[str]) -> None:
    problem = await made(service, body, 422)
    assert [fault["field"] for fault in problem["errors"]] == fields


async def test_wrong_fields_of_a_query_are_named_too(service: Service) -> None:
    response = await service.post(f"{PATH}?message_id=x&tool_name=t&status=no&duration_ms=nan")
    assert response.status == 422
    named = [fault["field"] for fault in (await response.json())["errors"]]
    assert named == ["message_id", "status", "duration_ms"]


async def test_the_largest_values_are_taken(service: Service) -> None:
    chat = await service.chat()
    most = "x" * (262_144 - 2)
    body = {"message_id": chat["message_id"], "tool_name": "t", "result": most, "arguments": most}
    shown = await made(service, body)
    assert shown["result"] == shown["arguments"] == most
    raw = io.BytesIO(json.dumps({**body, "error": "x" * 2**20}).encode())
    response = await service.post(PATH, data=raw, headers={"Content-Type": "application/json"})
    assert response.status == 413


async def test_a_tool_call_that_is_no_json_is_400(service: Service) -> None:
    for raw in (b"{", b"\xff", b'{"result": 1e999}'):
        response = await service.post(PATH, data=raw, headers={"Content-Type": "application/json"})
        assert response.status == 400
    deep = b'{"message_id": 1, "tool_name": "t", "result": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    response = await service.post(PATH, data=deep, headers={"Content-Type": "application/json"})
    assert response.status == 400


async def test_a_tool_call_of_an_unknown_message_is_404(service: Service) -> None:
    problem = await made(service, {"message_id": 999, "tool_name": "t"}, 404)
    assert problem["error"] == "message_not_found"
    for path in ("999", "0", "-1", "x", "1.0", "9" * 30, "%00"):
        response = await service.get(f"/operator/message/{path}/tool-calls")
        assert response.status == 404, path
        assert (await response.json())["error"] == "message_not_found"


async def test_tool_calls_come_in_pages(service: Service) -> None:
    chat = await service.chat()
    for n in range(3):
        await made(service, {"message_id": chat["reply_id"], "tool_name": f"t{n}"})
    path = f"/operator/message/{chat['reply_id']}/tool-calls?limit=2"
    first = await (await service.get(path)).json()
    second = await (await service.get(f"{path}&cursor={first['next_cursor']}")).json()
    names = [call["tool_name"] for page in (first, second) for call in page["tool_calls"]]
    assert (names, second["next_cursor"]) == (["t0", "t1", "t2"], None)
    for wrong in ("limit=0", "limit=201", "limit=x", "cursor=x", "cursor="):
        response = await service.get(f"{path.partition('?')[0]}?{wrong}")
        assert response.status == 400, wrong


async def test_a_tool_call_that_switch_streams_is_recorded(service: Service) -> None:
    chat = await service.chat("[[tool_call]]", session_id="s-1")
    (call,) = chat["tool_calls"]
    assert (call["tool_name"], call["message_id"]) == ("standin_tool", chat["reply_id"])
    history = await (await service.get("/operator/session/s-1")).json()
    assert history["messages"][1]["tool_calls"] == [call]
    events = await (await service.get("/operator/session/s-1/events")).json()
    assert [event["event"] for event in events["events"]][2:] == [
        "reply.started", "tool_call.recorded", "reply.completed",
    ]  # fmt: skip


async def test_a_bound_token_sees_its_own_messages_only(start: Start, tmp_path: Path) -> None:
    lines = [
        {"name": "ann", "token": "ann-token", "user_id": "ann"},
        {"name": "bob", "token": "bob-token", "user_id": "bob"},
    ]
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join(json.dumps(line) for line in lines))
    service = await start(tokens_file=str(tokens))
    response = await service.post("/operator/chat", {"message": "hi"}, token="ann-token")
    chat = await response.json()
    body = {"message_id": chat["reply_id"], "tool_name": "t"}
    problem = await made(service, body, 404, token="bob-token")
    assert problem["error"] == "message_not_found"
    pending = await made(service, body, token="ann-token")
    end = {"tool_call_id": pending["id"], "status": "ok"}
    problem = await made(service, end, 404, token="bob-token")
    assert problem["error"] == "tool_call_not_found"
    path = f"/operator/message/{chat['reply_id']}/tool-calls"
    assert (await service.get(path, token="bob-token")).status == 404
    assert (await service.get(path, token="ann-token")).status == 200
    assert (await service.get(path, token=None)).status == 401
    await made(service, end, token="ann-token")
