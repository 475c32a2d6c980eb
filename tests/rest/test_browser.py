"""Browser tasks over HTTP: every call, header and failure. The browser service is made up."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Any

import prometheus_client
import pytest

from tests.fakes.browsing import PNG, Browsing
from tests.fakes.browsing import TOKEN as BROWSER_TOKEN
from tests.fakes.eventually import eventually
from tests.fakes.raw import dead_address
from tests.rest.browser_tasks import PAGE, PATH, add, until_running
from tests.rest.rest_service import TOKEN, running


@pytest.fixture
async def service(start: Any, browsing: Browsing) -> Any:
    """Operator beside that browser service."""
    return await start(browser_url=browsing.url, browser_token=BROWSER_TOKEN)


async def test_a_task_that_ends_within_the_wait_is_200(service: Any, browsing: Browsing) -> None:
    response = await service.post(
        PATH,
        {
            "url": f"  {PAGE}\n",
            "session_id": "s1",
            "timeout_ms": 900,
            "wait_until": "commit",
            "full_page": True,
            "viewport": {"width": 400},
            "script": "1 + 1",
            "text_limit": 5,
            "unknown": "ignored",
        },
    )
    assert response.status == 200
    assert "Location" not in response.headers
    task = await response.json()
    assert browsing.asked == [
        {
            "url": PAGE,
            "timeout_ms": 900,
            "wait_until": "commit",
            "full_page": True,
            "viewport": {"width": 400, "height": 720},
            "script": "1 + 1",
            "text_limit": 5,
        }
    ]
    path = f"{PATH}/{task['task_id']}/screenshot"
    result = task["result"]
    assert result == {
        "status": "ok",
        "url": PAGE,
        "title": "A page",
        "text_snippet": ("words " * 1000)[:500],
        "screenshot_path": path,
        "error": None,
        "timestamp": task["completed_at"],
        "duration_ms": 7,
        "final_url": PAGE + "#end",
        "http_status": 200,
        "text": "words " * 1000,
        "links": [],
        "console": [],
        "script_result": 2,
    }
    assert {name: task[name] for name in ("status", "url", "session_id")} == {
        "status": "completed",
        "url": PAGE,
        "session_id": "s1",
    }
    assert task["screenshot_path"] == path
    assert task["text_snippet"] == result["text_snippet"]
    assert task["error_message"] is None
    assert task["created_at"] <= task["started_at"] <= task["completed_at"]
    again = await service.get(f"{PATH}/{task['task_id']}")
    assert (again.status, await again.json()) == (200, task)
    history = await (await service.get("/operator/session/s1")).json()
    assert (history["user_id"], history["messages"]) == ("local", [])


@pytest.mark.parametrize(
    ("fields", "prefer", "applied"),
    [
        ({"wait": 0}, None, None),
        ({"wait": 0.05}, None, None),
        ({}, "respond-async", "respond-async"),
        ({"wait": 60}, "respond-async", "respond-async"),
        ({"wait": 60}, "wait=0", "wait=0"),
        ({"wait": 0}, "handling=lenient", None),
    ],
)
async def test_a_task_that_takes_longer_is_202(
    service: Any, browsing: Browsing, fields: dict[str, Any], prefer: str | None, applied: str
) -> None:
    headers = {"Prefer": prefer} if prefer else {}
    begun = time.monotonic()
    body = {"url": "https://hold.test/", "session_id": "s1", **fields}
    response = await service.post(PATH, body, headers=headers)
    assert time.monotonic() - begun < 30
    assert response.status == 202
    assert response.headers.get("Preference-Applied") == applied
    task = await response.json()
    assert response.headers["Location"] == f"{PATH}/{task['task_id']}"
    assert task["status"] in ("pending", "running")
    assert (task["result"], task["screenshot_path"], task["completed_at"]) == (None, None, None)
    missing = await service.get(response.headers["Location"] + "/screenshot")
    assert (missing.status, (await missing.json())["error"]) == (404, "task_not_found")
    browsing.hold.set()
    ended = await add(service, PAGE, session_id="s1")
    assert ended["status"] == "completed"


async def test_a_task_has_the_flat_fields_of_old_clients(service: Any) -> None:
    """The published UI posts ``url`` and ``session_id``, and reads the flat fields."""
    response = await service.post(f"{PATH}?session_id=ui-1", {"url": PAGE})
    task = await (await service.get(f"{PATH}/{(await response.json())['task_id']}")).json()
    for name in ("screenshot_path", "text_snippet", "error_message", "created_at", "completed_at"):
        assert name in task
    assert task["session_id"] == "ui-1"


async def test_a_blocked_page_is_an_answer_and_no_failure(service: Any) -> None:
    task = await add(service, "https://blocked.test/", session_id="s1")
    assert (task["status"], task["result"]["status"]) == ("blocked", "blocked")
    assert task["error_message"] == task["result"]["error"] == "it is private"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "example.org"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://a b/"}, "url"),
        ({"url": "http://x/" + "x" * 8192}, "url"),
        ({"url": 7}, "url"),
        ({"url": PAGE, "session_id": "no spaces"}, "session_id"),
        ({"url": PAGE, "user_id": ""}, "user_id"),
        ({"url": PAGE, "wait": -1}, "wait"),
        ({"url": PAGE, "wait": 121}, "wait"),
        ({"url": PAGE, "wait": "long"}, "wait"),
        ({"url": PAGE, "timeout_ms": 120_001}, "timeout_ms"),
        ({"url": PAGE, "wait_until": "never"}, "wait_until"),
        ({"url": PAGE, "full_page": "yes"}, "full_page"),
        ({"url": PAGE, "viewport": {"width": 1}}, "viewport.width"),
        ({"url": PAGE, "script": "x" * 65_537}, "script"),
        ({"url": PAGE, "script": "a\0b"}, "script"),
        ({"url": PAGE, "text_limit": 200_001}, "text_limit"),
    ],
)
async def test_wrong_fields_of_a_task_are_named(
    service: Any, body: dict[str, Any], field: str
) -> None:
    response = await service.post(PATH, body)
    assert response.status == 422
    problem = await response.json()
    assert problem["error"] == "validation_error"
    assert [fault["field"] for fault in problem["errors"]] == [field]
    listed = await (await service.get("/operator/browser/tasks")).json()
    assert listed == {"tasks": [], "next_cursor": None}


async def picture(service: Any, path: str, **headers: str) -> tuple[int, bytes, Any]:
    """The answer of a picture's address: status, body and headers."""
    named = {"X-VX11-Token": TOKEN} | {n.replace("_", "-"): v for n, v in headers.items()}
    async with service.session.get(service.url + path, headers=named) as response:
        return response.status, await response.read(), response.headers


