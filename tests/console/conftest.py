"""A running Operator and a real Chromium, for the tests of its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from operator_svc.protocol import headers
from tests.fakes.chromium import browser
from tests.project.process import dev_operator

__all__ = ["browser"]
TOKEN = "console-token"
WIDTHS = ((1200, 800), (390, 800))
AXE = Path(__file__).resolve().parents[2] / "clients/js/node_modules/axe-core/axe.min.js"

expect.set_options(timeout=30_000)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a running Operator on SQLite, with its stand-ins."""
    with dev_operator(tmp_path, TOKEN) as address:
        yield address


@pytest.fixture
async def calls(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for calls of that Operator, with its token."""
    async with aiohttp.ClientSession(url, headers={headers.TOKEN: TOKEN}) as session:
        yield session


async def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Faults of accessibility that axe finds, with their elements; the page bypasses its CSP."""
    await page.add_script_tag(path=AXE)
    result = await page.evaluate("axe.run()")
    return [(v["id"], [n["html"] for n in v["nodes"]]) for v in result["violations"]]


async def overflow(page: Page) -> int:
    """Pixels by which the page, or its main part, is wider than its place."""
    width: int = await page.evaluate(
        """Math.max(...[document.documentElement, document.querySelector("main")].map(
            (element) => element.scrollWidth - element.clientWidth))"""
    )
    return width
