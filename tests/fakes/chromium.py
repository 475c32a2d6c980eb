"""A real Chromium for tests of pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from operator_svc.browser_service.chromium import find_executable
from operator_svc.settings import BrowserSettings, load
from tests.project.process import python_path


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium, started for the test."""
    settings, _ = load(BrowserSettings, {"BROWSER_TOKEN": "unused"})
    executable = find_executable(settings, python_path())
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"]
        )
        yield launched
        await launched.close()
