"""A page of the console, as a person begins with it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.console.conftest import TOKEN

HOSTILE = "<img src=x onerror=\"document.title='owned'\"> [click](javascript:alert(1)) `<b>`"
"""A text that does harm where a page takes it for more than text."""


async def signed_in(browser: Browser, url: str, **options: Any) -> Page:
    """A page of the console with the token; a fault of its scripts fails the test."""
    page = await browser.new_page(**options)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(f"{url}/console#token={TOKEN}")
    await page.get_by_role("button", name="New session").wait_for()
    assert not faults
    return page


async def new_session(page: Page) -> None:
    """Open one, and wait until it can be written into."""
    await page.get_by_role("button", name="New session").click()
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")
