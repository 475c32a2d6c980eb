"""Usage: tokens by day, token, user and model, for those who may know."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rest.rest_service import TOKEN, Service, running
from tests.rest.test_metrics import grown, series

GATEWAY = "of-gateway"


@pytest.fixture
async def used(database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose upstream counts tokens, with two chats of ana, one for bob."""
    tokens = tmp_path / "tokens"
    lines: list[dict[str, Any]] = [
        {"name": "ana", "token": "of-ana", "user_id": "ana"},
        {"name": "carl", "token": "of-carl", "role": "operator", "user_id": "carl"},
        {"name": "gateway", "token": GATEWAY},
    ]
    tokens.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with running(database_url, tokens_file=str(tokens), switch_dialect="openai") as service:
        for token, user in (("of-ana", None), ("of-ana", None), (GATEWAY, "bob")):
            body = {"message": "hello", **({"user_id": user} if user else {})}
            assert (await service.post("/operator/chat", body, token=token)).status == 200
        yield service


async def usage(service: Service, query: str = "", token: str = TOKEN) -> dict[str, Any]:
    response = await service.get(f"/operator/usage{query}", token=token)
    assert response.status == 200, await response.text()
    body: dict[str, Any] = await response.json()
    return body


async def replies(service: Service, by: str, token: str = TOKEN) -> dict[str, int]:
    """The number of replies by key."""
    found = (await usage(service, f"?by={by}", token))["usage"]
    return {entry["key"]: entry["replies"] for entry in found}


async def test_usage_shows_all_to_operators_and_their_own_to_others(used: Service) -> None:
    for _ in range(2):  # before and after it is counted
        assert await replies(used, "user") == {"ana": 2, "bob": 1}
        assert await replies(used, "token") == {"ana": 2, "gateway": 1}
        assert await replies(used, "token", "of-ana") == {"ana": 2}
        assert await replies(used, "user", GATEWAY) == {"bob": 1}
        assert await replies(used, "user", "of-carl") == {}
        await used.operator.services.usage.count()
    assert (await used.get("/operator/usage", token=None)).status == 401


async def test_usage_counts_tokens_as_the_reply_and_the_metrics_have_them(used: Service) -> None:
    before, shown = await series(used), (await usage(used, "?by=model"))["usage"][0]
    answer = await used.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "count this"}]}
    )
    told = (await answer.json())["usage"]
    assert told["prompt_tokens"] > 0 < told["completion_tokens"]
    reply_id = (await answer.json())["id"].removeprefix("chatcmpl-")
    kept = (await (await used.get(f"/operator/reply/{reply_id}")).json())["metadata"]
    assert kept["usage"] == told
    (row,) = (await usage(used, "?by=model"))["usage"]
    assert row["key"] == kept["provider"]
    assert row["replies"] == 4
    assert {name: row[name] - shown[name] for name in told} == told
    moved = await grown(used, before)
    for kind in ("prompt", "completion"):
        name = f'operator_tokens_total{{kind="{kind}",model="{row["key"]}",token="default"}}'
        assert moved[name] == told[f"{kind}_tokens"]


async def test_a_repeated_call_and_a_failed_one_are_not_counted_again(used: Service) -> None:
    body = {"message": "hello", "client_message_id": "k-1"}
    for _ in range(3):
        assert (await used.post("/operator/chat", body)).status == 200
    assert (await used.post("/operator/chat", {"message": "x [[400]]"})).status == 502
    assert (await replies(used, "token"))["default"] == 1


async def test_usage_outlives_the_session_that_used_it(used: Service) -> None:
    await used.chat("hello", session_id="gone")
    assert (await used.call("DELETE", "/operator/session/gone")).status == 204
    assert (await replies(used, "token"))["default"] == 1


async def test_usage_comes_in_pages_in_the_order_of_its_keys(used: Service) -> None:
    for user in ("ana", "zoë", "Bob", "bob"):
        await used.chat("hello", user_id=user)
    keys, cursor = [], ""
    while cursor is not None:
        page = await usage(used, f"?by=user&limit=1{cursor and f'&cursor={cursor}'}")
        keys += [entry["key"] for entry in page["usage"]]
        cursor = page["next_cursor"]
    assert keys == sorted(["Bob", "ana", "bob", "zoë"])


async def test_usage_is_of_the_days_that_are_asked_for(used: Service) -> None:
    today = datetime.now(UTC).date().isoformat()
    shown = await usage(used)
    if datetime.now(UTC).date().isoformat() == today:  # not at midnight
        assert (shown["by"], shown["to"]) == ("day", today)
        assert [entry["key"] for entry in shown["usage"]] == [today]
        assert len((await usage(used, f"?from={today}&to={today}"))["usage"]) == 1
    assert (await usage(used, "?to=2020-02-29"))["from"] == "2020-01-31"
    assert (await usage(used, "?from=2020-01-01&to=2020-02-29"))["usage"] == []
    assert (await usage(used, "?to=0001-01-02"))["from"] == "0001-01-01"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("by=week", "by"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=!", "cursor"),
    ],
)
async def test_a_wrong_query_of_usage_is_400(service: Service, query: str, field: str) -> None:
    response = await service.get(f"/operator/usage?{query}")
    assert response.status == 400
    problem = await response.json()
    assert problem["error"] == "invalid_parameter"
    assert problem["detail"].startswith(field)
