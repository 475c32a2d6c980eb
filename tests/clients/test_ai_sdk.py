"""The component of docs/ai-sdk.md, with the AI SDK as it comes, in a real Chromium."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.clients.react_page import MODULES, serve_bundle
from tests.fakes.chromium import MODULE_LOOP
from tests.project.process import dev_operator

pytestmark = MODULE_LOOP
OpenPage: TypeAlias = Callable[[str], Awaitable[Page]]
SDKS = Path(__file__).parent / "sdks"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ai-sdk.md"
TOKEN = "ai-token"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins."""
    with dev_operator(tmp_path_factory.mktemp("operator"), TOKEN) as address:
        yield address


@pytest.fixture(scope="module")
def page_url(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address, of another origin than Operator's, of a page with the component as it stands
    in the documents, bundled with the SDK and React."""
    folder = tmp_path_factory.mktemp("bundle")
    (code,) = re.findall(r"^    import .*?^    }$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    component = textwrap.dedent(code).replace("https://operator.example", url)
    (folder / "chat.jsx").write_text(component)
    shutil.copy(SDKS / "page.jsx", folder)
    (folder / "node_modules").symlink_to(MODULES)
    names = {"token": TOKEN, "operator": url, "process.env.NODE_ENV": "production"}
    with serve_bundle(folder / "page.jsx", tmp_path_factory.mktemp("page"), names) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, page_url: str) -> AsyncIterator[OpenPage]:
    """Opens the page with a session's chat; a fault of its scripts fails the test."""
    faults: list[str] = []

    async def opened(session_id: str) -> Page:
        page = await browser.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(f"{page_url}/#{session_id}")
        await page.get_by_role("textbox").wait_for()
        return page

    yield opened
    assert faults == []


async def ask(page: Page, text: str) -> None:
    await page.get_by_role("textbox").fill(text)
    await page.keyboard.press("Enter")


async def replies(url: str, session_id: str) -> list[dict[str, Any]]:
    """The replies of a session as Operator has them."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.get(f"{url}/operator/session/{session_id}") as answer,
    ):
        messages = (await answer.json())["messages"]
    return [message for message in messages if message["role"] == "assistant"]


async def test_component_resumes_in_a_page_loaded_anew_and_stops_for_all(
    open_page: OpenPage, url: str
) -> None:
    page = await open_page("s-resume")
    await ask(page, "slowly [[rate=20]] [[tokens=400]]")
    await expect(page.locator("p").last).to_contain_text("You said: slowly")
    await page.reload()
    second = await open_page("s-resume")
    for one in (page, second):
        await one.get_by_role("button", name="Stop").wait_for()
    await second.get_by_role("button", name="Stop").click()
    for one in (page, second):
        await one.get_by_role("button", name="Stop").wait_for(state="detached")
    (reply,) = await replies(url, "s-resume")
    assert reply["status"] == "cancelled"
    for one in (page, second):
        await expect(one.locator("p")).to_have_count(2)
        assert await one.locator("p").last.text_content() == reply["content"]


async def test_component_goes_on_after_a_reply_that_failed(open_page: OpenPage, url: str) -> None:
    page = await open_page("s-failed")
    await ask(page, "fails [[500]]")
    await expect(page.locator("p")).to_have_count(1)
    await ask(page, "and then? [[rate=0]]")
    await expect(page.locator("p").last).to_contain_text("You said: and then?")
    statuses = [reply["status"] for reply in await replies(url, "s-failed")]
    assert statuses == ["failed", "complete"]
