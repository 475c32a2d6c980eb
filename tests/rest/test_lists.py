"""Lists: each caller sees its own records in every one of them, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.rest.rest_service import TOKEN, Service, running

USERS = ("ana", "bob")
LISTS = {
    "/operator/sessions": "sessions",
    "/operator/browser/tasks": "tasks",
    "/operator/switch/adjustments": "adjustments",
}
"""Every list of records of more than one session, and the field that holds them."""
OF_ONE_SESSION = (
    "/operator/session/{id}",
    "/operator/session/{id}/events",
    "/operator/session/{id}/export",
    "/operator/message/{message}/tool-calls",
    "/operator/reply/{reply}",
    "/operator/browser/task/{task}",
    "/v1/conversations/conv_{id}",
    "/v1/conversations/conv_{id}/items",
    "/v1/conversations/conv_{id}/items/msg_{message}",
    "/v1/responses/resp_{reply}",
    "/v1/responses/resp_{reply}/input_items",
    "/ai/chat/{id}/messages",
    "/ai/chat/{id}/stream",
)
"""Every other call that reads records, but a screenshot."""


@pytest.fixture
async def filled(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service with a session, a browser task and an adjustment of each user."""
    tokens = tmp_path / "tokens"
    lines: list[dict[str, Any]] = [{"name": u, "token": f"of-{u}", "user_id": u} for u in USERS]
    lines.append({"name": "gateway", "token": "of-gateway"})
    tokens.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with running(database_url, tokens_file=str(tokens)) as service:
        for user in USERS:
            session = f"s-{user}"
            await service.chat("hi", session_id=session, user_id=user)
            task = {
                "url": "https://example.org/",
                "session_id": session,
                "user_id": user,
                "wait": 0,
            }
            assert (await service.post("/operator/browser/task", task)).status == 202
            adjustment = {"after_config": {}, "before_config": {}, "reason": "r"}
            adjustment["session_id"] = session
            assert (await service.post("/operator/switch/adjustment", adjustment)).status == 201
        yield service


async def sessions_in(service: Service, path: str, token: str) -> list[str]:
    """The sessions of the records in a list."""
    response = await service.get(path, token=token)
    assert response.status == 200, await response.text()
    body = await response.json()
    return sorted(record["session_id"] for record in body[LISTS[path.partition("?")[0]]])


async def test_every_list_shows_a_caller_its_own_records_only(filled: Service) -> None:
    for path in LISTS:
        for user in USERS:
            assert await sessions_in(filled, path, f"of-{user}") == [f"s-{user}"], path
            own = f"{path}?user_id={user}"
            assert await sessions_in(filled, own, f"of-{user}") == [f"s-{user}"], path
            assert await sessions_in(filled, own, "of-gateway") == [f"s-{user}"], path
            assert await sessions_in(filled, own, TOKEN) == [f"s-{user}"], path
        assert await sessions_in(filled, path, TOKEN) == ["s-ana", "s-bob"], path
        for token, query in (("of-gateway", ""), ("of-ana", "?user_id=bob")):
            refused = await filled.get(path + query, token=token)
            assert (refused.status, (await refused.json())["error"]) == (403, "forbidden"), path


async def test_a_list_of_a_session_by_its_id_is_for_whoever_may_read_the_session(
    filled: Service,
) -> None:
    for path in ("/operator/browser/tasks", "/operator/switch/adjustments"):
        one = f"{path}?session_id=s-ana"
        for token in ("of-ana", "of-gateway", TOKEN):
            assert await sessions_in(filled, one, token) == ["s-ana"], path
        assert await sessions_in(filled, one, "of-bob") == [], path
    history = await (await filled.get("/operator/session/s-ana")).json()
    tasks = await (await filled.get("/operator/browser/tasks?session_id=s-ana")).json()
    ids = {"id": "s-ana", "task": tasks["tasks"][0]["task_id"]}
    ids["message"] = ids["reply"] = history["messages"][1]["id"]
    for template in OF_ONE_SESSION:
        path = template.format(**ids)
        nothing_runs = path.endswith("/stream")
        shown, hidden = (204, 204) if nothing_runs else (200, 404)  # as of a chat that is not there
        expected = {"of-ana": shown, "of-gateway": shown, TOKEN: shown, "of-bob": hidden}
        seen = {token: (await filled.get(path, token=token)).status for token in expected}
        assert seen == expected, path


async def test_every_call_that_reads_records_is_walked_by_these_tests(filled: Service) -> None:
    document = await (await filled.get("/openapi.json")).json()
    reads = {
        path
        for path, methods in document["paths"].items()
        if "get" in methods
        and (
            "_id}" in path
            or any(x["name"] == "limit" for x in methods["get"].get("parameters", ()))
        )
    }
    names = {
        "id": "{session_id}",
        "message": "{message_id}",
        "reply": "{reply_id}",
        "task": "{task_id}",
    }
    others = {
        "resp_{reply_id}": "{response_id}",
        "conv_{session_id}": "{conversation_id}",
        "msg_{message_id}": "{item_id}",
    }
    walked = {template.format(**names) for template in OF_ONE_SESSION}
    for of_ours, of_openai in others.items():
        walked = {path.replace(of_ours, of_openai) for path in walked}
    # Usage is tried in test_usage.py: its rows are of no session.
    elsewhere = {"/operator/browser/task/{task_id}/screenshot", "/operator/usage"}
    assert reads - elsewhere == set(LISTS) | walked
