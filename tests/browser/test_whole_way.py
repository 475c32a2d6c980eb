"""The whole way: a client of Operator, the browser service in its own process, and Chromium."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession, web

from operator_svc import lifecycle
from operator_svc.rest.server.listener import Server
from operator_svc.settings import Settings
from tests.browser.real_browser import TOKEN, BrowserProcess, Client, Site, Start
from tests.fakes.eventually import eventually


@pytest.fixture(scope="module")
def browser_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserProcess]:
    """A warm browser service for all tests of this module."""
    process = BrowserProcess(tmp_path_factory.mktemp("browser") / "log")
    try:
        process.start()
        yield process
    finally:
        process.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    app = web.Application()
    pages = Site(app)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pages.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield pages
    pages.hold.set()
    await runner.cleanup()


@pytest.fixture
async def start(sqlite_url: str, browser_process: BrowserProcess) -> AsyncIterator[Start]:
    """Starts an Operator on the test's SQLite file, after the one before has ended."""
    async with AsyncExitStack() as stack:

        async def begin() -> Client:
            await stack.aclose()
            settings = Settings(
                port=0, database_url=sqlite_url, token=TOKEN, browser_url=browser_process.url
            )
            operator = await lifecycle.start(settings)
            stack.push_async_callback(lifecycle.close, operator)
            server = Server(operator.application(), settings)
            stack.push_async_callback(server.close)
            url = await server.start()
            return Client(url, await stack.enter_async_context(ClientSession()), operator)

        yield begin


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()


async def test_ordinary_page_completes_with_all_its_parts(client: Client, site: Site) -> None:
    url = site.url + "page"
    task = await client.open(
        url, session_id="s1", script="document.links.length + 1", viewport={"width": 320}
    )
    result = task["result"]
    assert (task["status"], result["status"], result["error"]) == ("completed", "ok", None)
    assert (result["title"], result["http_status"]) == ("Título page", 200)
    assert result["text"].startswith(task["text_snippet"])
    assert "漢字 of page" in task["text_snippet"]
    assert result["links"] == [{"url": site.url + "next", "text": "next"}]
    assert result["script_result"] == 2
    assert any("it ran" in line for line in result["console"])
    picture = await _picture(client, task)
    assert int.from_bytes(picture[16:20], "big") == 320  # the width, in a PNG's first chunk
    events = await client.events("s1")
    assert [event["event"] for event in events] == [
        "session.created",
        "browser_task.queued",
        "browser_task.started",
        "browser_task.completed",
    ]
    assert events[-1]["data"]["screenshot_path"] == task["screenshot_path"]


async def _picture(client: Client, task: dict[str, Any]) -> bytes:
    async with client._session.get(
        client._url + task["screenshot_path"], headers={"X-VX11-Token": TOKEN}
    ) as response:
        assert response.status == 200
        assert response.content_type == "image/png"
        return await response.read()


async def test_page_without_success_ends_with_its_status(client: Client, site: Site) -> None:
    cases: list[tuple[str, dict[str, Any], str, str, str]] = [
        ("nowhere", {}, "completed", "ok", ""),
        ("hold", {"timeout_ms": 300}, "timeout", "timeout", "300 ms"),
        ("inside", {}, "blocked", "blocked", ""),
        ("download", {}, "failed", "error", "download"),
        ("crash", {}, "failed", "error", "crash"),
    ]
    tasks = await asyncio.gather(
        *(client.open(site.url + name, session_id="s1", **fields) for name, fields, *_ in cases)
    )
    for (name, _, status, page_status, words), task in zip(cases, tasks, strict=True):
        assert (task["status"], task["result"]["status"]) == (status, page_status), name
        assert words in (task["error_message"] or ""), name
        assert task["attempts"] == 0, name
    assert tasks[0]["result"]["http_status"] == 404
    last = {event["data"].get("task_id"): event for event in await client.events("s1")}
    for (_, _, status, *_), task in zip(cases, tasks, strict=True):
        event = last[task["task_id"]]
        wanted = "completed" if status == "completed" else "failed"
        assert (event["event"], event["data"]["status"]) == (f"browser_task.{wanted}", status)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", "http://[::1]:1/"]
)
async def test_address_that_may_not_be_opened_is_blocked(client: Client, url: str) -> None:
    task = await client.open(url)
    assert (task["status"], task["result"]["status"]) == ("blocked", "blocked")
    assert task["error_message"]
    assert task["screenshot_path"] is None