async def test_a_screenshot_is_a_png_with_an_etag(service: Any) -> None:
    path = (await add(service))["screenshot_path"]
    status, body, headers = await picture(service, path)
    assert (status, body) == (200, PNG)
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Security-Policy"] == "sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "operator"
    assert headers["Cache-Control"] == "private, no-cache"
    etag = headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        status, body, headers = await picture(service, path, If_None_Match=known)
        assert (status, body, headers["ETag"]) == (304, b"", etag)
        assert headers["Content-Security-Policy"] == "sandbox"
        assert "Content-Type" not in headers
    for unknown in ('"other"', "no tag"):
        status, body, _ = await picture(service, path, If_None_Match=unknown)
        assert (status, body) == (200, PNG)
    blank = await add(service, "https://blank.test/")
    assert blank["screenshot_path"] is None
    missing = await service.get(f"{PATH}/{blank['task_id']}/screenshot")
    assert missing.status == 404


@pytest.mark.parametrize("suffix", ["", "/screenshot"])
@pytest.mark.parametrize("task_id", ["unknown", "a%20b", "x" * 300, "%00", "..%2f"])
async def test_an_unknown_task_is_404(service: Any, task_id: str, suffix: str) -> None:
    response = await service.get(f"{PATH}/{task_id}{suffix}")
    assert (response.status, (await response.json())["error"]) == (404, "task_not_found")
    cancelled = await service.post(f"{PATH}/{task_id}/cancel")
    assert (cancelled.status, (await cancelled.json())["error"]) == (404, "task_not_found")


