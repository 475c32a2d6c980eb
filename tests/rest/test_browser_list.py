"""Lists of browser tasks over HTTP, and whose tasks a caller sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.browsing import TOKEN as BROWSER_TOKEN
from tests.fakes.browsing import Browsing
from tests.rest.browser_tasks import PAGE, PATH, add


@pytest.fixture
async def service(start: Any, browsing: Browsing) -> Any:
    """Operator beside that browser service."""
    return await start(browser_url=browsing.url, browser_token=BROWSER_TOKEN)


async def test_tasks_come_in_pages_newest_first(service: Any) -> None:
    for n in range(5):
        await add(service, f"{PAGE}{n}", session_id="s1" if n % 2 else None)
    page = await (await service.get("/operator/browser/tasks?limit=2")).json()
    assert [task["url"] for task in page["tasks"]] == [f"{PAGE}4", f"{PAGE}3"]
    assert "text" not in page["tasks"][0]
    assert page["tasks"][0]["title"] == "A page"
    seen = 2
    while page["next_cursor"] is not None:
        query = f"?limit=2&cursor={page['next_cursor']}"
        page = await (await service.get(f"/operator/browser/tasks{query}")).json()
        seen += len(page["tasks"])
    assert seen == 5
    for query, count in (
        ("session_id=s1", 2),
        ("user_id=local&status=completed", 5),
        ("user_id=nobody", 0),
        ("status=failed", 0),
    ):
        page = await (await service.get(f"/operator/browser/tasks?{query}")).json()
        assert len(page["tasks"]) == count


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "status=done", "session_id=a%20b", "cursor=x", "cursor=-"]
)
async def test_a_wrong_parameter_of_the_list_is_400(service: Any, query: str) -> None:
    response = await service.get(f"/operator/browser/tasks?{query}")
    assert (response.status, (await response.json())["error"]) == (400, "invalid_parameter")


async def test_task_calls_without_a_token_are_401(service: Any) -> None:
    task = await add(service)
    for method, path in (
        ("POST", PATH),
        ("GET", f"{PATH}/{task['task_id']}"),
        ("GET", f"{PATH}/{task['task_id']}/screenshot"),
        ("POST", f"{PATH}/{task['task_id']}/cancel"),
        ("GET", "/operator/browser/tasks"),
    ):
        assert (await service.call(method, path, token=None)).status == 401
        assert (await service.call(method, path, token="wrong")).status == 403
    assert (await service.call("DELETE", PATH)).status == 405


async def test_a_bound_token_sees_the_tasks_of_its_user_only(
    start: Any, browsing: Browsing, tmp_path: Any
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(
        '{"name": "bob", "token": "of-bob", "user_id": "bob"}\n'
        '{"name": "eve", "token": "of-eve", "user_id": "eve"}\n'
    )
    service = await start(
        browser_url=browsing.url, browser_token=BROWSER_TOKEN, tokens_file=str(tokens)
    )
    body = {"url": PAGE, "session_id": "s1"}
    response = await service.post(PATH, body, token="of-bob")
    task = await response.json()
    assert (response.status, task["user_id"]) == (200, "bob")
    for path in (f"{PATH}/{task['task_id']}", task["screenshot_path"]):
        assert (await service.get(path, token="of-bob")).status == 200
        assert (await service.get(path)).status == 200
        assert (await service.get(path, token="of-eve")).status == 404
    refused = await service.post(PATH, body, token="of-eve")
    assert (refused.status, (await refused.json())["error"]) == (404, "session_not_found")
    other = await service.post(PATH, {"url": PAGE, "user_id": "bob"}, token="of-eve")
    assert other.status == 403
    assert (await service.get("/operator/browser/tasks?user_id=bob", token="of-eve")).status == 403
