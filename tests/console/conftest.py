"""A running Operator and a real Chromium, for the tests of its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page

from operator_svc.protocol import headers
from tests.fakes.chromium import browser, chromium
from tests.project.process import dev_operator

__all__ = ["browser", "chromium"]
TOKEN = "console-token"
WIDTHS = ((1200, 800), (390, 800))
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE = Path(__file__).resolve().parents[2] / "clients/js/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins; tests take ``url``."""
    with dev_operator(tmp_path_factory.mktemp("operator"), TOKEN) as address:
        yield address


def client(url: str) -> aiohttp.ClientSession:
    """A session for calls of an Operator, with its token."""
    return aiohttp.ClientSession(url, headers={headers.TOKEN: TOKEN})


@pytest_asyncio.fixture(loop_scope="module")
async def calls(operator: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for calls of the module's Operator, with its token."""
    async with client(operator) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def url(operator: str, calls: aiohttp.ClientSession) -> str:
    """The address of the module's Operator, without any session.

    Tests before this one may have left what belongs to no session, such as counted tokens. One that
    needs it empty, changes it for all, or ends it starts an Operator of its own.
    """
    while sessions := await listed(calls):
        for session in sessions:
            async with calls.delete(f"/operator/session/{session}") as answer:
                assert answer.status == 204, await answer.text()
    return operator


async def listed(calls: aiohttp.ClientSession) -> list[str]:
    """The ids of a page of the sessions."""
    async with calls.get("/operator/sessions") as answer:
        return [session["session_id"] for session in (await answer.json())["sessions"]]


async def violations(page: Page) -> list[list[object]]:
    """Faults of accessibility that axe finds, with their elements; the page bypasses its CSP."""
    if not await page.evaluate("'axe' in window"):
        await page.add_script_tag(path=AXE)
    # What passes is not described, which takes most of the time.
    found: list[list[object]] = await page.evaluate(
        """axe.run({resultTypes: ["violations"]}).then((result) => result.violations.map(
            ({id, nodes}) => [id, nodes.map((node) => node.html)]))"""
    )
    return found


async def overflow(page: Page) -> int:
    """Pixels by which the page, or its main part, is wider than its place."""
    width: int = await page.evaluate(
        """Math.max(...[document.documentElement, document.querySelector("main")].map(
            (element) => element.scrollWidth - element.clientWidth))"""
    )
    return width
