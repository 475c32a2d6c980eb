"""The pages about the documents and the errors, and the names of calls."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import Browser

from operator_svc import rest
from operator_svc.errors import ErrorCode
from operator_svc.rest.docs import openapi
from tests.fakes.chromium import browser
from tests.rest.rest_service import Service

__all__ = ["browser"]

PATHS = openapi.document([operation for table in rest.TABLES for operation in table])["paths"]
CALLS = [call for methods in PATHS.values() for call in methods.values()]
VERB = "add|apply|cancel|chat|create|delete|export|get|list|resume|revert|send|stop|update"
NOUN = re.compile("(A|All|An|The) ")


def test_ids_of_calls_are_unique_and_begin_with_a_verb() -> None:
    ids = [call["operationId"] for call in CALLS]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(f"({VERB})([A-Z][a-z]*)*", name)] == []
    assert {"chat", "getSession", "cancelReply"} <= set(ids)


def test_summaries_of_calls_begin_with_a_verb() -> None:
    assert [call["summary"] for call in CALLS if NOUN.match(call["summary"])] == []


def test_the_page_about_errors_lists_all_of_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    table = text.partition("<!-- errors -->")[2].partition("<!-- /errors -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{code}` | {code.status} | {code.summary} | {'yes' if code.retryable else 'no'} |"
        for code in ErrorCode
    ]


async def test_errors_have_pages(service: Service) -> None:
    problem = await (await service.get("/operator/session/none")).json()
    response = await service.get(problem["type"], token=None)
    assert await response.json() == {
        "error": "session_not_found",
        "status": 404,
        "title": problem["title"],
        "retryable": False,
    }
    unknown = await service.get("/errors/nonsense", token=None)
    assert (unknown.status, (await unknown.json())["error"]) == (404, "not_found")


async def test_the_page_asks_no_other_host(service: Service, browser: Browser) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{service.url}/docs")
    await page.wait_for_selector("body[data-ready]", timeout=20_000)
    text = await page.inner_text("main")
    await page.fill("#filter", "tool-calls")
    visible = await page.locator("details:visible").count()
    await asyncio.sleep(0)
    assert complaints == []
    assert all(url.startswith(f"{service.url}/") for url in asked)
    http = await (await service.get("/openapi.json")).json()
    socket = await (await service.get("/asyncapi.json")).json()
    for path in http["paths"]:
        assert path in text
    for name in socket["components"]["messages"]:
        assert name in text
    assert 1 <= visible < 5