async def test_a_cancelled_task_stops_and_leaves_the_queue(
    service: Any, browsing: Browsing
) -> None:
    ids = [
        (await add(service, f"https://hold.test/{n}", session_id="s1", wait=0))["task_id"]
        for n in range(5)
    ]
    await until_running(service, ids[2])
    await eventually(lambda: len(browsing.asked) == 3)
    listed = await (await service.get("/operator/browser/tasks?status=pending")).json()
    assert [(task["task_id"], task["position"]) for task in listed["tasks"]] == [
        (ids[4], 2),
        (ids[3], 1),
    ]
    everything = await (await service.get("/operator/browser/tasks")).json()
    assert [task["position"] for task in everything["tasks"]] == [2, 1, None, None, None]
    waiting = await (await service.get(f"{PATH}/{ids[4]}")).json()
    assert waiting["position"] == 2
    for task_id in (ids[4], ids[0], ids[0]):
        response = await service.post(f"{PATH}/{task_id}/cancel")
        assert response.status == 200
        task = await response.json()
        assert (task["status"], task["result"], task["position"]) == ("cancelled", None, None)
    assert await eventually(lambda: browsing.left) == ["https://hold.test/0"]
    events = await (await service.get("/operator/session/s1/events")).json()
    names = [event["event"] for event in events["events"]]
    assert names.count("browser_task.cancelled") == 2


async def test_a_task_without_a_configured_browser_is_503(start: Any) -> None:
    service = await start(browser_url="")
    response = await service.post(PATH, {"url": PAGE})
    assert (response.status, (await response.json())["error"]) == (503, "browser_unavailable")
    assert "Retry-After" in response.headers
    assert (await service.post(PATH, {"url": "nonsense"})).status == 422
    assert (await (await service.get("/operator/browser/tasks")).json())["tasks"] == []


async def test_a_task_is_stored_though_the_browser_is_away(start: Any) -> None:
    service = await start(browser_url=dead_address())
    response = await service.post(PATH, {"url": PAGE, "wait": 0.5, "session_id": "s1"})
    assert response.status == 202
    task_id = (await response.json())["task_id"]
    cancelled = await service.post(f"{PATH}/{task_id}/cancel")
    assert (await cancelled.json())["status"] == "cancelled"


async def test_a_deleted_session_takes_its_tasks_along(service: Any, browsing: Browsing) -> None:
    running = await add(service, "https://hold.test/", session_id="s1", wait=0)
    await eventually(lambda: browsing.asked)
    assert (await service.call("DELETE", "/operator/session/s1")).status == 204
    assert (await service.get(f"{PATH}/{running['task_id']}")).status == 404
    await eventually(lambda: browsing.left)


async def test_tasks_move_their_metrics(service: Any) -> None:
    def count(status: str) -> float:
        name = "operator_browser_tasks_total"
        return prometheus_client.REGISTRY.get_sample_value(name, {"status": status}) or 0.0

    before = count("completed"), count("blocked")
    await add(service)
    await add(service, "https://blocked.test/")
    assert (count("completed"), count("blocked")) == (before[0] + 1, before[1] + 1)
    # The worker counts who waits when it next looks.
    await eventually(
        lambda: prometheus_client.REGISTRY.get_sample_value("operator_browser_queue") == 0
    )


async def test_a_task_left_by_a_restart_is_run(sqlite_url: str, browsing: Browsing) -> None:
    async with AsyncExitStack() as stack:
        settings = {"browser_url": browsing.url, "browser_token": BROWSER_TOKEN}
        service = await stack.enter_async_context(running(sqlite_url, **settings))
        task_id = (await add(service, "https://hold.test/", wait=0))["task_id"]
        await eventually(lambda: browsing.asked)
        await stack.aclose()
        assert await eventually(lambda: browsing.left) == ["https://hold.test/"]
        browsing.hold.set()
        service = await stack.enter_async_context(running(sqlite_url, **settings))

        async def completed() -> Any:
            task = await (await service.get(f"{PATH}/{task_id}")).json()
            return task if task["status"] == "completed" else None

        assert (await eventually(completed))["attempts"] == 0