async def test_address_that_only_chromium_refuses_fails_the_task(client: Client) -> None:
    task = await client.open("http://[::/")
    assert (task["status"], task["attempts"]) == ("failed", 0)
    assert task["error_message"] == "the address is none that Chromium understands"


async def test_twenty_queued_tasks_start_in_order_and_finish(client: Client, site: Site) -> None:
    ids = [await client.begin(f"{site.url}{n}", session_id="s1") for n in range(20)]
    tasks = [await client.end(task_id) for task_id in ids]
    assert [task["status"] for task in tasks] == ["completed"] * 20
    assert [task["result"]["title"] for task in tasks] == [f"Título {n}" for n in range(20)]
    events = await client.events("s1")
    started = [e["data"]["task_id"] for e in events if e["event"] == "browser_task.started"]
    assert started == ids
    assert len(events) == 1 + 3 * 20


@pytest.mark.measures_time
async def test_cancel_stops_the_page_within_a_second(client: Client, site: Site) -> None:
    task_id = await client.begin(site.url + "hold", session_id="s1")
    await eventually(lambda: site.seen)
    begun = time.monotonic()
    status, task = await client.call("POST", f"/operator/browser/task/{task_id}/cancel")
    assert (status, task["status"]) == (200, "cancelled")
    assert time.monotonic() - begun < 1
    await eventually(lambda: site.left)  # Chromium has let go of the page
    assert time.monotonic() - begun < 2
    assert (await client.events("s1"))[-1]["event"] == "browser_task.cancelled"


async def test_page_that_kills_chromium_three_times_fails(
    client: Client, site: Site, browser_process: BrowserProcess
) -> None:
    innocent = await client.begin(site.url + "hold")
    await eventually(lambda: site.seen)
    spared = browser_process.chromiums()
    site.on_kill = lambda: browser_process.kill_chromiums(spared)
    killer = await client.begin(site.url + "kill")
    await eventually(lambda: "kill" in site.seen)
    # Its next attempts wait until no other page is open.
    spared.clear()
    site.hold.set()
    task = await client.end(innocent)
    assert (task["status"], task["attempts"]) == ("completed", 0)
    task = await client.end(killer)
    assert (task["status"], task["attempts"]) == ("failed", 3)
    assert task["error_message"] == "the browser died under the page, 3 times"
    assert site.seen.count("kill") == 3


async def test_task_survives_a_restart_of_the_browser_service(
    client: Client, site: Site, browser_process: BrowserProcess
) -> None:
    task_id = await client.begin(site.url + "hold")
    await eventually(lambda: site.seen)
    await asyncio.to_thread(browser_process.stop, signal.SIGKILL)
    waiting = await client.begin(site.url + "page")
    await asyncio.to_thread(browser_process.start)
    site.hold.set()
    task = await client.end(task_id)
    assert task["status"] == "completed"
    assert task["attempts"] >= 1
    assert (await client.end(waiting))["status"] == "completed"


async def test_tasks_survive_a_restart_of_operator(start: Start, site: Site) -> None:
    client = await start()
    ids = [await client.begin(f"{site.url}hold-{n}", session_id="s1") for n in range(6)]
    at_once = Settings(token="t").browser_tasks_per_user
    await eventually(lambda: len(site.seen) >= at_once)
    client = await start()  # the one before gives back what it ran
    site.hold.set()
    for task_id in ids:
        task = await client.end(task_id)
        assert (task["status"], task["attempts"]) == ("completed", 0)
    names = [event["event"] for event in await client.events("s1")]
    assert names.count("browser_task.queued") == 6 + at_once
    assert names.count("browser_task.completed") == 6
